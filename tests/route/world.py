"""A real penstock between a raw client and scripted upstreams that fail in every way.

Three hosts: the one the application calls (``api.openai.com``), and two targets of the policy.
What an upstream does is a function of its connection; ``FAULTS`` names the bad ways.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import PENSTOCK, Penstock, running_penstock
from tests.proxy.raw import Answer, Client, RawUpstream, Script, TestCa

ORIGINAL, FIRST, SECOND = "api.openai.com", "first.example", "second.example"
KEY = "Bearer caller-key-that-is-not-to-travel"

Does = Script | bytes | None  # None: nobody listens there


def http(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """One whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


def completion(text: str, model: str = "gpt-4o") -> bytes:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
    return json.dumps(document).encode()


def error(kind: str) -> bytes:
    """An error in OpenAI's shape."""
    return json.dumps({"error": {"message": kind, "type": kind, "code": kind}}).encode()


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str) -> bytes:
    """One chat chunk as an event."""
    delta = {"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
STREAM_END = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def serves(text: str) -> Script:
    """Answers well, plain or streamed as asked."""

    def script(connection: socket.socket, request: bytes, _number: int) -> bool:
        if b'"stream": true' in request:
            pieces = (chunk(event(word)) for word in (text, " and more"))
            connection.sendall(STREAM_HEAD + b"".join(pieces) + STREAM_END)
        else:
            connection.sendall(http(200, completion(text)))
        return True

    return script


def says(answer: bytes) -> Script:
    """Answers with these bytes."""

    def script(connection: socket.socket, _request: bytes, _number: int) -> bool:
        connection.sendall(answer)
        return True

    return script


def resets(connection: socket.socket, _request: bytes, _number: int) -> bool:
    """Resets the connection when the request is there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False


def stalls(connection: socket.socket, _request: bytes, _number: int) -> bool:
    """Takes the request and says nothing."""
    time.sleep(6)
    return False


def stalls_after_head(connection: socket.socket, _request: bytes, _number: int) -> bool:
    """Sends a stream's head and then nothing."""
    connection.sendall(STREAM_HEAD)
    time.sleep(6)
    return False


def error_event(connection: socket.socket, request: bytes, _number: int) -> bool:
    """Says 200, and an error where the first event should be; plain: the error alone."""
    if b'"stream": true' in request:
        body = chunk(b"data: " + error("server_error") + b"\n\n")
        connection.sendall(STREAM_HEAD + body + b"0\r\n\r\n")
    else:
        connection.sendall(http(500, error("server_error")))
    return True


def cut_after_first_event(connection: socket.socket, request: bytes, _number: int) -> bool:
    """Breaks off in the middle of its answer."""
    if b'"stream": true' in request:
        connection.sendall(STREAM_HEAD + chunk(event("half of it")))
        time.sleep(0.2)
    else:
        connection.sendall(http(200, completion("half"))[:-40])
    return False


def drips(connection: socket.socket, request: bytes, _number: int) -> bool:
    """Answers well, one byte after the other."""
    whole = http(200, completion("slowly"))
    if b'"stream": true' in request:
        whole = STREAM_HEAD + chunk(event("slowly")) + STREAM_END
    for index in range(0, len(whole), 8):
        connection.sendall(whole[index : index + 8])
        time.sleep(0.01)
    return True


@dataclass
class World:
    """The proxy and the upstreams by host."""

    proxy: Penstock
    upstreams: dict[str, RawUpstream] = field(default_factory=dict)

    def client(self, host: str = ORIGINAL) -> Client:
        """A tunnel through the proxy."""
        client = Client(socket.create_connection(self.proxy.address, timeout=15))
        assert client.connect(host, 443).startswith(b"HTTP/1.1 200")
        client.start_tls(host, self.proxy.state / "ca.pem")
        return client

    def call(
        self,
        text: str = "hello",
        *,
        stream: bool = False,
        client: Client | None = None,
        path: str = "/v1/chat/completions",
        extra: bytes = b"",
        **more: Any,
    ) -> Answer:
        """One chat call by ``client`` or a new one; the whole answer."""
        document = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": text}],
            "stream": stream,
            **more,
        }
        head = b"Authorization: " + KEY.encode() + b"\r\n" + extra
        if client is not None:
            client.post(ORIGINAL, path, json.dumps(document).encode(), head)
            return client.answer()
        with self.client() as fresh:
            fresh.post(ORIGINAL, path, json.dumps(document).encode(), head)
            return fresh.answer()

    def asked(self) -> dict[str, int]:
        """How many requests each upstream got."""
        return {host: len(one.requests) for host, one in self.upstreams.items() if one.requests}

    def attempts(self, calls: int = 1) -> list[tuple[str, str, str]]:
        """(target, outcome, billed) of the last of so many calls."""
        rows: Sequence[Mapping[str, Any]] = self.proxy.records(calls)[-1]["attempts"]
        return [(row["target"].split("/")[0], row["outcome"], row["billed"]) for row in rows]


ROUTE = """
version: 1
rules:
  - id: spread
    route:
      to:
        - {url: "https://first.example/v1"}
        - {url: "https://second.example/v1", priority: 2}
"""


@contextmanager
def world(
    folder: Path,
    ca: TestCa,
    upstreams: Mapping[str, Does],
    policy: str = ROUTE,
    arguments: Sequence[str] = (),
    contexts: Mapping[str, Callable[[TestCa], Any]] | None = None,
    program: Sequence[str] = PENSTOCK,
) -> Iterator[World]:
    """Start everything; a host whose behaviour is None refuses connections."""
    options = ["--upstream-ca", str(ca.pem), *arguments]
    with ExitStack() as stack:
        started: dict[str, RawUpstream] = {}
        for host, does in upstreams.items():
            if does is None:
                with socket.create_server(("127.0.0.1", 0)) as taken:
                    port = taken.getsockname()[1]
            else:
                make = (contexts or {}).get(host)
                context = make(ca) if make else ca.context(host)
                started[host] = stack.enter_context(RawUpstream(does, context))
                port = started[host].port
            options += ["--connect-to", f"{host}:443=127.0.0.1:{port}"]
        proxy = stack.enter_context(
            running_penstock(folder, policy, None, options, program=program)
        )
        yield World(proxy, started)
