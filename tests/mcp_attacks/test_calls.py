"""Attacks in what is called: smuggled names, exfiltration, forbidden arguments, endless calls."""

from __future__ import annotations

import base64
import json
import sys
import time
import urllib.request
from typing import Any

import pytest

from tests.harness import Penstock
from tests.mcp_attacks.server import HOST, Hostile, Wire, refused, text_result
from tests.mcp_attacks.test_results import TOKEN


@pytest.fixture(autouse=True)
def obliging(server: Hostile) -> None:
    """Every path answers every tool call."""
    for name in ("holding", "open", "files", "small", "often", "asking", "asked"):
        server.says[f"/{name}/mcp"] = {"tools/call": text_result("done")}


def test_a_secret_in_arguments_does_not_leave(wire: Wire, server: Hostile) -> None:
    """It is masked at any depth; the words around it leave."""
    arguments = {"note": f"key {TOKEN}", "deep": [{"er": TOKEN}], "plain": "key of a piano"}
    assert wire.call("/open/mcp", "post", arguments)["result"] == text_result("done")
    sent = server.calls("/open/mcp")[-1]["arguments"]
    assert TOKEN not in str(sent) and "[secret.github_token]" in sent["note"]
    assert sent["plain"] == "key of a piano"


@pytest.mark.parametrize("encoded", [False, True])
def test_a_secret_in_a_header_alone_does_not_leave(
    wire: Wire, server: Hostile, encoded: bool
) -> None:
    """A header that mirrors no argument is payload too; one that says nothing bad passes."""
    said = f"=?base64?{base64.b64encode(TOKEN.encode()).decode()}?=" if encoded else TOKEN
    before = len(server.seen)
    answer = wire.call("/open/mcp", "post", {"a": "b"}, **{"mcp-param-region": said})
    assert "no-secrets" in refused(answer) and len(server.seen) == before
    answer = wire.call("/open/mcp", "post", {"a": "b"}, **{"mcp-param-region": "eu-west-1"})
    assert answer["result"] == text_result("done")
    assert server.seen[-1][1]["mcp-param-region"] == "eu-west-1"


def test_a_mirrored_secret_is_masked_in_both_places(wire: Wire, server: Hostile) -> None:
    """Body and header go on saying the same."""
    answer = wire.call("/open/mcp", "post", {"region": TOKEN}, **{"mcp-param-region": TOKEN})
    assert answer["result"] == text_result("done")
    _, headers, request = server.seen[-1]
    assert headers["mcp-param-region"] == request["params"]["arguments"]["region"]
    assert TOKEN not in str(headers)


@pytest.mark.parametrize(
    "header", [{"mcp-name": "search"}, {"mcp-method": "tools/list"}], ids=["name", "method"]
)
def test_a_smuggled_header_is_refused(wire: Wire, server: Hostile, header: dict[str, str]) -> None:
    """A server that routes by header must not be led elsewhere than the rules looked."""
    before = len(server.seen)
    answer = wire.messages("/open/mcp", "tools/call", {"name": "drop", "arguments": {}}, **header)
    assert answer[-1]["error"]["code"] == -32020 and len(server.seen) == before


@pytest.mark.parametrize(
    ("tool", "arguments", "allowed"),
    [
        ("read_file", {"path": "/srv/public/a.txt"}, True),
        ("read_file", {"path": "/etc/passwd"}, False),
        ("read_file", {"path": "/srv/public/../../etc/passwd"}, False),
        ("read_file", {}, False),
        ("read_file", {"path": ["/srv/public/a.txt"]}, False),
        ("fetch", {"url": "https://www.example.com/a"}, True),
        ("fetch", {"url": "https://www.example.com"}, True),
        ("fetch", {"url": "https://evil.example/?www.example.com/"}, False),
        ("fetch", {"url": "https://www.example.com@evil.example/"}, False),
        ("fetch", {"url": "http://www.example.com/a"}, False),
        ("read_file", {"path": "/srv/public/%2e%2e/%2e%2e/etc/passwd"}, False),
        ("fetch", {"url": "https://www.example.com\\@evil.example/"}, False),
        ("query", {"sql": "SELECT name FROM people WHERE note = 'drop table'"}, True),
        ("query", {"sql": "SELECT 1; DROP TABLE people"}, False),
        ("query", {"sql": "WITH x AS (DELETE FROM people RETURNING *) SELECT * FROM x"}, False),
        ("query", {"sql": "SELECT * INTO copy FROM people"}, False),
        ("query", {"sql": "SELECT pg_read_file('/etc/passwd')"}, False),
        ("query", {"sql": "SELECT 1 /*! ; DROP TABLE people */"}, False),
        ("query", {"sql": ["SELECT 1"]}, False),
        ("other", {"path": "/etc/passwd"}, True),
    ],
)
def test_conditions_on_arguments(
    wire: Wire, server: Hostile, tool: str, arguments: dict[str, object], allowed: bool
) -> None:
    """Paths, URLs and SQL; what is missing, of another type or undecidable is refused."""
    before = len(server.seen)
    answer = wire.call("/files/mcp", tool, arguments)
    assert (len(server.seen) > before) == allowed
    assert allowed == ("isError" not in answer["result"])


def test_large_arguments_are_refused(wire: Wire, server: Hostile) -> None:
    """Measured as compact JSON, so that spaces in the request do not matter."""
    before = len(server.seen)
    said = refused(wire.call("/small/mcp", "post", {"text": "ä" * 100}))
    assert "larger than 200 bytes" in said and len(server.seen) == before
    assert wire.call("/small/mcp", "post", {"text": "a" * 180})["result"] == text_result("done")


def test_calls_of_one_tool_are_limited(wire: Wire, server: Hostile) -> None:
    """Each tool has its own room; a refused call is told when to come back."""
    names = [f"{name}-{wire.streamed}-{wire.modern}" for name in ("a", "b")]
    for name in (names[0], names[0], names[1]):
        assert wire.call("/often/mcp", name)["result"] == text_result("done")
    assert "2 tool_calls per 1m" in refused(wire.call("/often/mcp", names[0]))


def test_a_person_agrees_to_one_call(wire: Wire, server: Hostile, proxy: Penstock) -> None:
    """Refused with a ticket, allowed once for these arguments, and for no others."""
    arguments = {"to": "acme", "amount": 7, "kind": f"{wire.streamed}{wire.modern}"}

    def command(*words: str) -> str:
        done = proxy.run(
            sys.executable, "-m", "penstock", "approvals", *words, "--state-dir", state
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    state = str(proxy.state)
    before = len(server.seen)
    said = refused(wire.call("/asking/mcp", "pay", arguments))
    ticket = said.partition("ticket ")[2][:16]
    (listed,) = [
        one for one in json.loads(command("list", "--format", "json")) if one["ticket"] == ticket
    ]
    assert (listed["tool"], listed["server"]) == ("pay", f"https://{HOST}/asking/mcp")
    assert listed["arguments"] == ["amount", "kind", "to"] and "acme" not in str(listed)
    command("approve", ticket)
    assert "ticket" in refused(wire.call("/asking/mcp", "pay", {**arguments, "amount": 7000}))
    assert len(server.seen) == before
    assert wire.call("/asking/mcp", "pay", arguments)["result"] == text_result("done")
    assert "ticket" in refused(wire.call("/asking/mcp", "pay", arguments))
    assert len(server.seen) == before + 1
    command("deny", ticket)
    assert "said no" in refused(wire.call("/asking/mcp", "pay", arguments))
    assert wire.call("/asking/mcp", "look")["result"] == text_result("done")


def test_only_what_a_model_asked_for_is_called(
    wire: Wire, server: Hostile, proxy: Penstock
) -> None:
    """One wish of the model, one call; without a wish none."""
    tool = f"search_{wire.streamed}_{wire.modern}"
    before = len(server.calls("/asked/mcp"))
    assert "no model asked" in refused(wire.call("/asked/mcp", tool))
    function = {"name": f"mcp__shop__{tool}", "arguments": "{}"}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    server.replies["/v1/chat/completions"] = {
        "id": "x",
        "object": "chat.completion",
        "model": "gpt-5-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
    }
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "search"}]}
    request = urllib.request.Request(
        "https://api.openai.com/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": "Bearer x"},
    )
    with wire.opener.open(request, timeout=20) as answer:
        assert json.load(answer)["choices"]
    assert wire.call("/asked/mcp", tool)["result"] == text_result("done")
    assert "no model asked" in refused(wire.call("/asked/mcp", tool))
    assert len(server.calls("/asked/mcp")) == before + 1
    server.replies["/v1/chat/completions"]["choices"][0]["message"] = {
        "role": "assistant",
        "content": "found",
    }
    follow = [message, {"role": "tool", "tool_call_id": "c1", "content": "done"}]
    body["messages"] = [{"role": "user", "content": "search"}, *follow]
    again = urllib.request.Request(request.full_url, json.dumps(body).encode(), request.headers)
    with wire.opener.open(again, timeout=20) as answer:
        assert json.load(answer)["choices"]
    asked, called, told = tied(proxy, tool)
    assert called["caused_by"] == asked["id"] and told["caused_by"] == called["id"]
    assert asked["trace_id"] == called["trace_id"] == told["trace_id"] is not None


def tied(proxy: Penstock, tool: str) -> list[dict[str, Any]]:
    """The records of the wish, the call that was made, and the prompt with its result."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = (proxy.state / "audit.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        made = [
            index
            for index, one in enumerate(records)
            if (one.get("mcp") or {}).get("tool") == tool and one.get("verdict") != "deny"
        ]
        later = records[made[0] + 1 :] if made else []
        prompts = [one for one in later if one.get("api") == "openai.chat_completions"]
        if prompts:
            before = [
                one for one in records[: made[0]] if one.get("api") == "openai.chat_completions"
            ]
            return [before[-1], records[made[0]], prompts[0]]
        time.sleep(0.05)
    raise AssertionError("no record of the follow-up")
