"""Failing over between targets of different formats, before the first byte and never after."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.raw import Script, TestCa
from tests.route import world as w
from tests.route.world import FIRST, SECOND, world

MIXED = """
version: 1
rules:
  - id: mixed
    route:
      attempt_timeout: 1s
      to:
        - {{url: "https://first.example/v1"{first}}}
        - {{url: "https://second.example/v1", priority: 2{second}}}
"""
CLAUDE = ", format: anthropic, translate: yes, max_tokens: 99"
CLAUDE_SECOND = MIXED.format(first=", format: openai", second=CLAUDE)
CLAUDE_FIRST = MIXED.format(first=CLAUDE, second=", format: openai")
CLAUDE_ALONE = MIXED.format(first=CLAUDE, second=CLAUDE)


def typed(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return w.chunk(f"event: {kind}\ndata: {data}\n\n".encode())


def claude(text: str, *, cut: bool = False) -> Script:
    """Anthropic's answer, plain or streamed as asked; cut after its words."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }

    def script(connection: socket.socket, request: bytes, _number: int) -> bool:
        if b'"stream":true' not in request:
            connection.sendall(w.http(200, json.dumps(message).encode()))
            return True
        begun = {**message, "content": [], "usage": {"input_tokens": 11, "output_tokens": 1}}
        connection.sendall(
            w.STREAM_HEAD
            + typed("message_start", message=begun)
            + typed("content_block_start", index=0, content_block={"type": "text", "text": ""})
            + typed("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        )
        if cut:
            time.sleep(0.2)
            return False
        delta = {"stop_reason": "end_turn"}
        connection.sendall(
            typed("content_block_stop", index=0)
            + typed("message_delta", delta=delta, usage={"output_tokens": 7})
            + typed("message_stop")
            + b"0\r\n\r\n"
        )
        return True

    return script


def claude_fails(connection: socket.socket, request: bytes, _number: int) -> bool:
    """Anthropic's overload: as the first event of a stream, or as a status."""
    error = {"type": "overloaded_error", "message": "full"}
    if b'"stream":true' in request:
        connection.sendall(w.STREAM_HEAD + typed("error", error=error) + b"0\r\n\r\n")
    else:
        body = json.dumps({"type": "error", "error": error}).encode()
        connection.sendall(w.http(529, body))
    return True


FAULTS: dict[str, w.Does] = {
    "connect refused": None,
    "reset": w.resets,
    "stall": w.stalls,
    "429": w.says(w.http(429, w.error("rate_limit"), "Retry-After: 1")),
    "503": w.says(w.http(503, w.error("unavailable"))),
    "first event": w.error_event,
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_from_the_own_format_to_another(
    tmp_path: Path, ca: TestCa, fault: str, stream: bool
) -> None:
    """The caller hears its own format, whoever answers, and nothing of the failure."""
    upstreams = {FIRST: FAULTS[fault], SECOND: claude("from claude")}
    with world(tmp_path, ca, upstreams, CLAUDE_SECOND) as it:
        answer = it.call(stream=stream)
        assert answer.status == 200 and answer.complete
        if stream:
            assert answer.body.endswith(b"data: [DONE]\n\n") and b"from claude" in answer.body
        else:
            said = json.loads(answer.body)
            assert said["choices"][0]["message"]["content"] == "from claude"
            assert said["usage"]["prompt_tokens"] == 11
        [record] = it.proxy.records(1)
        assert record["usage"] == {"input": 11, "output": 7}
        assert record["attempts"][-1]["translated"] == "anthropic"
        assert "translated" not in record["attempts"][0]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_from_another_format_to_the_own(tmp_path: Path, ca: TestCa, stream: bool) -> None:
    """The translated target's failure is understood in its own words; the next gets the bytes."""
    upstreams = {FIRST: claude_fails, SECOND: w.serves("from openai")}
    with world(tmp_path, ca, upstreams, CLAUDE_FIRST) as it:
        answer = it.call(stream=stream)
        assert answer.status == 200 and answer.complete and b"from openai" in answer.body
        assert it.attempts()[0][1] == ("error_event" if stream else "status_529")
        sent = it.upstreams[SECOND].requests[0].split(b"\r\n\r\n", 1)
        assert json.loads(sent[1])["messages"] == [{"role": "user", "content": "hello"}]
        assert b'{"model": "gpt-4o", "messages": [{"role"' in sent[1]  # byte by byte the caller's
        assert b"anthropic-version" not in sent[0].lower()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_last_failure_is_said_in_the_callers_words(
    tmp_path: Path, ca: TestCa, stream: bool
) -> None:
    """When all fail the caller gets the last one's words in its own shape."""
    with world(tmp_path, ca, {FIRST: claude_fails, SECOND: claude_fails}, CLAUDE_ALONE) as it:
        answer = it.call(stream=stream)
        if stream:
            assert answer.status == 200 and b'"message":"full","type":"server_error"' in answer.body
        else:
            assert (answer.status, answer.code) == (503, "overloaded")


def test_a_cut_in_mid_stream_is_never_hidden(tmp_path: Path, ca: TestCa) -> None:
    """Words have left: nobody else is asked, and the stream has no end."""
    upstreams = {FIRST: claude("half of it", cut=True), SECOND: w.serves("from openai")}
    with world(tmp_path, ca, upstreams, CLAUDE_FIRST) as it:
        answer = it.call(stream=True)
        assert not answer.complete and b"half of it" in answer.body
        assert b"[DONE]" not in answer.body and b"from openai" not in answer.body
        [record] = it.proxy.records(1)
        assert record["outcome"] == "cut" and record["usage"]["input"] == 11


def test_what_cannot_be_translated_goes_to_who_speaks_it(tmp_path: Path, ca: TestCa) -> None:
    """A target the call cannot be said to is left out; the call is not lost."""
    upstreams = {FIRST: claude("from claude"), SECOND: w.serves("from openai")}
    with world(tmp_path, ca, upstreams, CLAUDE_FIRST) as it:
        assert b"from openai" in it.call(seed=3).body
        assert b"from openai" in it.call(extra=b"OpenAI-Beta: x=1\r\n").body
        assert FIRST not in it.asked()
        assert b"from claude" in it.call().body


def test_without_translate_nothing_is_translated(tmp_path: Path, ca: TestCa) -> None:
    """The default: a target speaks the call's format or is none."""
    policy = MIXED.format(first=", format: anthropic", second=", format: gemini")
    with world(tmp_path, ca, {FIRST: claude("x"), SECOND: claude("x")}, policy) as it:
        answer = it.call()
        assert answer.status == 403 and b"translate: yes" in answer.body
        assert not it.asked()


def test_the_model_has_its_name_there(tmp_path: Path, ca: TestCa) -> None:
    """Aliases hold for translated calls; the call says what a translated call needs."""
    policy = CLAUDE_ALONE.replace("priority: 2", 'priority: 2, models: {"gpt-*": claude-there}')
    with world(tmp_path, ca, {FIRST: None, SECOND: claude("x")}, policy) as it:
        assert it.call().status == 200
        head, body = it.upstreams[SECOND].requests[0].split(b"\r\n\r\n", 1)
        assert head.startswith(b"POST /v1/messages HTTP/1.1")
        assert b"anthropic-version: 2023-06-01" in head and w.KEY.encode() not in head
        assert json.loads(body)["model"] == "claude-there"
        assert json.loads(body)["max_tokens"] == 99
