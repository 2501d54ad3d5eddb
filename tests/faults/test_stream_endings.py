"""How a stream ends before its time, in every API: refused, failed, or cut by the provider.

Refused or failed: the API's own error event and its terminator, the provider cancelled at once,
the client's connection good for the next call. Cut: passed on as cut, and marked in the record.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from tests.faults.world import INJECTED, LAST, World, chunk, eventually, head, world
from tests.leaks.anthropic import Messages
from tests.leaks.bedrock import Converse
from tests.leaks.dialect import AFTER, PLACES, Dialect, Document, sse
from tests.leaks.gemini import Gemini
from tests.leaks.ollama import Ollama
from tests.leaks.openai import Chat, Responses
from tests.leaks.values import github_token, leaked

POLICY = """
version: 1
name: endings
mode: enforce
rules:
  - id: no-secrets-said
    deny: {find: [secret], in: [response]}
"""
BEGINNING = "All is well so far. "
FAULT = "fault-in-stream"  # on it a check raises (injected/sitecustomize.py)
REASONS = {"refused": "no-secrets-said", "failed": "A check of the answer failed"}


class GeminiArray(Gemini):
    """The other framing: one JSON array that grows."""

    name = "gemini-array"
    stream_type = "application/json"

    def path(self, streamed: bool) -> str:
        return super().path(streamed).removesuffix("?alt=sse")

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            start = b",\r\n" if number else b"["
            yield start + json.dumps(self.plain(kind, piece, None), indent=2).encode()
        yield b",\r\n" + json.dumps(self.plain("text", AFTER)).encode() + b"\n]\n"


class CohereV2(Dialect):
    """``/v2/chat``. Source: Cohere API reference, "Streaming"."""

    name = "cohere-v2"
    host = "api.cohere.com"

    def path(self, streamed: bool) -> str:
        return "/v2/chat"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        said = {"role": "user", "content": texts["user"]}
        return {"model": "command-a", "stream": streamed, "messages": [said]}

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        message: Document = {"role": "assistant", "content": []}
        yield self.event("message-start", id="c1", delta={"message": message})
        start = {"message": {"content": {"type": "text", "text": ""}}}
        yield self.event("content-start", index=0, delta=start)
        for piece in [*pieces, AFTER]:
            delta = {"message": {"content": {"text": piece}}}
            yield self.event("content-delta", index=0, delta=delta)
        yield self.event("content-end", index=0)
        yield self.event("message-end", delta={"finish_reason": "COMPLETE"})
        yield b"data: [DONE]\n\n"

    def event(self, kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, **fields}, kind)


class CohereV1(CohereV2):
    """``/v1/chat``: lines of JSON."""

    name = "cohere-v1"
    stream_type = "application/stream+json"

    def path(self, streamed: bool) -> str:
        return "/v1/chat"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        return {"model": "command-r", "stream": streamed, "message": texts["user"]}

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        yield self.line("stream-start", generation_id="g1")
        for piece in [*pieces, AFTER]:
            yield self.line("text-generation", text=piece)
        yield self.line("stream-end", finish_reason="COMPLETE", response={"text": ""})

    def line(self, kind: str, **fields: Any) -> bytes:
        finished = kind == "stream-end"
        document = {"is_finished": finished, "event_type": kind, **fields}
        return json.dumps(document).encode() + b"\n"


def events(body: bytes) -> list[Any]:
    """The data of every SSE event; each of them must be whole."""
    assert body.endswith((b"\n\n", b"\r\n\r\n"))
    blocks = body.replace(b"\r\n", b"\n").decode().strip().split("\n\n")
    datas = [line[6:] for block in blocks for line in block.split("\n") if line[:6] == "data: "]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def lines(body: bytes) -> list[Any]:
    """Lines of JSON, each of them whole."""
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def chat(body: bytes) -> str:
    error, done = events(body)[-2:]
    assert done == "[DONE]" and error["error"]["type"] == "permission_error"
    return str(error["error"]["message"])


def responses(body: bytes) -> str:
    error, failed = events(body)[-2:]
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert failed["response"]["id"] == "resp_1" and failed["response"]["status"] == "failed"
    return str(error["message"])


def messages(body: bytes) -> str:
    error, stop = events(body)[-2:]
    assert (error["type"], stop["type"]) == ("error", "message_stop")
    return str(error["error"]["message"])


def gemini(body: bytes) -> str:
    error = events(body)[-1]["error"]
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    return str(error["message"])


def array(body: bytes) -> str:
    return str(json.loads(body)[-1]["error"]["message"])


def bedrock(body: bytes) -> str:
    buffer = EventStreamBuffer()  # checks lengths and both checksums
    buffer.add_data(body)
    last = list(buffer)[-1].to_response_dict()
    assert last["headers"][":message-type"] == "exception"
    assert last["headers"][":exception-type"] == "validationException"
    return str(json.loads(last["body"])["message"])


def cohere_v2(body: bytes) -> str:
    end, done = events(body)[-2:]
    assert (end["type"], done) == ("message-end", "[DONE]")
    assert end["delta"]["finish_reason"] == "ERROR"
    return str(end["delta"]["error"])


def cohere_v1(body: bytes) -> str:
    end = lines(body)[-1]
    assert (end["event_type"], end["finish_reason"]) == ("stream-end", "ERROR")
    return str(end["error"])


def ollama(body: bytes) -> str:
    return str(lines(body)[-1]["error"])


@dataclass(frozen=True)
class Case:
    """An API, and how its refused stream is read: the message, after checks of the form."""

    dialect: Dialect
    reason: Callable[[bytes], str]


CASES = (
    Case(Chat(), chat),
    Case(Responses(), responses),
    Case(Messages(), messages),
    Case(Gemini(), gemini),
    Case(GeminiArray(), array),
    Case(Converse(), bedrock),
    Case(CohereV2(), cohere_v2),
    Case(CohereV1(), cohere_v1),
    Case(Ollama(), ollama),
)
cases = pytest.mark.parametrize("case", CASES, ids=[case.dialect.name for case in CASES])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    hosts = sorted({case.dialect.host for case in CASES})
    folder = tmp_path_factory.mktemp("endings")
    faults = {"PYTHONPATH": INJECTED, "PENSTOCK_TEST_FAULTS": "1"}
    with world(folder, POLICY, hosts=hosts, environment=faults) as started:
        yield started


def ask(made: World, dialect: Dialect, client: Any, streamed: bool = True) -> None:
    body = json.dumps(dialect.request(streamed, dict.fromkeys(PLACES, "Well?")))
    extra = b"".join(b"%s: %s\r\n" % (a.encode(), b.encode()) for a, b in dialect.headers.items())
    client.post(dialect.host, dialect.path(streamed), body.encode(), extra)


def begun(dialect: Dialect, pieces: list[bytes]) -> bytes:
    opened = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    return opened % dialect.stream_type.encode() + b"".join(map(chunk, pieces))


@cases
@pytest.mark.parametrize("how", ["refused", "failed"])
def test_a_stream_that_must_stop_ends_as_its_api_ends(made: World, case: Case, how: str) -> None:
    """The provider would speak for ever: only its being cancelled ends it."""
    secret = github_token()
    said = [
        BEGINNING,
        "And on. ",
        *([f"It is {secret[:20]}", f"{secret[20:]} "] if how == "refused" else []),
    ]
    said += [f"{FAULT} "] if how == "failed" else []
    pieces = [*case.dialect.stream("text", [*said, "for ever and ever. "])]

    def script(peer: socket.socket, request: bytes, number: int) -> bool:
        peer.sendall(begun(case.dialect, pieces[:-1]))
        while peer.recv(1):
            pass
        return False

    made.upstream.script = script
    before, closed = made.recorded, len(made.upstream.closed_at)
    with made.tunnel(case.dialect.host) as client:
        ask(made, case.dialect, client)
        answer = client.answer()
        assert answer.complete and answer.status == 200
        assert REASONS[how] in case.reason(answer.body)
        assert BEGINNING.strip().encode() in answer.body, "what came before is there"
        assert leaked(secret, answer.body.decode("utf-8", "replace")) is None
        assert b"for ever" not in answer.body
        eventually(lambda: len(made.upstream.closed_at) > closed)
        made.upstream.script = head(b"{}")
        ask(made, case.dialect, client, streamed=False)
        assert client.answer().status == 200, "the connection is good for the next call"
    record = made.after(before)[0]
    assert record["outcome"] == "refused"
    assert record.get("failure") == ("failed_closed" if how == "failed" else None)


@cases
@pytest.mark.parametrize("how", ["torn", "ended"])
def test_a_stream_the_provider_cut_is_passed_on_as_cut(made: World, case: Case, how: str) -> None:
    """Torn: the connection breaks. Ended: well-formed HTTP, but the API's own end is missing."""
    pieces = [*case.dialect.stream("text", [BEGINNING, "And then"])]
    kept = pieces[: next(at for at, piece in enumerate(pieces) if b"And then" in piece) + 1]

    def script(peer: socket.socket, request: bytes, number: int) -> bool:
        peer.sendall(begun(case.dialect, kept) + (LAST if how == "ended" else b""))
        return how == "ended"

    made.upstream.script = script
    before = made.recorded
    with made.tunnel(case.dialect.host) as client:
        ask(made, case.dialect, client)
        answer = client.answer()
    assert answer.body == b"".join(kept), "nothing is added, above all no end"
    assert answer.complete == (how == "ended")
    assert made.after(before)[0]["outcome"] == "cut"
