"""How a refused MCP call is answered: form, era, id, status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Destination, Exchange, HttpRequest
from penstock.wire.family import Refusal
from penstock.wire.jsonrpc.calls import MCP
from penstock.wire.jsonrpc.refusal import problem_refusal


def exchange_of(document: Any, **headers: str) -> Exchange:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(document).encode()
    request = HttpRequest("POST", "https", "a", 443, "/mcp", named, body)
    return MCP.read_request(request, Destination("a", 443))


def tool_call(ident: Any = 7, name: str = "drop_table") -> dict[str, Any]:
    params = {"name": name, "arguments": {}}
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}


def refused(exchange: Exchange, form: Any = "", status: int = 403, **more: Any) -> tuple[int, Any]:
    refusal = Refusal(
        status, "policy_denied", "no: ask #ai", "r1", "d1", form=form, call=exchange.mcp, **more
    )
    answer = MCP.refusal(refusal)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["penstock-decision"] == "deny; rule=r1; id=d1"
    assert "www-authenticate" not in answer.headers
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("ident", [0, 7, "7", "a-b", 2**53 + 1])
def test_the_id_comes_back_with_its_type(ident: Any) -> None:
    """A wrong id hangs clients until their time-out."""
    status, document = refused(exchange_of(tool_call(ident)))
    assert status == 200
    assert document["id"] == ident and type(document["id"]) is type(ident)


def test_advice_is_a_tool_error_the_model_reads() -> None:
    """In the session era without resultType, in the modern era with it."""
    _, document = refused(exchange_of(tool_call()), "advise")
    assert document["result"] == {
        "content": [{"type": "text", "text": "no: ask #ai"}],
        "isError": True,
    }
    modern = exchange_of(tool_call(), mcp_protocol_version="2026-07-28")
    _, document = refused(modern, "advise")
    assert document["result"]["resultType"] == "complete"


def test_hidden_looks_like_a_server_without_the_tool() -> None:
    """Nothing in the message tells of a policy."""
    status, document = refused(exchange_of(tool_call()), "hidden")
    assert (status, document["error"]) == (
        200,
        {"code": -32602, "message": "Unknown tool: drop_table"},
    )


@pytest.mark.parametrize(
    ("method", "params", "version", "code"),
    [
        ("resources/read", {"uri": "file:///x"}, "2025-11-25", -32002),
        ("resources/read", {"uri": "file:///x"}, "2026-07-28", -32602),
        ("prompts/get", {"name": "p"}, "2026-07-28", -32602),
        ("completion/complete", {}, "2025-11-25", -32601),
    ],
)
def test_hidden_for_other_methods(method: str, params: Any, version: str, code: int) -> None:
    """Each method has its own way of not knowing something, in each era."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    _, document = refused(exchange_of(message, mcp_protocol_version=version), "hidden")
    assert document["error"]["code"] == code


def test_an_error_has_our_code_outside_the_reserved_range() -> None:
    """Policy and limit have their own codes; the rule is in the data."""
    exchange = exchange_of(tool_call())
    _, denied = refused(exchange, "error")
    _, limited = refused(exchange, "error", 429, retry_after_seconds=12.0)
    for document in (denied, limited):
        assert not -32768 <= document["error"]["code"] <= -32000
        assert document["error"]["data"]["penstock"]["rule"] == "r1"
    assert denied["error"]["code"] != limited["error"]["code"]
    assert limited["error"]["data"]["penstock"]["retryAfterSeconds"] == 12.0


def test_advice_for_a_list_is_an_error() -> None:
    """Only tool results have isError; anything else is refused by an error."""
    _, document = refused(
        exchange_of({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), "advise"
    )
    assert "error" in document and "result" not in document


def test_a_batch_is_answered_per_request() -> None:
    """Every request of the batch gets its answer, notifications none."""
    batch = [
        tool_call("x"),
        {"jsonrpc": "2.0", "method": "notifications/cancelled"},
        {"jsonrpc": "2.0", "id": 2, "method": "ping"},
    ]
    _, document = refused(exchange_of(batch))
    assert [message["id"] for message in document] == ["x", 2]
    _, document = refused(exchange_of([tool_call("x")]))
    assert [message["id"] for message in document] == ["x"]


@pytest.mark.parametrize(
    "document",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)
def test_what_has_no_id_to_answer_is_a_400(document: Any) -> None:
    """The specification asks for an HTTP error where a notification is not accepted."""
    status, answer = refused(exchange_of(document))
    assert (status, answer["id"]) == (400, None)


def test_without_the_call_the_answer_is_a_400() -> None:
    """A null id under 200 would hang the client."""
    answer = MCP.refusal(Refusal(403, "policy_denied", "no", "r", "d"))
    assert answer.status == 400 and json.loads(answer.body)["id"] is None


@pytest.mark.parametrize(
    ("exchange", "code"),
    [
        (exchange_of(tool_call(), mcp_method="tools/list"), -32020),
        (exchange_of(tool_call(), mcp_name="other"), -32020),
        (exchange_of({**tool_call(), "Method": "x"}), -32600),
        (
            MCP.read_request(
                HttpRequest("POST", "https", "a", 1, "/", {}, b"{"), Destination("a", 1)
            ),
            -32700,
        ),
    ],
)
def test_an_unreadable_request_is_a_400_with_the_servers_code(
    exchange: Exchange, code: int
) -> None:
    """Client authors find the cause by the code a server would give."""
    answer = MCP.refusal(problem_refusal(exchange, "integrity", "d1"))
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == code


def test_a_refusal_inside_a_stream_is_an_event() -> None:
    """The client gets its answer on the stream it is waiting on."""
    exchange = exchange_of(tool_call("s"))
    refusal = Refusal(403, "policy_denied", "line\nbreak", "r", "d", form="error")
    event = MCP.stream_refusal(exchange, refusal)
    head, data, *rest = event.split(b"\n")
    assert head == b"event: message" and rest == [b"", b""]
    assert json.loads(data.removeprefix(b"data: "))["id"] == "s"
