"""One running penstock, one scripted upstream under many names, and raw clients between them.

A test puts its script into ``World.upstream.script`` and speaks bytes; what left and what
came back is compared on the wire.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import Penstock, Upstream, running_penstock
from tests.proxy.raw import TIMEOUT, Client, RawUpstream, Script, TestCa

OPENAI, ANTHROPIC, GEMINI = (
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
)
HOSTS = [OPENAI, ANTHROPIC, GEMINI]
EMAIL = "ada.lovelace@analytical-engine.org"

POLICY = """
version: 1
name: faults
mode: enforce
rules:
  - id: nothing-private-out
    redact: {find: [secret, pii.email], in: [request], with: placeholder}
  - id: measured
    limit: {tokens: 1_000_000, every: 1h, per: [workload]}
"""
OBSERVE = POLICY.replace("mode: enforce", "mode: observe")


# On this path the interpreter finds the traps of ``injected/sitecustomize.py``.
INJECTED = os.pathsep.join(
    [str(Path(__file__).parent / "injected"), os.environ.get("PYTHONPATH", "")]
)


@dataclass
class World:
    """A proxy and the upstream that answers for every host."""

    proxy: Penstock
    upstream: RawUpstream
    ca: TestCa

    def tunnel(self, host: str = OPENAI, extra: bytes = b"") -> Client:
        """CONNECT and TLS under the proxy's authority."""
        client = self.raw()
        authority = f"{host}:443".encode()
        client.send(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (authority, authority, extra))
        answer = client.answer(connect=True)
        assert answer.status == 200, answer.raw
        client.start_tls(host, self.proxy.state / "ca.pem")
        return client

    def raw(self) -> Client:
        """A bare connection to the proxy's port."""
        return Client(socket.create_connection(self.proxy.address, timeout=TIMEOUT))

    def after(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The records from number ``count`` on; waits for at least one."""
        return self.proxy.records(count + 1, seconds)[count:]

    @property
    def recorded(self) -> int:
        """How many calls have been recorded so far."""
        return len(self.proxy.records())

    def metric(self, name: str) -> float:
        """The sum of all samples of a metric (0 when there is none)."""
        lines = self.proxy.metrics().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@contextmanager
def world(
    folder: Path,
    policy: str | Path = POLICY,
    script: Script | bytes = b"",
    hosts: Sequence[str] = HOSTS,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    also: Sequence[str] = (),
) -> Iterator[World]:
    """Start both; ``arguments`` go to ``penstock run``.

    ``also`` are hosts that lead to the upstream and that its certificate does not name.
    """
    ca = TestCa(folder / "upstream-ca")
    with RawUpstream(script or completion(), ca.context(*hosts)) as upstream:
        given = Upstream(upstream.port, ca.pem, [*hosts, *also], ca.pem, ca.pem)
        with running_penstock(folder / "penstock", policy, given, arguments, environment) as proxy:
            yield World(proxy, upstream, ca)


def head(body: bytes, extra: bytes = b"", kind: bytes = b"application/json") -> bytes:
    """An answer of known length."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        kind,
        extra,
        len(body),
        body,
    )


def completion_body(text: str = "fine") -> bytes:
    """A plain chat completion as OpenAI documents it."""
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-5-mini",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }
    ).encode()


def completion(text: str = "fine") -> bytes:
    """The whole answer."""
    return head(completion_body(text))


def event(text: str | None, finish: str | None = None) -> bytes:
    """One chunk of a chat completion stream."""
    delta = {"content": text} if text is not None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"


def chat(text: str = "hello", **more: Any) -> bytes:
    """A chat completion request's body."""
    return json.dumps(
        {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}], **more}
    ).encode()


CHAT = "/v1/chat/completions"


def ask(client: Client, body: bytes, extra: bytes = b"", host: str = OPENAI) -> None:
    """Send a chat completion request."""
    client.post(host, CHAT, body, extra)


def body_of(request: bytes) -> bytes:
    """The body of what the upstream received, chunk framing removed."""
    top, _, body = request.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in top.lower():
        return body
    out = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            return out
        out += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def eventually(condition: Any, seconds: float = 5.0) -> float:
    """Wait until true; the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        time.sleep(0.002)
    return time.monotonic() - began
