"""The real Python client and server of both eras, with our reading and refusing between them.

No proxy: a small gate in the server's own process hands each request and answer to the
family, as the proxy does, so that what is tested is what is read, filtered and refused.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError

from mcp import Client
from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest
from penstock.mcp.tools import ListFilter, filter_list_answer
from penstock.wire.family import Refusal
from penstock.wire.jsonrpc import MCP
from penstock.wire.jsonrpc_refusal import problem_refusal
from penstock.wire.sse import SseParser

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
DESTINATION = Destination("127.0.0.1", 80, category="mcp")


def hidden(name: str) -> bool:
    return name == "drop_table"


def server() -> MCPServer:
    made = MCPServer("shop")

    @made.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @made.tool()
    def drop_table(name: str) -> str:
        """Drop a table."""
        raise AssertionError("a refused call reached the server")

    @made.tool()
    async def slow(context: Context) -> str:
        """Reports progress, so that the answer is a stream."""
        await context.report_progress(1, 2)
        return "slow done"

    return made


class Gate:
    """Stands in front of the server's ASGI application as the proxy would."""

    def __init__(self, app: Any, form: Any) -> None:
        self.app, self.form = app, form
        self.exchanges: list[Exchange] = []

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = await read_body(receive) if scope["method"] == "POST" else b""
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        request = HttpRequest(scope["method"], "http", "h", 80, scope["path"], headers, body)
        assert MCP.recognise(request, DESTINATION)
        exchange = MCP.read_request(request, DESTINATION)
        self.exchanges.append(exchange)
        refusal = self.judge(exchange)
        if refusal is not None:
            return await answer(send, MCP.refusal(refusal))
        feed = replayed(body) if scope["method"] == "POST" else receive
        return await self.app(scope, feed, AnswerSide(exchange, send))

    def judge(self, exchange: Exchange) -> Refusal | None:
        if exchange.problem is not None:
            return problem_refusal(exchange, "integrity", "d0")
        call = exchange.mcp
        if call is None or call.tool is None or not hidden(call.tool):
            return None
        text = "Refused by policy: ask #data for drop_table."
        return Refusal(403, "policy_denied", text, "no-drops", "d1", form=self.form, call=call)


class AnswerSide:
    """Reads and filters the server's answer on its way out."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self.exchange, self.send = exchange, send
        self.parser, self.filter = SseParser(), ListFilter(hidden)
        self.start: Message = {}
        self.plain = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self.answer = HttpAnswer(message["status"], headers)
            self.sse = MCP.framing(self.exchange, self.answer, b"") == "sse"
            self.reader = MCP.answer_reader(self.exchange) if self.sse else None
            if self.sse:
                await self.send(message)
            return
        if self.reader is not None:
            await self.send({**message, "body": self.events(message.get("body", b""))})
            return
        self.plain += message.get("body", b"")
        if not message.get("more_body"):
            MCP.read_answer(self.exchange, HttpAnswer(self.answer.status, {}, self.plain))
            body = filter_list_answer(self.plain, hidden)
            headers = [
                pair for pair in self.start["headers"] if pair[0].lower() != b"content-length"
            ]
            length = (b"content-length", str(len(body)).encode())
            await self.send({**self.start, "headers": [*headers, length]})
            await self.send({"type": "http.response.body", "body": body})

    def events(self, data: bytes) -> bytes:
        out = b""
        for event in self.parser.feed(data):
            if event.data and self.reader is not None:
                is_json = event.data.startswith(b"{")
                self.reader.event(event.name, json.loads(event.data) if is_json else "")
            out += self.filter.feed(event.raw)
        return out


async def read_body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def replayed(body: bytes) -> Any:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return receive


async def answer(send: Send, refused: HttpAnswer) -> None:
    headers = [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": refused.body})


@asynccontextmanager
async def serving(
    form: str = "", json_response: bool = False, old_transport: bool = False
) -> AsyncIterator[tuple[str, Gate]]:
    """The gated server on a loopback port."""
    made = server()
    app = made.sse_app() if old_transport else made.streamable_http_app(json_response=json_response)
    gate = Gate(app, form)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(
            gate, log_level="error", lifespan="off", timeout_graceful_shutdown=1
        )
        running = uvicorn.Server(config)
        async with app.router.lifespan_context(app):
            task = asyncio.create_task(running.serve([listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", gate
            finally:
                running.should_exit = True
                await task


ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
KINDS = pytest.mark.parametrize("json_response", [False, True])


@ERAS
@KINDS
async def test_a_governed_conversation_works(mode: Any, json_response: bool) -> None:
    """Listing shows what is allowed, calls work, progress streams; nothing is called ambiguous."""
    async with (
        serving(json_response=json_response) as (url, gate),
        Client(url, mode=mode) as client,
    ):
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["add", "slow"]
        result = await client.call_tool("add", {"a": 2, "b": 3})
        assert result.structured_content == {"result": 5}
        assert (await client.call_tool("slow", {})).is_error is False
    calls = [exchange.mcp for exchange in gate.exchanges if exchange.mcp]
    assert [call.tool for call in calls if call.tool] == ["add", "slow"]
    assert {call.modern for call in calls if call.tool} == {mode == "auto"}
    seen = [call.tools_listed for call in calls if call.tools_listed]
    assert seen == [["add", "drop_table", "slow"]]
    assert [call.result_text for call in calls if call.tool] == ["5", "slow done"]
    assert not any(exchange.problem for exchange in gate.exchanges)


@ERAS
async def test_advice_reaches_the_model_as_a_tool_error(mode: Any) -> None:
    """The call returns normally, marked as error, with the policy's text."""
    async with serving("advise") as (url, _), Client(url, mode=mode) as client:
        result = await client.call_tool("drop_table", {"name": "t"})
        assert result.is_error and "ask #data" in result.content[0].text
        assert (await client.call_tool("add", {"a": 1, "b": 1})).is_error is False


@ERAS
@pytest.mark.parametrize(
    ("form", "code", "text"),
    [("hidden", -32602, "Unknown tool: drop_table"), ("error", -31403, "ask #data")],
)
async def test_a_hard_refusal_is_a_named_error(mode: Any, form: str, code: int, text: str) -> None:
    """The client raises its own error class with our code and text, and goes on working."""
    async with serving(form) as (url, _), Client(url, mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("drop_table", {"name": "t"})
        assert caught.value.error.code == code and text in caught.value.error.message
        assert (await client.call_tool("add", {"a": 1, "b": 1})).is_error is False


async def test_the_old_two_endpoint_transport_is_read_and_filtered() -> None:
    """Answers arrive on the GET stream, calls go by POST: lists are filtered there as well."""
    async with (
        serving(old_transport=True) as (url, gate),
        sse_client(url.replace("/mcp", "/sse")) as (reading, writing),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        listed = await session.list_tools()
        assert [tool.name for tool in listed.tools] == ["add", "slow"]
        assert (await session.call_tool("add", {"a": 2, "b": 3})).is_error is False
    opened = gate.exchanges[0]
    assert opened.stream and opened.mcp is not None
    assert opened.mcp.tools_listed == ["add", "drop_table", "slow"]
    assert opened.mcp.result_text == "5"
    assert [e.mcp.tool for e in gate.exchanges if e.mcp and e.mcp.tool] == ["add"]
    assert not any(exchange.problem for exchange in gate.exchanges)
