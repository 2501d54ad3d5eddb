"""Answers of every framing and coding, and keep-alive after each."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from tests.faults.world import (
    CHAT,
    DONE,
    EMAIL,
    LAST,
    OPENAI,
    STREAM_HEAD,
    World,
    ask,
    body_of,
    chat,
    chunk,
    completion_body,
    event,
    eventually,
    head,
)

CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
    b"gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}


def said_back(request: bytes) -> str:
    """What the model got to read."""
    return str(json.loads(body_of(request))["messages"][-1]["content"])


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_answer_is_restored_and_leaves_plain(here: World, coding: bytes) -> None:
    """We ask for no coding; a server that does not listen is still read."""

    def script(peer: socket.socket, request: bytes, _: int) -> None:
        body = CODINGS[coding](completion_body(said_back(request)))
        peer.sendall(head(body, b"Content-Encoding: %s\r\n" % coding))

    here.upstream.script = script
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}"), b"Accept-Encoding: gzip, br, zstd\r\n")
        answer = client.answer()
    assert "content-encoding" not in answer.headers
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == f"mail {EMAIL}"
    assert b"ccept-encoding: identity" in here.upstream.requests[-1].lower()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_stream_is_restored_and_leaves_plain(here: World, coding: bytes) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> None:
        said = said_back(request)
        events = b"".join(event(said[at : at + 5]) for at in range(0, len(said), 5))
        packed = CODINGS[coding](events + event(None, "stop") + DONE)
        lines = STREAM_HEAD[:-2] + b"Content-Encoding: %s\r\n\r\n" % coding
        pieces = [packed[at : at + 40] for at in range(0, len(packed), 40)]
        peer.sendall(lines + b"".join(map(chunk, pieces)) + LAST)

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}", stream=True))
        answer = client.answer()
    assert answer.complete and "content-encoding" not in answer.headers
    assert text_of(answer.body) == f"mail {EMAIL}" and answer.body.endswith(DONE)
    assert here.after(before)[0]["outcome"] == "answered"


def text_of(stream: bytes) -> str:
    found = []
    for line in stream.split(b"\n\n"):
        data = line.removeprefix(b"data: ")
        if data.startswith(b"{"):
            found.append(json.loads(data)["choices"][0]["delta"].get("content") or "")
    return "".join(found)


BAD = {
    "a bomb": (b"gzip", gzip.compress(b" " * 100_000_000)),
    "no gzip": (b"gzip", completion_body()),
    "unknown coding": (b"snappy", completion_body()),
    "cut short": (b"gzip", gzip.compress(completion_body())[:-9]),
}


@pytest.mark.parametrize("name", BAD)
def test_an_answer_nobody_can_read_is_withheld_where_it_may_have_to_change(
    here: World, name: str
) -> None:
    coding, body = BAD[name]
    here.upstream.script = head(body, b"Content-Encoding: %s\r\n" % coding)
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}"))
        answer = client.answer()
        assert answer.complete and answer.status == 403 and body not in answer.raw
        here.upstream.script = head(completion_body())
        ask(client, chat())
        assert client.answer().status == 200, "keep-alive after the refusal"
    record = here.after(before)[0]
    assert (record["outcome"], record["status"]) == ("refused", 403)


@pytest.mark.parametrize("name", BAD)
def test_an_answer_nobody_can_read_passes_where_nothing_may_change(
    watched: World, name: str
) -> None:
    coding, body = BAD[name]
    watched.upstream.script = head(body, b"Content-Encoding: %s\r\n" % coding)
    with watched.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["content-encoding"] == coding.decode()


@pytest.mark.parametrize("name", BAD)
def test_a_stream_nobody_can_read_ends_in_an_error_event(here: World, name: str) -> None:
    coding, body = BAD[name]
    lines = STREAM_HEAD[:-2] + b"Content-Encoding: %s\r\n\r\n" % coding
    here.upstream.script = lines + chunk(body) + LAST
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}", stream=True))
        answer = client.answer()
        assert answer.complete
        if name != "cut short":
            assert b"policy_denied" in answer.body and body not in answer.body
        here.upstream.script = head(completion_body())
        ask(client, chat())
        assert client.answer().status == 200, "keep-alive after a refused stream"


@pytest.mark.parametrize("status", [204, 304, 205])
def test_answers_without_a_body(here: World, status: int) -> None:
    here.upstream.script = b"HTTP/1.1 %d Nothing\r\nX-Kept: yes\r\n" % status + (
        b"Content-Length: 0\r\n\r\n" if status == 205 else b"\r\n"
    )
    before = here.recorded
    with here.tunnel() as client:
        for _ in range(2):
            ask(client, chat(f"mail {EMAIL}"))
            answer = client.answer()
            assert (answer.status, answer.body, answer.headers["x-kept"]) == (status, b"", "yes")
    assert [one["status"] for one in here.after(before + 1)] == [status]


def test_a_head_answer_keeps_its_length_and_has_no_body(here: World) -> None:
    here.upstream.script = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12345\r\n\r\n"
    )
    with here.tunnel() as client:
        for _ in range(2):
            client.send(f"HEAD /v1/models HTTP/1.1\r\nHost: {OPENAI}\r\n\r\n".encode())
            answer = client.answer(head=True)
            assert (answer.status, answer.headers["content-length"]) == (200, "12345")


def test_a_refused_head_request_sends_no_body(here: World) -> None:
    """RFC 9110 section 9.3.2: the answer to HEAD has no content, a refusal too."""
    with here.tunnel() as client:
        client.send(
            f"HEAD {CHAT} HTTP/1.1\r\nHost: {OPENAI}\r\nContent-Encoding: nonsense\r\n"
            "Content-Length: 1\r\n\r\nx".encode()
        )
        answer = client.answer(head=True)
        assert answer.status == 403
        client.socket.settimeout(0.5)
        ask(client, chat())
        data = client.until(b"\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 200"), data


def test_an_answer_that_ends_with_the_connection(here: World) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        body = completion_body(said_back(request))
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
        return False

    here.upstream.script = script
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}"))
        answer = client.answer()
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == f"mail {EMAIL}"


def test_a_stream_that_ends_with_the_connection(here: World) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        said = said_back(request)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for at in range(0, len(said), 4):
            peer.sendall(event(said[at : at + 4]))
        peer.sendall(DONE)
        return False

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}", stream=True))
        answer = client.answer()
    assert text_of(answer.body) == f"mail {EMAIL}"
    assert here.after(before)[0]["outcome"] == "answered"


def test_a_slow_drip_is_passed_on_as_it_comes(here: World) -> None:
    """Byte by byte, and each event leaves when it is complete, not at the end."""

    def script(peer: socket.socket, request: bytes, _: int) -> None:
        peer.sendall(STREAM_HEAD)
        for piece in (event("one "), event("two"), DONE):
            for at in range(0, len(piece), 16):
                peer.sendall(chunk(piece[at : at + 16]))
            time.sleep(0.15)
        peer.sendall(LAST)

    here.upstream.script = script
    with here.tunnel() as client:
        ask(client, chat(stream=True))
        began = time.monotonic()
        client.until(b"one ")
        assert time.monotonic() - began < 0.15
        client.until(b"two")
        assert time.monotonic() - began < 0.3
        client.until(LAST)


def test_two_answers_to_one_request_are_one(here: World) -> None:
    """The second one must not become the answer to somebody's next request."""
    here.upstream.script = head(completion_body("first")) + head(completion_body("smuggled"))
    with here.tunnel() as client:
        for _ in range(3):
            ask(client, chat())
            answer = client.answer()
            if answer.status == 200:
                assert b"smuggled" not in answer.raw
            time.sleep(0.02)


def test_what_comes_unasked_is_not_an_answer(here: World) -> None:
    """An upstream that speaks between two requests is hung up on."""

    def script(peer: socket.socket, request: bytes, number: int) -> None:
        peer.sendall(head(completion_body("asked")))
        if number == 1:
            time.sleep(0.1)
            peer.sendall(head(completion_body("unasked")))

    here.upstream.script = script
    with here.tunnel() as client:
        ask(client, chat())
        assert b"asked" in client.answer().body
        time.sleep(0.3)
        ask(client, chat())
        answer = client.answer()
        assert b"unasked" not in answer.raw


GARBAGE = {
    "noise": b"\x00\x01\x02 this is not HTTP\r\n\r\n",
    "an unknown version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000,
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    "a TLS record": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 400 + b"\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_becomes_a_bad_gateway_and_a_failed_record(here: World, name: str) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        peer.sendall(GARBAGE[name])
        return False

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
        assert answer.status == 502, answer.raw
        assert json.loads(answer.body)["error"]["type"] == "upstream_error"
        here.upstream.script = head(completion_body())
        ask(client, chat())
        assert client.answer().status == 200, "the client's connection is usable after it"
    assert here.after(before)[0]["outcome"] == "failed"
    eventually(lambda: here.metric("penstock_open_reservations") == 0)


def test_keep_alive_after_a_policy_refusal(here: World) -> None:
    with here.tunnel() as client:
        for _ in range(3):
            ask(client, b'{"model":"a","model":"b"}')
            assert client.answer().status == 403
            ask(client, chat())
            assert client.answer().status == 200
    assert len(here.upstream.requests) == 3


def test_pipelined_requests_with_edits_and_refusals_keep_their_order(here: World) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> None:
        peer.sendall(head(completion_body(said_back(request))))

    here.upstream.script = script
    bodies = [chat("one"), b'{"model":"a","model":"b"}', chat(f"mail {EMAIL}"), chat("four")]
    with here.tunnel() as client:
        sender = threading.Thread(target=lambda: [ask(client, body) for body in bodies])
        sender.start()
        answers = [client.answer() for _ in bodies]
        sender.join()
    assert [answer.status for answer in answers] == [200, 403, 200, 200]
    assert EMAIL.encode() in answers[2].body and b"four" in answers[3].body
