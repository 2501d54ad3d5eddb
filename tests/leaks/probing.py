"""One probe: a call through the proxy, to an upstream that notes what it got and answers."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.leaks.anthropic import Messages
from tests.leaks.bedrock import Converse
from tests.leaks.dialect import PLACES, Dialect
from tests.leaks.gemini import Gemini
from tests.leaks.ollama import Ollama
from tests.leaks.openai import Chat, Responses

DIALECTS: tuple[Dialect, ...] = (Chat(), Responses(), Messages(), Gemini(), Converse(), Ollama())
HOSTS = sorted({dialect.host for dialect in DIALECTS})
SECONDS = 60
# A request's body gives the answer's pieces.
Answer = Callable[[bytes], Iterable[bytes]]


@dataclass
class Provider:
    """An ASGI application; ``received`` holds the bodies as they arrived."""

    received: list[bytes] = field(default_factory=list)
    content_type: str = "application/json"
    answer: Answer = lambda _: [b"{}"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.received.append(body)
        headers = [(b"content-type", self.content_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in self.answer(body):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass
class Probe:
    """Sends calls through a proxy."""

    proxy: str
    ca: Path | None
    provider: Provider

    def ask(
        self,
        dialect: Dialect,
        streamed: bool,
        answer: Answer,
        texts: dict[str, str] | None = None,
    ) -> bytes:
        """The answer's body as the client gets it; a status other than 200 fails."""
        self.provider.received.clear()
        self.provider.content_type = dialect.stream_type if streamed else "application/json"
        self.provider.answer = answer
        texts = {place: f"A {place}." for place in PLACES} | (texts or {})
        body = json.dumps(dialect.request(streamed, texts)).encode()
        where = urlsplit(self.proxy)
        assert where.hostname
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        connection = http.client.HTTPSConnection(
            where.hostname, where.port, context=context, timeout=SECONDS
        )
        try:
            connection.set_tunnel(dialect.host, 443)
            headers = {"content-type": "application/json", **dialect.headers}
            connection.request("POST", dialect.path(streamed), body, headers)
            got = connection.getresponse()
            read = got.read()
        finally:
            connection.close()
        assert got.status == 200, read[:2000]
        return read

    def sent(self) -> str:
        """The one body that reached the upstream; it must still be JSON."""
        (body,) = self.provider.received
        return json.dumps(json.loads(body), ensure_ascii=False)


def whole(dialect: Dialect, kind: str, text: str) -> Answer:
    """A plain answer with this text."""
    return lambda _: [json.dumps(dialect.plain(kind, text)).encode()]


def in_pieces(dialect: Dialect, kind: str, pieces: list[str]) -> Answer:
    """A streamed answer with these pieces of text."""
    return lambda _: dialect.stream(kind, pieces)
