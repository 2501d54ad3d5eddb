"""A real WebSocket server and client around a running proxy.

The server speaks as its script tells it; the script runs in a thread of the server.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from penstock.cli.demo.certificate import write_server_certificate
from tests.harness import Penstock, Upstream
from tests.leaks.openai import Responses

HOSTS = ["api.openai.com", "sockets.example", "api.x.ai", "api.groq.com"]
SECONDS = 20
LARGE = 64 * 1024 * 1024
Event = dict[str, Any]


def responses(kind: str, pieces: list[str]) -> list[str]:
    """The messages of one streamed answer."""
    lines = b"".join(Responses().stream(kind, pieces)).decode().splitlines()
    return [line.removeprefix("data: ") for line in lines if line.startswith("data:")]


@dataclass
class Server:
    """``received`` holds every message; ``script`` is run for each ``response.create``."""

    upstream: Upstream
    script: Callable[[ServerConnection, Event], None]
    received: list[str | bytes] = field(default_factory=list)
    opened: list[dict[str, str]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.opened.append({name.lower(): text for name, text in socket.request.headers.items()})
        try:
            for message in socket:
                self.received.append(message)
                self.react(socket, message)
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()

    def react(self, socket: ServerConnection, message: str | bytes) -> None:
        if isinstance(message, str) and message.startswith("{"):
            event = json.loads(message)
            if event.get("type") == "response.create":
                self.script(socket, event)
                return
        if message in ("echo", b"echo"):
            socket.send(message)

    def events(self) -> list[Event]:
        return [json.loads(message) for message in self.received]


def saying(messages: list[str]) -> Callable[[ServerConnection, Event], None]:
    """A script: these messages, whatever is asked."""

    def script(socket: ServerConnection, _: Event) -> None:
        for message in messages:
            socket.send(message)

    return script


@contextmanager
def socket_server(folder: Path) -> Iterator[Server]:
    """Serve WebSocket over TLS as all of HOSTS."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, certificate, key = write_server_certificate(folder, HOSTS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    found: list[Server] = []
    with serve(
        lambda socket: found[0].handle(socket), "127.0.0.1", 0, ssl=context, max_size=LARGE
    ) as listening:
        port = listening.socket.getsockname()[1]
        found.append(Server(Upstream(port, ca, HOSTS, certificate, key), saying([])))
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield found[0]
        listening.shutdown()


def opened(
    proxy: Penstock,
    path: str = "/v1/responses",
    host: str = "api.openai.com",
    compression: str | None = "deflate",
) -> ClientConnection:
    """A client's socket through the proxy."""
    context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
    return connect(
        f"wss://{host}{path}",
        ssl=context,
        proxy=proxy.url,
        open_timeout=SECONDS,
        close_timeout=SECONDS,
        max_size=LARGE,
        compression=compression,
        additional_headers={"authorization": "Bearer none"},
    )


def create(text: str, **fields: Any) -> str:
    """A client's request for an answer."""
    message = {"role": "user", "content": [{"type": "input_text", "text": text}]}
    return json.dumps(
        {"type": "response.create", "model": "gpt-5-codex", "input": [message], **fields}
    )


def until(socket: ClientConnection, *kinds: str) -> list[str]:
    """The messages up to one of these kinds."""
    got: list[str] = []
    while True:
        message = socket.recv(timeout=SECONDS)
        assert isinstance(message, str)
        got.append(message)
        if json.loads(message).get("type") in kinds:
            return got
