"""Batches of the one era that had them: no call hides among others, each is answered."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.harness import Penstock
from tests.mcp_attacks.server import HOST, Hostile, Wire, refused, text_result
from tests.mcp_attacks.test_results import TOKEN


class Batches:
    """A client of 2025-03-26 that sends arrays."""

    def __init__(self, proxy: Penstock, streamed: bool) -> None:
        self.wire = Wire(proxy, streamed, modern=False)

    def send(self, path: str, *messages: tuple[Any, str, dict[str, Any]]) -> list[Any]:
        """The answers in the order of their requests."""
        batch = [
            {"jsonrpc": "2.0", "method": method, "params": params}
            | ({} if ident is None else {"id": ident})
            for ident, method, params in messages
        ]
        request = urllib.request.Request(
            f"https://{HOST}{path}",
            json.dumps(batch).encode(),
            {
                "content-type": "application/json",
                "accept": "application/json, text/event-stream",
                "x-stream": "1" if self.wire.streamed else "0",
            },
        )
        with self.wire.opener.open(request, timeout=20) as answer:
            text = answer.read().decode()
        lines = [line.removeprefix("data: ") for line in text.split("\n")]
        found = json.loads(next(line for line in lines if line.startswith("[")))
        order = [ident for ident, _, _ in messages if ident is not None]
        assert sorted(map(str, (one["id"] for one in found))) == sorted(map(str, order))
        return sorted(found, key=lambda one: order.index(one["id"]))


@pytest.fixture(params=[False, True], ids=["json", "sse"])
def batches(request: pytest.FixtureRequest, proxy: Penstock, server: Hostile) -> Batches:
    for path in ("named", "files", "often", "asking", "short", "open"):
        server.says[f"/{path}/mcp"] = {"tools/call": text_result("done")}
    return Batches(proxy, request.param)


def call(ident: Any, tool: str, **arguments: Any) -> tuple[Any, str, dict[str, Any]]:
    return ident, "tools/call", {"name": tool, "arguments": arguments}


def test_a_batch_of_allowed_calls_passes(batches: Batches, server: Hostile) -> None:
    before = len(server.calls("/named/mcp"))
    answers = batches.send("/named/mcp", call(0, "search"), call("a", "search", x=1))
    assert [one["result"] for one in answers] == [text_result("done")] * 2
    assert len(server.calls("/named/mcp")) == before + 2


@pytest.mark.parametrize("first", [True, False])
def test_a_forbidden_call_is_found_at_any_place(
    batches: Batches, server: Hostile, first: bool
) -> None:
    """It gets its refusal, its neighbour is told that it was not made."""
    before = len(server.seen)
    pair = [call(1, "drop_table"), call(2, "search")]
    answers = batches.send("/named/mcp", *(pair if first else pair[::-1]))
    said = {one["id"]: refused(one) for one in answers}
    assert said[1] == "Unknown tool: drop_table" and "Not made" in said[2]
    assert len(server.seen) == before


def test_conditions_look_at_each_call(batches: Batches, server: Hostile) -> None:
    """The last call's arguments do not speak for the first's."""
    before = len(server.seen)
    bad = call(1, "read_file", path="/etc/passwd")
    good = call(2, "read_file", path="/srv/public/a")
    said = {one["id"]: refused(one) for one in batches.send("/files/mcp", bad, good)}
    assert "public-files-only" in said[1] and "Not made" in said[2]
    assert len(server.seen) == before
    answers = batches.send("/files/mcp", good, call(3, "read_file", path="/srv/public/b"))
    assert all("isError" not in one["result"] for one in answers)


def test_each_call_counts_against_limits(batches: Batches, server: Hostile) -> None:
    """Two a minute: three in one batch are too many."""
    tool = f"batched_{batches.wire.streamed}"
    before = len(server.seen)
    answers = batches.send("/often/mcp", *(call(n, tool) for n in (1, 2, 3)))
    assert any("tool_calls" in refused(one) for one in answers) and len(server.seen) == before


def test_a_person_agrees_to_single_calls_only(batches: Batches, server: Hostile) -> None:
    before = len(server.seen)
    answers = batches.send("/asking/mcp", call(1, "pay"), call(2, "look"))
    assert "by itself" in refused(answers[0]) and len(server.seen) == before


def test_secrets_are_masked_in_each_call(batches: Batches, server: Hostile) -> None:
    answers = batches.send("/open/mcp", call(1, "post", a=TOKEN), call(2, "post", b=[TOKEN]))
    assert [one["result"] for one in answers] == [text_result("done")] * 2
    assert TOKEN not in str(server.calls("/open/mcp")[-2:])


def test_one_result_of_a_batch_is_shortened(batches: Batches, server: Hostile) -> None:
    """Each is measured by itself."""
    server.says["/short/mcp"] = {
        "tools/call": lambda request: text_result("x" * (5000 if request["id"] == 1 else 2500))
    }
    answers = batches.send("/short/mcp", call(1, "read"), call(2, "read"))
    texts = [one["result"]["content"][0]["text"] for one in answers]
    assert "left out]" in texts[0] and texts[1] == "x" * 2500


@pytest.mark.parametrize("messages", [[call(1, "search"), call(1, "drop_table")]])
def test_an_id_that_stands_twice_is_ambiguous(
    batches: Batches, server: Hostile, messages: list[Any]
) -> None:
    before = len(server.seen)
    with pytest.raises(urllib.error.HTTPError) as answer:
        batches.send("/named/mcp", *messages)
    assert answer.value.code == 400 and b"twice" in answer.value.read()
    assert len(server.seen) == before
