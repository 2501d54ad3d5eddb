"""Every fault, plain and streamed, in each of the three formats: the next target answers.

One proxy per format and kind of answer: the first target fails in one way after the other, and
answers well in between, so that its failures stay single ones and it stays in.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.raw import Answer, Script, TestCa
from tests.route import world as w
from tests.route.world import FIRST, ORIGINAL, SECOND, World, world

DEAD, WRONG = "dead.example", "wrong.example"
POLICY = """
version: 1
rules:
  - id: usual
    route:
      attempt_timeout: 1s
      to: [{url: "https://first.example"}, {url: "https://second.example", priority: 2}]
  - id: refused
    route:
      models: ["refused-*"]
      to: [{url: "https://dead.example"}, {url: "https://second.example", priority: 2}]
  - id: no-tls
    route:
      models: ["tls-*"]
      to: [{url: "https://wrong.example"}, {url: "https://second.example", priority: 2}]
"""


def events(*documents: dict[str, Any]) -> bytes:
    """A stream's events; Anthropic's have names."""
    out = b""
    for one in documents:
        name = f"event: {one['type']}\n" if "type" in one else ""
        out += w.chunk(f"{name}data: {json.dumps(one)}\n\n".encode())
    return out


@dataclass
class Format:
    """How one API is asked, answers, and fails."""

    host: str
    path: Callable[[str, bool], str]
    body: Callable[[str, bool], dict[str, Any]]
    plain: Callable[[str], dict[str, Any]]
    streamed: Callable[[str], list[dict[str, Any]]]
    error: dict[str, Any]
    done: bytes = b""

    def answers(self, text: str, stream: bool) -> bytes:
        if not stream:
            return w.http(200, json.dumps(self.plain(text)).encode())
        return w.STREAM_HEAD + events(*self.streamed(text)) + self.end()

    def end(self) -> bytes:
        return (w.chunk(self.done) if self.done else b"") + b"0\r\n\r\n"


def gemini_answer(text: str, finish: str | None = "STOP") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


def text_delta(text: str) -> dict[str, str]:
    return {"type": "text_delta", "text": text}


FORMATS = {
    "openai": Format(
        ORIGINAL,
        lambda _model, _stream: "/v1/chat/completions",
        lambda model, stream: {"model": model, "messages": [], "stream": stream},
        lambda text: json.loads(w.completion(text)),
        lambda text: [
            {"choices": [{"index": 0, "delta": {"content": text}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ],
        {"error": {"message": "m", "type": "server_error"}},
        b"data: [DONE]\n\n",
    ),
    "anthropic": Format(
        "api.anthropic.com",
        lambda _model, _stream: "/v1/messages",
        lambda model, stream: {"model": model, "max_tokens": 9, "messages": [], "stream": stream},
        lambda text: {"type": "message", "content": [{"type": "text", "text": text}]},
        lambda text: [
            {"type": "message_start", "message": {"id": "m", "usage": {}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
            {"type": "content_block_delta", "index": 0, "delta": text_delta(text)},
            {"type": "message_stop"},
        ],
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
    ),
    "gemini": Format(
        "generativelanguage.googleapis.com",
        lambda model, stream: f"/v1beta/models/{model}:"
        + ("streamGenerateContent?alt=sse" if stream else "generateContent"),
        lambda _model, _stream: {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
        gemini_answer,
        lambda text: [gemini_answer(text, None), gemini_answer("")],
        {"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}},
    ),
}  # fmt: skip


def says(raw: bytes) -> Script:
    return w.says(raw)


def faults(one: Format, stream: bool) -> dict[str, tuple[Script, str]]:
    """fault -> (what the first target does, the attempt's outcome)."""
    error = json.dumps(one.error).encode()
    found: dict[str, tuple[Script, str]] = {
        "reset": (w.resets, "upstream_closed"),
        "stall before head": (w.stalls, "first_byte_timeout"),
        "no HTTP": (says(b"nonsense\r\n\r\n"), "invalid_answer"),
        "429": (says(w.http(429, error)), "status_429"),
        "429 with Retry-After": (says(w.http(429, error, "Retry-After: 60")), "status_429"),
        "500": (says(w.http(500, error)), "status_500"),
        "503": (says(w.http(503, error)), "status_503"),
        "529": (says(w.http(529, error)), "status_529"),
    }
    if stream:
        first = says(w.STREAM_HEAD + events(one.error) + b"0\r\n\r\n")
        found["error as first event"] = first, "error_event"
    else:
        whole = one.answers("half", stream=False)

        def cut(connection: socket.socket, _request: bytes, _number: int) -> bool:
            connection.sendall(whole[:-9])
            return False

        found["cut in a plain answer"] = cut, "invalid_answer"
    return found


def call(it: World, one: Format, model: str, stream: bool) -> Answer:
    with it.client(one.host) as client:
        body = json.dumps(one.body(model, stream)).encode()
        client.post(one.host, one.path(model, stream), body)
        return client.answer()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_fault_is_survived(tmp_path: Path, ca: TestCa, name: str, stream: bool) -> None:
    """The caller sees a whole answer of its format and nothing of what went before."""
    one = FORMATS[name]
    good = says(one.answers("from first", stream))
    upstreams: dict[str, w.Does] = {
        FIRST: good,
        SECOND: says(one.answers("from second", stream)),
        DEAD: None,
        WRONG: good,
    }
    contexts = {WRONG: lambda authority: authority.context("other.example")}
    with world(tmp_path, ca, upstreams, POLICY, contexts=contexts) as it:
        calls = 0

        def survives(model: str, expected: str) -> None:
            nonlocal calls
            calls += 1
            answer = call(it, one, model, stream)
            assert answer.status == 200 and answer.complete, model
            assert b"from second" in answer.body and b"from first" not in answer.body, model
            assert it.attempts(calls)[0][1] == expected, model

        for number, (does, outcome) in enumerate(faults(one, stream).values()):
            it.upstreams[FIRST].script = does
            survives(f"model-{number}", outcome)
            it.upstreams[FIRST].script = good
            calls += 1
            assert b"from first" in call(it, one, f"well-{number}", stream).body
        survives("refused-1", "upstream_unreachable")
        survives("tls-1", "upstream_certificate")


@pytest.mark.parametrize("name", FORMATS)
def test_once_it_speaks_it_is_heard_out(tmp_path: Path, ca: TestCa, name: str) -> None:
    """A slow drip is waited for; a stream cut after its first words is shown as cut."""
    one = FORMATS[name]
    whole = one.answers("slowly", stream=True)

    def drips(connection: socket.socket, _request: bytes, _number: int) -> bool:
        for index in range(0, len(whole), 16):
            connection.sendall(whole[index : index + 16])
            time.sleep(0.005)
        return True

    def cuts(connection: socket.socket, _request: bytes, _number: int) -> bool:
        connection.sendall(w.STREAM_HEAD + events(*one.streamed("half of it")[:-1]))
        time.sleep(0.2)
        return False

    second = says(one.answers("from second", stream=True))
    with world(tmp_path, ca, {FIRST: drips, SECOND: second}, POLICY) as it:
        answer = call(it, one, "model-1", stream=True)
        assert answer.complete and b"slowly" in answer.body
        it.upstreams[FIRST].script = cuts
        answer = call(it, one, "model-2", stream=True)
        assert not answer.complete and b"half of it" in answer.body
        assert it.attempts(2) == [(FIRST, "cut", "yes")]
        assert SECOND not in it.asked()
