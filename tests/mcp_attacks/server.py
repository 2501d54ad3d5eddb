"""A server that says what a test tells it to, in either era, as JSON or as a stream."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from tests.harness import Penstock

HOST = "tools.example.com"
MODERN = "2026-07-28"
LEGACY = "2025-11-25"

Result = dict[str, Any]


class Hostile:
    """ASGI application. ``says[path][method]`` is a result, a list of whole messages that
    come before one (the last gets the call's id), or a function of the request.

    ``seen`` are the requests that reached it.
    """

    def __init__(self) -> None:
        self.says: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, Any] = {}  # whole JSON answers of what is no MCP, by path
        self.lines: dict[str, list[Any]] = {}  # answers of subscriptions/listen, by path
        self.heads: dict[str, list[tuple[bytes, bytes]]] = {}  # more headers of answers, by path
        self.seen: list[tuple[str, dict[str, str], Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        body, more = b"", True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        request = json.loads(body)
        if scope["path"] in self.replies:
            headers_out = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers_out})
            reply = json.dumps(self.replies[scope["path"]]).encode()
            return await send({"type": "http.response.body", "body": reply})
        if isinstance(request, list):
            return await self.answer_batch(scope["path"], headers, request, send)
        self.seen.append((scope["path"], headers, request))
        if request.get("method") == "subscriptions/listen" and scope["path"] in self.lines:
            return await self.answer_lines(self.lines[scope["path"]], send)
        reply = self.says.get(scope["path"], {}).get(request.get("method"), {})
        reply = reply(request) if callable(reply) else reply
        before, last = (reply[:-1], reply[-1]) if isinstance(reply, list) else ([], reply)
        member = "error" if set(last) == {"code", "message"} else "result"
        answer = {"jsonrpc": "2.0", "id": request.get("id"), member: last}
        streamed = bool(before) or headers.get("x-stream") == "1"
        kind = b"text/event-stream" if streamed else b"application/json"
        head = [(b"content-type", kind), *self.heads.get(scope["path"], [])]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        if not streamed:
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
            return None
        for message in [*before, answer]:
            event = b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return None

    async def answer_lines(self, messages: list[Any], send: Any) -> None:
        """Each message as a line of JSON."""
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for message in messages:
            line = json.dumps(message).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def answer_batch(
        self, path: str, headers: dict[str, str], requests: list[Any], send: Any
    ) -> None:
        """One answer for each request, as JSON or as one event."""
        answers = []
        for request in requests:
            self.seen.append((path, headers, request))
            reply = self.says.get(path, {}).get(request["method"], {})
            reply = reply(request) if callable(reply) else reply
            answers.append({"jsonrpc": "2.0", "id": request.get("id"), "result": reply})
        body = json.dumps([answer for answer in answers if answer["id"] is not None]).encode()
        streamed = headers.get("x-stream") == "1"
        kind = b"text/event-stream" if streamed else b"application/json"
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        await send(start)
        body = b"event: message\ndata: " + body + b"\n\n" if streamed else body
        await send({"type": "http.response.body", "body": body})

    def calls(self, path: str, method: str = "tools/call") -> list[Any]:
        """The parameters of the requests that reached ``path``."""
        return [
            request["params"]
            for where, _, request in self.seen
            if where == path and request.get("method") == method
        ]


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


class Wire:
    """A client that shows every message as it arrived."""

    def __init__(self, proxy: Penstock, streamed: bool, modern: bool) -> None:
        self.proxy, self.streamed, self.modern = proxy, streamed, modern
        context = ssl.create_default_context(cafile=proxy.environment["SSL_CERT_FILE"])
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": proxy.url}),
            urllib.request.HTTPSHandler(context=context),
        )
        self.number = 0
        self.head: Any = {}  # of the last answer

    def messages(
        self, path: str, method: str, parameters: Result | None = None, **headers: str
    ) -> list[Any]:
        """All messages of the answer, in order."""
        self.number += 1
        params = dict(parameters or {})
        sent = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN if self.modern else LEGACY,
            "x-stream": "1" if self.streamed else "0",
        }
        if self.modern:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            sent["mcp-method"] = method
            if name := params.get("name") or params.get("uri"):
                sent["mcp-name"] = name
        body = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        request = urllib.request.Request(
            f"https://{HOST}{path}", json.dumps(body).encode(), sent | headers
        )
        try:
            with self.opener.open(request, timeout=20) as answer:
                self.head = answer.headers
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        if not text.startswith(("event:", "data:", ":")):
            return [json.loads(text)] if text.strip() else []
        lines = [line.removeprefix("data: ") for line in text.split("\n")]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def last(self, path: str, method: str, parameters: Result | None = None, **more: str) -> Any:
        """The message that answers the request."""
        found = self.messages(path, method, parameters, **more)[-1]
        assert found["id"] == self.number
        return found

    def call(self, path: str, tool: str, arguments: Result | None = None, **more: str) -> Any:
        return self.last(path, "tools/call", {"name": tool, "arguments": arguments or {}}, **more)

    def tools(self, path: str) -> list[str]:
        return [tool["name"] for tool in self.last(path, "tools/list")["result"]["tools"]]


def text_result(text: str, **members: Any) -> Result:
    return {"content": [{"type": "text", "text": text}], "resultType": "complete", **members}


def tool(name: str, description: str = "Does one thing.", **members: Any) -> Result:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {"name": name, "description": description, "inputSchema": schema, **members}


def listing(*tools: Result) -> Result:
    return {"tools": list(tools), "resultType": "complete", "ttlMs": 1000, "cacheScope": "public"}


def refused(message: Any) -> str:
    """The words of a refusal in whatever form; fails when the message is none."""
    if "error" in message:
        words: str = message["error"]["message"]
        return words
    assert message["result"].get("isError") is True, message
    said: str = message["result"]["content"][0]["text"]
    return said
