"""MCP requests and answers as Exchanges: both eras, every transport, zones, hostile bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest
from penstock.wire.jsonrpc.calls import A2A, MCP
from penstock.wire.stream import AnswerStream, Replacement, ScanStep

UNKNOWN = Destination("tools.internal", 443)
MODEL_HOST = Destination("api.openai.com", 443, "openai", "llm_api", known=True)
MCP_HOST = Destination("mcp.example.com", 443, "example", "mcp", known=True)
BOTH = "application/json, text/event-stream"


def post(
    document: Any, host: str = "tools.internal", path: str = "/rpc", **headers: str
) -> HttpRequest:
    """A POST; header names are written with underscores."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest("POST", "https", host, 443, path, named, body)


def call(
    tool: str = "search", arguments: Any = None, ident: Any = 1, **params: Any
) -> dict[str, Any]:
    """A tools/call message."""
    inner = {"name": tool, "arguments": arguments or {}, **params}
    return {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": inner}


def ask(document: Any, **headers: str) -> Exchange:
    return MCP.read_request(post(document, **headers), UNKNOWN)


def answered(exchange: Exchange, document: Any) -> Exchange:
    body = json.dumps(document).encode()
    MCP.read_answer(exchange, HttpAnswer(200, {"content-type": "application/json"}, body))
    return exchange


# --------------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    "request_",
    [
        post(call()),
        post({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        post([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]),
        post({"jsonrpc": "2.0", "id": 1, "result": {"action": "decline"}}),
        post({"jsonrpc": "2.0", "id": 1, "method": "acme/own"}, mcp_protocol_version="2025-11-25"),
        post({"jsonrpc": "2.0", "id": 1, "method": "acme/own"}, accept=BOTH),
        post(json.dumps(call()).encode("utf-16")),
        post(b"\xef\xbb\xbf" + json.dumps(call()).encode()),
        post(json.dumps(call()).replace("jsonrpc", "JSONRPC").encode()),
        post(json.dumps(call()).replace("jsonrpc", "json\\u0072pc").encode()),
        post(b"{bad json", accept=BOTH),
        post(b"", mcp_session_id="s"),
        post(call(), content_type="Application/JSON; charset=utf-8"),
        post(call(), content_type="text/plain"),
        HttpRequest("GET", "https", "a", 443, "/mcp", {"accept": "text/event-stream"}),
        HttpRequest("GET", "https", "a", 443, "/v1/sse?x=1", {"accept": "text/event-stream"}),
        HttpRequest(
            "GET", "https", "a", 443, "/x", {"accept": "text/event-stream", "mcp-session-id": "s"}
        ),
        HttpRequest("DELETE", "https", "a", 443, "/x", {"mcp-session-id": "s"}),
    ],
)
def test_mcp_is_recognised_wherever_it_stands(request_: HttpRequest) -> None:
    """Content decides, whatever the host, path, content type, letter case or encoding."""
    assert MCP.recognise(request_, UNKNOWN)


@pytest.mark.parametrize(
    "request_",
    [
        post({"model": "m", "messages": []}),
        post({"model": "m", "messages": []}, accept=BOTH),
        post({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}),
        post({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {}}),
        post({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "t"}}),
        post(b"grant_type=authorization_code", content_type="application/x-www-form-urlencoded"),
        post({"client_name": "x", "redirect_uris": []}),
        HttpRequest("GET", "https", "a", 443, "/mcp", {"accept": "text/html"}),
        HttpRequest("GET", "https", "a", 443, "/feed", {"accept": "text/event-stream"}),
        HttpRequest("DELETE", "https", "a", 443, "/mcp", {}),
        HttpRequest("OPTIONS", "https", "a", 443, "/mcp", {}),
    ],
)
def test_other_calls_are_not_mcp(request_: HttpRequest) -> None:
    """Model calls, other JSON-RPC, OAuth and ordinary pages are left to others."""
    assert not MCP.recognise(request_, UNKNOWN)


def test_mcp_trappings_do_not_hide_a_model_call() -> None:
    """A model call with JSON-RPC members or MCP headers added is still a model call."""
    body = {"model": "gpt", "messages": [], "jsonrpc": "2.0", "id": 1, "method": "ping"}
    request = post(body, path="/v1/chat/completions", mcp_session_id="s", accept=BOTH)
    assert not MCP.recognise(request, MODEL_HOST)
    assert MCP.recognise(post(call(), path="/mcp/"), MODEL_HOST)


def test_oauth_at_an_mcp_host_is_not_mcp() -> None:
    """Client registration and tokens go to the same host and stay what they are."""
    assert not MCP.recognise(post({"client_name": "x"}, path="/register"), MCP_HOST)


def test_a2a_is_told_apart_from_mcp() -> None:
    """Both have tasks/get; A2A calls the task "id"."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "t"}}
    assert A2A.recognise(post(message), UNKNOWN)
    task = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "t"}}
    assert MCP.recognise(post(task), UNKNOWN) and not A2A.recognise(post(task), UNKNOWN)


# --------------------------------------------------------------------------- requests


def test_a_tool_call_of_the_session_era_is_read() -> None:
    """Tool, arguments, id with its type, session and version; not modern."""
    exchange = ask(
        call("add", {"a": 1}, "id-7"), mcp_session_id="s1", mcp_protocol_version="2025-11-25"
    )
    mcp = exchange.mcp
    assert mcp is not None and exchange.problem is None
    assert (mcp.tool, mcp.arguments, mcp.ids) == ("add", {"a": 1}, ["id-7"])
    assert (mcp.session_id, mcp.protocol_version, mcp.modern) == ("s1", "2025-11-25", False)
    assert exchange.operation == "execute_tool"
    assert exchange.messages[0].parts[0].name == "add"


def test_a_modern_call_is_read_with_id_zero() -> None:
    """Version and client come from ``_meta``; 0 is an id like any other."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "cli"},
    }
    exchange = ask(call("add", {}, 0, _meta=meta))
    assert exchange.mcp is not None
    assert (exchange.mcp.modern, exchange.mcp.ids) == (True, [0])
    assert exchange.parameters["client_info"] == "cli"


@pytest.mark.parametrize(
    ("method", "params", "field", "value"),
    [
        ("resources/read", {"uri": "file:///x"}, "resource_uri", "file:///x"),
        ("prompts/get", {"name": "p"}, "prompt", "p"),
        ("initialize", {"clientInfo": {"name": "cli"}}, "client", "cli"),
        ("initialize", {"protocolVersion": "2025-06-18"}, "protocol_version", "2025-06-18"),
    ],
)
def test_what_each_method_names_is_read(method: str, params: Any, field: str, value: str) -> None:
    """Resources, prompts and the handshake fill their own fields."""
    exchange = ask({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert getattr(exchange.mcp, field) == value


def test_strings_of_a_call_have_their_zones() -> None:
    """Arguments are tool arguments; names, cursors, state and ``_meta`` are read-only."""
    message = call("t", {"q": {"deep": "words here"}}, _meta={"note": "meta words"})
    message["params"]["requestState"] = "opaque state"
    by_text = {leaf.text: leaf for leaf in ask(message).leaves}
    assert by_text["words here"].zone == "tool_arguments" and by_text["words here"].editable
    assert by_text["words here"].path == ("params", "arguments", "q", "deep")
    assert not by_text["opaque state"].editable
    assert not by_text["meta words"].editable
    assert not by_text["t"].editable


def test_a_clients_answer_to_the_server_is_user_text() -> None:
    """What a person typed into an elicitation form is scanned as user text."""
    exchange = ask({"jsonrpc": "2.0", "id": 3, "result": {"content": {"mail": "ada@x.example"}}})
    leaf = next(leaf for leaf in exchange.leaves if leaf.text == "ada@x.example")
    assert leaf.zone == "user" and exchange.problem is None


# --------------------------------------------------------------------------- answers


def test_a_tool_result_is_read() -> None:
    """Text, error mark and zones of a result, structured content included."""
    result = {
        "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
        "structuredContent": {"rows": [{"note": "three"}]},
        "isError": True,
    }
    exchange = ask(call())
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
    found = MCP.read_answer(exchange, HttpAnswer(200, {}, body))
    assert exchange.mcp is not None
    assert (exchange.mcp.result_text, exchange.mcp.is_error) == ("one two", True)
    zones = {leaf.text: leaf.zone for leaf in found}
    assert zones["one "] == zones["three"] == "tool_result"


def test_listed_tools_are_definitions() -> None:
    """Names are noted; descriptions and schema texts are tool definitions; names stay."""
    tool = {"name": "a", "description": "does a", "inputSchema": {"enum": ["x y"]}}
    exchange = ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    body = {"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool], "nextCursor": "cursor text"}}
    found = MCP.read_answer(exchange, HttpAnswer(200, {}, json.dumps(body).encode()))
    assert exchange.mcp is not None and exchange.mcp.tools_listed == ["a"]
    by_text = {leaf.text: leaf for leaf in found}
    assert by_text["does a"].zone == by_text["x y"].zone == "tool_definition"
    assert not by_text["a"].editable and not by_text["cursor text"].editable


def test_images_are_not_read_as_words() -> None:
    """Bytes of an image or a blob resource are marked as such."""
    content = [
        {"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="},
        {"type": "resource", "resource": {"mimeType": "image/png", "blob": "iVBORw0KGgo="}},
    ]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": content}}).encode()
    found = MCP.read_answer(ask(call()), HttpAnswer(200, {}, body))
    assert all(leaf.blob for leaf in found if leaf.text == "iVBORw0KGgo=")


def test_an_rpc_error_is_an_error() -> None:
    """Code and message of a JSON-RPC error, under any HTTP status."""
    error = {"code": -32602, "message": "Unknown tool: x"}
    exchange = answered(ask(call()), {"jsonrpc": "2.0", "id": 1, "error": error})
    assert exchange.mcp is not None and exchange.mcp.rpc_error_code == -32602
    assert exchange.answer is not None and exchange.answer.error is not None
    assert exchange.answer.error.type == "-32602"


def test_a_plain_http_error_is_an_error_too() -> None:
    """A 502 page from something in between is an error whose text is scanned."""
    exchange = ask(call())
    found = MCP.read_answer(exchange, HttpAnswer(502, {}, b"<html>bad gateway</html>"))
    assert exchange.answer is not None and exchange.answer.error is not None
    assert found[0].text.startswith("<html>")


def test_events_are_whole_messages_settled_at_once() -> None:
    """Server requests, notifications and the result of one stream; no text waits for more."""
    exchange = ask(call())
    reader = MCP.answer_reader(exchange)
    elicit = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "elicitation/create",
        "params": {"message": "ok?"},
    }
    first = reader.event("message", elicit)
    result = {"content": [{"type": "text", "text": "done"}]}
    second = reader.event("message", {"jsonrpc": "2.0", "id": 1, "result": result})
    reader.end()
    assert exchange.mcp is not None and exchange.answer is not None
    assert exchange.mcp.server_messages == ["elicitation/create"]
    assert exchange.mcp.result_text == "done" and exchange.answer.complete
    assert all(delta.last for delta in first + second)
    assert {delta.text for delta in first} == {"ok?"}


class Shouting:
    """A scanner that replaces a whole text when it ends."""

    def __init__(self) -> None:
        self.text = ""

    def feed(self, text: str) -> ScanStep:
        self.text += text
        return ScanStep(settled=0)

    def finish(self) -> ScanStep:
        change = Replacement(0, len(self.text), self.text.upper())
        return ScanStep([change], len(self.text))


def test_a_scanner_that_waits_for_more_holds_no_event_back() -> None:
    """The client may have to answer this event before the server sends the next one."""
    stream = AnswerStream(ask(call()), MCP, "sse", lambda channel: Shouting())
    params = {"message": "ok?", "requestedSchema": {"title": "a", "description": "b c"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "elicitation/create", "params": params}
    sent = b"".join(
        stream.feed(b"event: message\r\ndata: " + json.dumps(message).encode() + b"\r\n\r\n")
    )
    assert sent.endswith(b"\r\n\r\n")
    arrived = json.loads(sent.split(b"data: ")[1])["params"]
    assert arrived == {"message": "OK?", "requestedSchema": {"title": "A", "description": "B C"}}


def test_odd_events_do_not_disturb_the_reader() -> None:
    """The endpoint event of the old transport, empty data and scalars are not messages."""
    exchange = MCP.read_request(
        HttpRequest("GET", "https", "a", 443, "/sse", {"accept": "text/event-stream"}), UNKNOWN
    )
    reader = MCP.answer_reader(exchange)
    for document in (None, "/message?sessionId=1", 7, [], [1], {}, {"method": 1}, {"result": 5}):
        reader.event("endpoint", document)
    reader.end()
    assert exchange.answer is not None and exchange.stream


def test_an_endless_stream_does_not_grow_the_record() -> None:
    """A stream of days keeps a bounded number of names, tools and results."""
    exchange = ask({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"})
    reader = MCP.answer_reader(exchange)
    for _ in range(3000):
        reader.event(None, {"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
    for number in range(300):
        tools = [{"name": f"t{number}-{index}"} for index in range(100)]
        reader.event(None, {"jsonrpc": "2.0", "id": number, "result": {"tools": tools}})
        reader.event(None, {"jsonrpc": "2.0", "id": number, "result": {"content": []}})
    assert exchange.mcp is not None and exchange.answer is not None
    assert len(exchange.mcp.server_messages) == 1000
    assert len(exchange.mcp.tools_listed or []) == 10_000
    assert len(exchange.answer.messages) <= 100


@pytest.mark.parametrize(
    ("content_type", "first", "method", "framing"),
    [
        ("text/event-stream; charset=utf-8", b"", "tools/call", "sse"),
        ("Text/Event-Stream", b"x: y\n", "tools/call", "sse"),
        ("application/json", b'{"jsonrpc"', "tools/call", "none"),
        ("application/json", b"event: message\n", "tools/call", "sse"),
        ("application/json", b'{"jsonrpc"', "subscriptions/listen", "ndjson"),
    ],
)
def test_framing(content_type: str, first: bytes, method: str, framing: str) -> None:
    """A stream is never mistaken for something that may be buffered."""
    exchange = ask({"jsonrpc": "2.0", "id": 1, "method": method})
    answer = HttpAnswer(200, {"content-type": content_type, "mcp-session-id": "s9"})
    assert MCP.framing(exchange, answer, first) == framing
    assert exchange.mcp is not None and exchange.mcp.session_id == "s9"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"[null]",
        b'"text"',
        b"{",
        b"\xff\xfe\x00",
        b'{"jsonrpc":"2.0","id":1,"result":null}',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[1,{"name":2}],"content":[null,{"text":3}]}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"messages":[{"content":[1]},{"content":"x"},2]}}',
        b"[" * 100_000,
        b'{"method":["x"],"result":1}',
        b'{"method":{"a":1},"params":7,"id":[]}',
        b'[{"method":["x"],"error":1,"jsonrpc":{}}]',
    ],
)
def test_hostile_bodies_never_raise(body: bytes) -> None:
    """Both directions take any bytes; what is neither message nor empty has a problem."""
    for family in (MCP, A2A):
        for destination in (UNKNOWN, MODEL_HOST, MCP_HOST):
            for accept in (BOTH, "*/*"):
                family.recognise(post(body, accept=accept), destination)
    exchange = MCP.read_request(post(body), UNKNOWN)
    MCP.read_answer(ask(call()), HttpAnswer(200, {}, body))
    assert exchange.mcp is not None
    assert exchange.problem is not None or body.startswith(b'{"jsonrpc"')
