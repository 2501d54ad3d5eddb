"""MCP over HTTP in all its revisions, and A2A: JSON-RPC calls as Exchanges.

Streamable HTTP with sessions (2025-03-26 to 2025-11-25) and without (2026-07-28), and the
older HTTP+SSE pair of endpoints. A request that parsers could read differently gets a
``problem`` (``jsonrpc_checks``). Nothing here decides or changes anything; refusals are said
in ``jsonrpc_refusal``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from penstock.exchange import (
    Answer,
    CallError,
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Leaf,
    McpCall,
    Message,
    Part,
    Path,
)
from penstock.wire.family import AnswerReader, Channel, Delta, Framing, Refusal
from penstock.wire.framing.sse import looks_like_sse
from penstock.wire.json_leaves import Reading, parse, text_leaf
from penstock.wire.jsonrpc.checks import check, decode_header
from penstock.wire.jsonrpc.marks import mark_answer, mark_request
from penstock.wire.jsonrpc.refusal import http_refusal, refusal_document
from penstock.wire.jsonrpc.shape import (
    CLIENT_META,
    PARAMETER_PREFIX,
    SESSION_HEADER,
    VERSION_HEADER,
    VERSION_META,
    is_modern,
    kind_of,
    messages_of,
    speaks_a2a,
    speaks_mcp,
)
from penstock.wire.leaves_later import LeavesLater
from penstock.wire.loose import as_dict, as_dicts, as_text, name_of
from penstock.wire.zones import Marks, leaves

# What is kept of one exchange: an event stream may carry the answers of days.
SERVER_MESSAGES_MAX = 1000
RESULTS_MAX = 100
TOOLS_LISTED_MAX = 10_000


class JsonRpc:
    """A family of JSON-RPC over HTTP."""

    operation = "mcp"

    def __init__(self, api: str) -> None:
        self.api = api

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when this request is part of the protocol's conversation."""
        if self.api == A2A_API:
            return speaks_a2a(request)
        return speaks_mcp(request, destination)

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The request as an Exchange with its ``mcp`` reading."""
        exchange = Exchange(self.api, destination.provider, self.operation, mcp=McpCall())
        call = exchange.mcp = McpCall(
            protocol_version=request.headers.get(VERSION_HEADER),
            session_id=request.headers.get(SESSION_HEADER),
        )
        if request.method.upper() == "POST":
            self._read_body(request, exchange, call)
        else:
            exchange.stream = request.method.upper() == "GET"
        call.modern = is_modern(call.protocol_version)
        return exchange

    def _read_body(self, request: HttpRequest, exchange: Exchange, call: McpCall) -> None:
        reading = parse(request.body)
        exchange.document = reading.value
        exchange.problem = reading.problem
        if reading.value is None and reading.problem:
            exchange.leaves = [text_leaf(request.body)]
            return
        marks: Marks = {}
        call.batch = isinstance(reading.value, list)
        for index, message in enumerate(reading.value if call.batch else [reading.value]):
            if kind_of(message) != "none":
                mark_request(message, (index,) if call.batch else (), marks)
                _note_request(message, exchange, call)
        exchange.leaves, limit = leaves(reading.value, marks)
        exchange.problem = exchange.problem or limit
        exchange.leaves += _said_in_headers_only(request.headers, exchange.leaves)
        if self.api == MCP_API:
            exchange.problem = exchange.problem or check(reading.value, request.headers)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE by content type or by its looks; lines of JSON on a subscription; else plain.

        A streamed answer's headers are seen here only, so the session id is noted here.
        """
        _note_session(exchange, answer)
        content_type = answer.headers.get("content-type", "").lower()
        if "text/event-stream" in content_type or looks_like_sse(first_bytes):
            return "sse"
        listens = exchange.mcp is not None and "subscriptions/listen" in exchange.mcp.methods
        return "ndjson" if listens and answer.status == 200 else "none"

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> MessageLeaves:
        """Read a plain answer: one message, a batch of them, or text of an HTTP error."""
        reply = _started(exchange, answer.status)
        _note_session(exchange, answer)
        reading = parse(answer.body)
        reply.complete = reading.problem is None
        if reading.value is not None:
            _note_messages(exchange, reading.value)
        if answer.status >= 400 and reply.error is None:
            reply.error = CallError()
        return MessageLeaves(answer.body, reading)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of one JSON-RPC message (or batch) per event."""
        return MessageReader(exchange)

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """The refusal as a JSON-RPC answer with the refused call's own ids."""
        return http_refusal(refusal)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The refusal as the last event of a running answer."""
        return b"event: message\ndata: " + refusal_document(refusal, exchange.mcp) + b"\n\n"


class MessageLeaves(LeavesLater):
    """The strings of a plain answer. ``reading`` is the answer as parsed."""

    __slots__ = ("body", "reading")

    def __init__(self, body: bytes, reading: Reading) -> None:
        super().__init__(lambda: self.but(()))
        self.body, self.reading = body, reading

    def but(self, without: Container[int]) -> list[Leaf]:
        """The strings but for those of some objects, named by their ``id()``."""
        value = self.reading.value
        if value is None:
            return [text_leaf(self.body, "tool_result")] if self.body.strip() else []
        found, limit = leaves(value, _marks_of(value), without)
        # What lies beyond the limits of the walk is still read, as one text.
        return [*found, text_leaf(self.body, "tool_result")] if limit else found


# Channels of a streamed message: the texts of a tool's result or a resource, and all others.
RESULT_TEXT, OTHER_TEXT = ("message", "text"), ("message",)


def key_of(path: Path) -> tuple[str, ...]:
    """Which of the two a string at ``path`` is; prompts are no result of anything."""
    shown = path[-1:] == ("text",) and "result" in path
    apart = "structuredContent" in path or "messages" in path
    return RESULT_TEXT if shown and not apart else OTHER_TEXT


class MessageReader:
    """Reads a streamed answer; each event is a whole message, settled at once."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.answer = _started(exchange, 200)

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Note the messages of one event; each of its strings is a text of its own.

        One channel for each zone and key is enough: every text ends before the next begins.
        """
        _note_messages(self.exchange, document)
        found: Sequence[Leaf] = MessageLeaves(b"", Reading(document))
        if self.exchange.telling is not None:
            found = self.exchange.telling(found)
        return [
            Delta(Channel(key_of(leaf.path), leaf.zone), leaf.path, leaf.text, last=True)
            for leaf in found
            if leaf.editable and leaf.text and not leaf.is_key
        ]

    def end(self) -> None:
        """A stream may end at any time; it is complete when the call was answered."""
        asked = self.exchange.mcp is not None and any(i is not None for i in self.exchange.mcp.ids)
        answered = bool(self.answer.messages) or self.answer.error is not None
        self.answer.complete = self.answer.complete or answered or not asked


MCP_API = "mcp.streamable_http"
A2A_API = "a2a.jsonrpc"
MCP = JsonRpc(MCP_API)
A2A = JsonRpc(A2A_API)


def _said_in_headers_only(headers: Mapping[str, str], leaves: Sequence[Leaf]) -> list[Leaf]:
    """Texts of ``Mcp-Param-*`` headers that mirror no argument: they leave all the same.

    What mirrors an argument is judged there, and the header follows its edits.
    """
    names = [name for name in headers if name.startswith(PARAMETER_PREFIX)]  # a head is bounded
    said = {leaf.text for leaf in leaves} if names else set()
    texts = ((name, decode_header(headers[name]) or headers[name]) for name in names)
    return [
        Leaf(("headers", name), text, "tool_arguments", editable=False)
        for name, text in texts
        if text not in said
    ]


def _started(exchange: Exchange, status: int) -> Answer:
    if exchange.answer is None:
        exchange.answer = Answer(status=status)
    return exchange.answer


def _note_session(exchange: Exchange, answer: HttpAnswer) -> None:
    call = exchange.mcp
    if call is not None and call.session_id is None:
        call.session_id = answer.headers.get(SESSION_HEADER)


def _note_request(message: dict[str, Any], exchange: Exchange, call: McpCall) -> None:
    method = message.get("method")
    if not isinstance(method, str):
        return
    call.methods.append(method)
    call.ids.append(_id_of(message))
    params = as_dict(message.get("params"))
    call.names.append(as_text(params.get("name")) if method == "tools/call" else None)
    meta = as_dict(params.get("_meta"))
    version = as_text(meta.get(VERSION_META)) or as_text(params.get("protocolVersion"))
    call.protocol_version = call.protocol_version or version
    call.trace_parent = as_text(meta.get("traceparent")) or call.trace_parent
    client = as_dict(params.get("clientInfo"))
    call.client = as_text(client.get("name")) or call.client
    if name := as_text(as_dict(meta.get(CLIENT_META)).get("name")):
        exchange.parameters["client_info"] = name
    if method == "tools/call":
        call.tool = as_text(params.get("name"))
        call.arguments = params.get("arguments")
        exchange.operation = "execute_tool"
        ident = call.ids[-1]
        part = Part(
            "tool_call",
            name=call.tool,
            id=None if ident is None else str(ident),
            arguments=call.arguments,
        )
        exchange.messages.append(Message("assistant", [part]))
    elif method in ("resources/read", "resources/subscribe"):
        call.resource_uri = as_text(params.get("uri"))
    elif method == "prompts/get":
        call.prompt = as_text(params.get("name"))
    elif method == "subscriptions/listen":
        exchange.stream = True


def message_call(message: dict[str, Any], whole: McpCall) -> Exchange:
    """One message of a batch as a call of its own."""
    call = McpCall(
        protocol_version=whole.protocol_version,
        session_id=whole.session_id,
        modern=whole.modern,
        client=whole.client,
        batch=True,
    )
    exchange = Exchange(MCP_API, operation="mcp", mcp=call, document=message)
    _note_request(message, exchange, call)
    return exchange


def _id_of(message: dict[str, Any]) -> str | int | None:
    ident = message.get("id")
    return ident if isinstance(ident, str | int) and not isinstance(ident, bool) else None


def _note_messages(exchange: Exchange, document: Any) -> None:
    """Note each message of a server's JSON."""
    for message in messages_of(document):
        _note_answer(message, exchange)


def _marks_of(document: Any) -> Marks:
    """The zones of the strings of a server's JSON."""
    marks: Marks = {}
    batch = isinstance(document, list)
    candidates: Sequence[Any] = document if isinstance(document, list) else [document]
    for index, message in enumerate(candidates):
        if kind_of(message) != "none":
            mark_answer(message, (index,) if batch else (), marks)
    return marks


def _note_answer(message: dict[str, Any], exchange: Exchange) -> None:
    call, answer = exchange.mcp, exchange.answer
    if call is None or answer is None:
        return
    method = message.get("method")
    if isinstance(method, str):
        told = call.server_messages
        if len(told) < SERVER_MESSAGES_MAX:  # of a row of one kind the word is kept once
            told.append(told[-1] if told and told[-1] == method else method)
        return
    error = as_dict(message.get("error"))
    if error:
        code = error.get("code")
        call.rpc_error_code = code if isinstance(code, int) else None
        answer.error = CallError(str(code), as_text(error.get("message")))
        return
    _note_result(as_dict(message.get("result")), call, answer)
    answer.complete = True


def _note_result(result: dict[str, Any], call: McpCall, answer: Answer) -> None:
    """What a result tells, by its own shape: on event streams nobody knows what was asked."""
    if isinstance(result.get("tools"), list):
        names = [name for tool in result["tools"] if (name := name_of(tool))]
        call.tools_listed = list(dict.fromkeys([*(call.tools_listed or []), *names]))
        del call.tools_listed[TOOLS_LISTED_MAX:]
    if isinstance(result.get("serverInfo"), dict):
        call.server = as_text(result["serverInfo"].get("name"))
        call.protocol_version = as_text(result.get("protocolVersion")) or call.protocol_version
    if isinstance(result.get("content"), list) and "role" not in result:
        texts = [as_text(b.get("text")) for b in as_dicts(result["content"])]
        call.result_text = "".join(text for text in texts if text)
        call.is_error = result.get("isError") is True
        if len(answer.messages) < RESULTS_MAX:
            part = Part("tool_result", text=call.result_text, name=call.tool)
            answer.messages.append(Message("tool", [part]))
    elif not answer.messages:
        answer.messages.append(Message("tool", []))
