"""Replay recorded exchanges through a running proxy and compare every byte on both sides."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.harness import Penstock

# Chunk edges of a replayed stream: prime, so that they fall anywhere in an event.
CHUNK_BYTES = 97
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
FRAMING = {"content-length", "date"}

Headers = list[tuple[str, str]]


@dataclass
class Message:
    """A request or an answer: first line, headers as they stood, body without chunk framing."""

    first: str
    headers: Headers
    body: bytes

    def end_to_end(self) -> Headers:
        """The headers no proxy may touch, in order."""
        return [h for h in self.headers if h[0].lower() not in HOP_BY_HOP | FRAMING]


@dataclass
class Exchange:
    """One recorded exchange, ready to be sent: bodies as on the wire."""

    id: str
    host: str
    request: Message
    answer: Message
    streamed: bool


def host_of(url: str) -> str:
    """The recorded host as a name that can stand in a certificate and behind port 443."""
    location = urlsplit(url).netloc
    plain = location.replace("_", "-").replace(":", "-")
    return plain if "." in plain and ":" not in location else f"{plain}.example"


def body_of(side: dict[str, Any]) -> bytes:
    body = side.get("body") or ""
    return base64.b64decode(body) if side.get("encoding") == "base64" else body.encode()


def exchange_of(line: dict[str, Any]) -> Exchange:
    request, response = line["request"], line["response"]
    url = urlsplit(request["url"])
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host, body = host_of(request["url"]), body_of(request)

    def kept(headers: dict[str, str]) -> Headers:
        dropped = HOP_BY_HOP | FRAMING | {"host"}
        return [(n, v) for n, v in headers.items() if n.lower() not in dropped]

    sent = [("host", host), *kept(request["headers"])]
    if body or request["method"] in ("POST", "PUT", "PATCH"):
        sent.append(("content-length", str(len(body))))
    answer = Message(
        f"HTTP/1.1 {response['status']} OK", kept(response["headers"]), body_of(response)
    )
    first = f"{request['method']} {target} HTTP/1.1"
    return Exchange(line["id"], host, Message(first, sent, body), answer, line["streaming"])


class Reader:
    """Reads HTTP/1.1 messages from a socket."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self.buffer = b""

    def fill(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            raise EOFError("connection closed")
        self.buffer += data

    def take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self.fill()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            self.fill()
        taken, _, self.buffer = self.buffer.partition(mark)
        return taken

    def message(self) -> Message:
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        names = {name.lower(): value for name, value in headers}
        if names.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join(self.chunks())
        else:
            body = self.take(int(names.get("content-length", 0)))
        return Message(lines[0], headers, body)

    def chunks(self) -> Iterator[bytes]:
        while size := int(self.until(b"\r\n"), 16):
            yield self.take(size)
            self.take(2)
        self.until(b"\r\n")


class Recorded:
    """An HTTPS upstream that answers each request with ``next``; keeps what it got in ``got``."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.next: Exchange | None = None
        self.got: Message | None = None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw: socket.socket) -> None:
        with suppress(OSError, EOFError), self.context.wrap_socket(raw, server_side=True) as peer:
            reader = Reader(peer)
            while True:
                self.got = reader.message()
                assert self.next is not None
                peer.sendall(wire_answer(self.next))

    def close(self) -> None:
        self.listener.close()


def wire_answer(exchange: Exchange) -> bytes:
    answer = exchange.answer
    head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    if exchange.answer.first.split()[1] in ("204", "304"):
        return f"{answer.first}\r\n{head}\r\n".encode("latin-1")
    if not exchange.streamed:
        head += f"content-length: {len(answer.body)}\r\n"
        return f"{answer.first}\r\n{head}\r\n".encode("latin-1") + answer.body
    pieces = []
    for at in range(0, len(answer.body), CHUNK_BYTES):
        piece = answer.body[at : at + CHUNK_BYTES]
        pieces.append(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    head += "transfer-encoding: chunked\r\n"
    return f"{answer.first}\r\n{head}\r\n".encode("latin-1") + b"".join(pieces) + b"0\r\n\r\n"


class Client:
    """Sends exchanges through the proxy, one tunnel per host."""

    def __init__(self, proxy: Penstock) -> None:
        self.proxy = proxy
        self.context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
        self.tunnels: dict[str, Reader] = {}

    def tunnel(self, host: str) -> Reader:
        if host not in self.tunnels:
            raw = socket.create_connection(self.proxy.address, timeout=20)
            raw.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += raw.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            self.tunnels[host] = Reader(self.context.wrap_socket(raw, server_hostname=host))
        return self.tunnels[host]

    def send(self, exchange: Exchange) -> Message:
        reader = self.tunnel(exchange.host)
        request = exchange.request
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        data = f"{request.first}\r\n{head}\r\n".encode() + request.body
        try:
            reader.connection.sendall(data)
            return reader.message()
        except (EOFError, OSError):
            self.tunnels.pop(exchange.host, None)
            raise

    def close(self) -> None:
        for reader in self.tunnels.values():
            reader.connection.close()


def differences(exchange: Exchange, got: Message | None, answer: Message) -> list[str]:
    """What did not arrive as it was sent, in words; empty when every byte did."""
    found = []
    if got is None:
        return ["the upstream got no request"]
    for side, sent, arrived in (
        ("request", exchange.request, got),
        ("answer", exchange.answer, answer),
    ):
        if sent.body != arrived.body:
            found.append(f"{side} body: {len(sent.body)} bytes sent, {len(arrived.body)} arrived")
        if sent.end_to_end() != arrived.end_to_end():
            found.append(f"{side} headers: {sent.end_to_end()} != {arrived.end_to_end()}")
    if exchange.request.first != got.first:
        found.append(f"request line: {got.first}")
    if exchange.answer.first.split()[1] != answer.first.split()[1]:
        found.append(f"status: {answer.first}")
    return found
