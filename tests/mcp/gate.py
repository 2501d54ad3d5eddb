"""A gate in front of a real MCP server: hands each request and answer to our reading.

No proxy: it does in the server's own process what the proxy does on the path, so that what
is tested is what is read, filtered and refused, with any real client in front.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest
from penstock.mcp.answers import EventFilter, judge_document
from penstock.wire.family import Refusal
from penstock.wire.framing.sse import SseParser
from penstock.wire.jsonrpc.calls import MCP
from penstock.wire.jsonrpc.refusal import problem_refusal

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
DESTINATION = Destination("127.0.0.1", 80, category="mcp")


def hidden(name: str) -> bool:
    return name == "drop_table"


class Hiding:
    """Rules that hide some tools and refuse nothing."""

    bytes_max = None

    def judge(self, message: dict[str, Any], size: int) -> None:
        return None

    def hidden(self, member: str, element: Any) -> bool:
        return hidden(element["name"])


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
        self.parser, self.filter = SseParser(), EventFilter(Hiding(), exchange.mcp)
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
            body, _ = judge_document(self.plain, Hiding(), self.exchange.mcp)
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
