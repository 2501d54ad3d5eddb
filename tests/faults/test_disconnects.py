"""Somebody hangs up: the client at any moment, the upstream at any moment."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.faults.world import (
    ANTHROPIC,
    CHAT,
    DONE,
    EMAIL,
    INJECTED,
    LAST,
    OPENAI,
    STREAM_HEAD,
    World,
    ask,
    chat,
    chunk,
    completion,
    event,
    eventually,
    world,
)
from tests.proxy.raw import TestCa

CANCEL_SECONDS = 0.1


def gone(here: World) -> bool:
    return here.metric("penstock_open_reservations") == 0


def end_kept(here: World) -> None:
    """End what the proxy has kept open from calls before: the next one has to connect."""
    for connection in here.upstream._open:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    eventually(lambda: not connected(here.upstream.port))


def connected(port: int) -> bool:
    """True while somebody here holds a connection to this port (proc(5), net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = ("01", "08")  # established; ended by the other side and not yet by this one
    return any(row[2].endswith(f":{port:04X}") and row[3] in held for row in rows)


class Waiting:
    """An upstream script that waits for the other side to hang up, and says when it did."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.asked = threading.Event()
        self.hung_up_at = 0.0

    def __call__(self, peer: socket.socket, request: bytes, number: int) -> bool:
        if self.first:
            peer.sendall(self.first)
        self.asked.set()
        try:
            while peer.recv(4096):
                pass
        except OSError:
            pass
        self.hung_up_at = time.monotonic()
        return False


def reset(client: Any) -> None:
    """Close with RST instead of FIN."""
    raw = client.socket
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hang_up", [lambda client: client.close(), reset], ids=["close", "reset"])
def test_the_client_leaves_before_the_head(here: World, stream: bool, hang_up: Any) -> None:
    here.upstream.script = waiting = Waiting()
    before = here.recorded
    client = here.tunnel()
    ask(client, chat(stream=stream))
    assert waiting.asked.wait(5)
    left = time.monotonic()
    hang_up(client)
    eventually(lambda: waiting.hung_up_at)
    assert waiting.hung_up_at - left < CANCEL_SECONDS
    (record,) = here.after(before)
    assert record["outcome"] == "aborted"
    eventually(lambda: gone(here))


@pytest.mark.parametrize("hang_up", [lambda client: client.close(), reset], ids=["close", "reset"])
def test_the_client_leaves_mid_stream(here: World, hang_up: Any) -> None:
    """What was said until then is settled: nothing is free because the caller hung up."""
    said = "".join(f"word{number} " for number in range(100))
    here.upstream.script = waiting = Waiting(STREAM_HEAD + chunk(event(said)))
    before = here.recorded
    client = here.tunnel()
    ask(client, chat("hello " * 50, stream=True))
    client.until(b"word99")
    left = time.monotonic()
    hang_up(client)
    eventually(lambda: waiting.hung_up_at)
    assert waiting.hung_up_at - left < CANCEL_SECONDS
    (record,) = here.after(before)
    assert record["outcome"] == "aborted" and record["usage"]["estimated"] is True
    assert record["usage"]["output"] == len(said) // 4 and record["usage"]["input"] > 0
    eventually(lambda: gone(here))


def test_a_stream_that_counts_at_its_end_is_not_cheap_for_who_leaves_early(here: World) -> None:
    """Anthropic's streams begin with output_tokens 1 and say the rest at the end."""

    def typed(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    usage = {"input_tokens": 25, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage}
    said = "many words " * 100
    events = [
        typed("message_start", message=message),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        typed("content_block_delta", index=0, delta={"type": "text_delta", "text": said}),
    ]
    here.upstream.script = Waiting(STREAM_HEAD + b"".join(map(chunk, events)))
    before = here.recorded
    with here.tunnel(ANTHROPIC) as client:
        body = {"model": "claude-x", "max_tokens": 999, "stream": True}
        body["messages"] = [{"role": "user", "content": "talk"}]
        client.post(ANTHROPIC, "/v1/messages", json.dumps(body).encode())
        client.until(b"many words")
    (record,) = here.after(before)
    assert record["outcome"] == "aborted"
    assert (record["usage"]["input"], record["usage"]["output"]) == (25, len(said) // 4)


def test_the_client_leaves_in_the_middle_of_a_plain_answer(here: World) -> None:
    whole = completion("word " * 400)
    here.upstream.script = waiting = Waiting(whole[:500])
    before = here.recorded
    client = here.tunnel()
    ask(client, chat())
    assert waiting.asked.wait(5)
    time.sleep(0.05)
    left = time.monotonic()
    client.close()
    eventually(lambda: waiting.hung_up_at)
    assert waiting.hung_up_at - left < CANCEL_SECONDS
    assert here.after(before)[0]["outcome"] == "aborted"
    eventually(lambda: gone(here))


def test_the_client_leaves_while_sending_its_body(here: World) -> None:
    """The upstream never hears of it; the record does."""
    before = here.recorded
    client = here.tunnel()
    client.send(
        f"POST {CHAT} HTTP/1.1\r\nHost: {OPENAI}\r\nContent-Length: 5000\r\n\r\n".encode()
        + b'{"model":'
    )
    time.sleep(0.05)
    client.close()
    (record,) = here.after(before)
    assert record["outcome"] == "aborted" and record["destination"]["host"] == OPENAI
    assert not here.upstream.requests and gone(here)


def test_the_client_leaves_while_sending_chunks(here: World) -> None:
    before = here.recorded
    client = here.tunnel()
    client.send(
        f"POST {CHAT} HTTP/1.1\r\nHost: {OPENAI}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + chunk(b'{"model":')
        + b"500\r\nabc"
    )
    time.sleep(0.05)
    client.close()
    assert here.after(before)[0]["outcome"] == "aborted"
    assert not here.upstream.requests


def test_the_client_leaves_while_its_large_body_is_judged(here: World) -> None:
    """Judging runs on; nothing is sent, and what it reserved is given back."""
    before = here.recorded
    body = chat(f"The quick brown fox of {EMAIL} jumps over the lazy dog. " * 50_000)
    client = here.tunnel()
    ask(client, body)
    client.close()
    eventually(lambda: here.recorded > before, 20)
    time.sleep(1.0)
    assert gone(here)
    outcomes = [record["outcome"] for record in here.after(before)]
    assert outcomes in (["aborted"], ["answered"]), "one record per call"


def test_the_client_leaves_inside_its_head(here: World) -> None:
    before = here.recorded
    client = here.tunnel()
    client.send(b"POST /v1/ch")
    client.close()
    raw = here.raw()
    raw.send(b"CONNECT api.ope")
    raw.close()
    with here.tunnel() as other:
        ask(other, chat())
        assert other.answer().status == 200
    assert len(here.after(before)) == 1


def test_the_client_is_gone_before_the_proxy_turns_to_it(here: World) -> None:
    """Connected, asked and closed while the proxy had no time: a disconnect like any other."""
    log, failed = here.proxy.log.read_text(), here.metric("penstock_failures_total")
    here.proxy.process.send_signal(signal.SIGSTOP)
    try:
        for said in (
            b"",
            b"GET http://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
        ):
            client = here.raw()
            client.send(said)
            client.close()
    finally:
        here.proxy.process.send_signal(signal.SIGCONT)
    ask(later := here.tunnel(), chat())
    assert later.answer().status == 200
    assert here.proxy.log.read_text() == log, "nothing to be told"
    assert here.metric("penstock_failures_total") == failed


def test_many_aborts_leave_nothing_open(here: World) -> None:
    here.upstream.script = Waiting(STREAM_HEAD + chunk(event("a")))
    before = here.recorded
    for _ in range(30):
        client = here.tunnel()
        ask(client, chat(stream=True))
        client.until(b'"a"')
        client.close()
    eventually(lambda: len(here.proxy.records()) == before + 30)
    assert {one["outcome"] for one in here.after(before)} == {"aborted"}
    eventually(lambda: gone(here))


# ---------------------------------------------------------------------- the upstream


def test_the_upstream_dies_before_its_head(here: World) -> None:
    here.upstream.script = lambda *_: False
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
        assert (answer.status, answer.code) == (502, "upstream_closed")
        here.upstream.script = completion()
        ask(client, chat())
        assert client.answer().status == 200
    assert [one["outcome"] for one in here.proxy.records(before + 2)[before:]] == [
        "failed",
        "answered",
    ]
    assert here.proxy.records()[before]["status"] == 502


def test_a_request_the_upstream_took_is_not_sent_again(here: World) -> None:
    """A paid call must not be made twice because the first answer was lost."""
    here.upstream.script = lambda *_: False
    with here.tunnel() as client:
        ask(client, chat())
        assert client.answer().status == 502
    time.sleep(0.1)
    assert len(here.upstream.requests) == 1


def test_the_upstream_dies_inside_its_head(here: World) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Ty")
        return False

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat())
        assert client.answer().status == 502
    assert here.after(before)[0]["outcome"] == "failed"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_upstream_dies_inside_a_plain_body(here: World, framing: str) -> None:
    """Half a document is never handed out as a whole one."""
    whole = completion("word " * 50)
    if framing == "chunked":
        top = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        whole = top + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(whole) + LAST

    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        peer.sendall(whole[:200])
        return False

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
        assert answer.status == 502 or not answer.complete
    record = here.after(before)[0]
    assert (record["outcome"], record["status"]) == ("failed", 502)
    eventually(lambda: gone(here))


def hang(peer: socket.socket, how: str) -> bool:
    if how == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw = socket.socket(fileno=peer.detach())
        raw.close()
    return False


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("text", ["hello", EMAIL], ids=["plain", "restoring"])
def test_the_upstream_dies_mid_stream(here: World, how: str, text: str) -> None:
    """The client sees a cut, not a clean end; what was said is settled."""

    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        peer.sendall(STREAM_HEAD + chunk(event("one two three")))
        time.sleep(0.1)
        return hang(peer, how)

    here.upstream.script = script
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(text, stream=True))
        answer = client.answer()
    assert b"one two three" in answer.body and not answer.complete
    assert DONE not in answer.body
    (record,) = here.after(before)
    assert record["outcome"] == "cut" and record["usage"]["output"] > 0
    eventually(lambda: gone(here))


def test_a_stream_that_ends_without_its_end_mark_is_recorded_as_cut(here: World) -> None:
    """Well-formed HTTP, but the model never said that it was done."""
    here.upstream.script = STREAM_HEAD + chunk(event("half a sent")) + LAST
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(stream=True))
        answer = client.answer()
        assert answer.complete and answer.body == event("half a sent")
    assert here.after(before)[0]["outcome"] == "cut"


def test_a_placeholder_cut_in_half_leaves_as_it_is(here: World) -> None:
    """What was held back for a candidate is given out when the stream dies."""

    def script(peer: socket.socket, request: bytes, _: int) -> bool:
        peer.sendall(STREAM_HEAD + chunk(event("to PLACEHOLDER_EMAIL_9F2")) + LAST)
        return True

    here.upstream.script = script
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}", stream=True))
        answer = client.answer()
    assert answer.complete and b"PLACEHOLDER_EMAIL_9F2" in answer.body


# ---------------------------------------------------------------------- waiting too long


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The product with its deadlines cut to half a second, by a launcher of the tests."""
    limits = json.dumps({"first_byte_seconds": 0.5, "idle_seconds": 0.5})
    environment = {"PYTHONPATH": INJECTED, "PENSTOCK_TEST_LIMITS": limits}
    with world(tmp_path_factory.mktemp("impatient"), environment=environment) as made:
        yield made


def test_an_upstream_that_never_answers(impatient: World) -> None:
    impatient.upstream.script = waiting = Waiting()
    before = impatient.recorded
    with impatient.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
        assert (answer.status, answer.code) == (504, "first_byte_timeout")
        eventually(lambda: waiting.hung_up_at)
        impatient.upstream.script = completion()
        ask(client, chat())
        assert client.answer().status == 200
    record = impatient.after(before)[0]
    assert (record["outcome"], record["status"]) == ("failed", 504)
    eventually(lambda: gone(impatient))


def test_a_stream_that_falls_silent_is_cut(impatient: World) -> None:
    impatient.upstream.script = waiting = Waiting(STREAM_HEAD + chunk(event("one two")))
    before = impatient.recorded
    with impatient.tunnel() as client:
        ask(client, chat(stream=True))
        answer = client.answer()
    assert b"one two" in answer.body and not answer.complete
    eventually(lambda: waiting.hung_up_at)
    assert impatient.after(before)[0]["outcome"] == "cut"
    eventually(lambda: gone(impatient))


def test_a_plain_answer_that_falls_silent_is_a_504(impatient: World) -> None:
    impatient.upstream.script = Waiting(completion()[:150])
    before = impatient.recorded
    with impatient.tunnel() as client:
        ask(client, chat())
        assert client.answer().status == 504
    record = impatient.after(before)[0]
    assert (record["outcome"], record["status"]) == ("failed", 504)
    eventually(lambda: gone(impatient))


# ---------------------------------------------------------------------- before there is HTTP


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One upstream under a certificate for another name, and a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as idle:
        port = idle.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain_port = plain.getsockname()[1]
        threading.Thread(target=greet, args=(plain,), daemon=True).start()
        closed = ["--connect-to", f"api.mistral.ai:443=127.0.0.1:{port}"]
        with world(
            tmp_path_factory.mktemp("unreachable"),
            hosts=["api.cohere.com"],
            arguments=[*closed, "--connect-to", f"api.x.ai:443=127.0.0.1:{plain_port}"],
            also=["api.groq.com"],
        ) as made:
            yield made


def greet(listener: socket.socket) -> None:
    """Says something that is not TLS to whoever connects."""
    with suppress(OSError):
        while True:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("api.groq.com", "upstream_certificate"),
        ("api.mistral.ai", "upstream_unreachable"),
        ("nowhere.openai.azure.com", "upstream_unreachable"),
        ("api.x.ai", "upstream_unreachable"),
    ],
    ids=["wrong name", "refused", "no such name", "no TLS"],
)
def test_no_connection_is_a_502_and_a_failed_record(
    unreachable: World, host: str, code: str
) -> None:
    before = unreachable.recorded
    with unreachable.tunnel(host) as client:
        for _ in range(2):
            ask(client, chat(), host=host)
            answer = client.answer()
            assert (answer.status, answer.code) == (502, code)
    records = unreachable.proxy.records(before + 2)[before:]
    assert [(one["outcome"], one["status"]) for one in records] == [("failed", 502)] * 2
    eventually(lambda: gone(unreachable))


@pytest.mark.parametrize("kind", ["expired", "another authority"])
def test_a_server_that_cannot_be_trusted(here: World, tmp_path: Path, kind: str) -> None:
    end_kept(here)
    trusted, before = here.upstream.context, here.recorded
    here.upstream.context = untrusted(here, tmp_path, kind)
    try:
        with here.tunnel() as client:
            ask(client, chat())
            answer = client.answer()
    finally:
        here.upstream.context = trusted
    assert (answer.status, answer.code, answer.complete) == (502, "upstream_certificate", True)
    assert not here.upstream.requests
    (record,) = here.after(before)
    assert (record["outcome"], record["status"]) == ("failed", 502)


def test_a_server_that_never_speaks_tls(impatient: World) -> None:
    trusted, before = impatient.upstream.context, impatient.recorded
    impatient.upstream.context = None
    try:
        with impatient.tunnel() as client:
            ask(client, chat())
            answer = client.answer()
    finally:
        impatient.upstream.context = trusted
    assert (answer.status, answer.code) == (504, "connect_timeout")
    (record,) = impatient.after(before)
    assert (record["outcome"], record["status"]) == ("failed", 504)


def untrusted(made: World, folder: Path, kind: str) -> ssl.SSLContext:
    """A server context of another authority, or of the trusted one and out of date."""
    if kind == "another authority":
        return TestCa(folder / "other-ca").context(OPENAI)
    stated = TestCa._builder

    def ended(subject: Any, issuer: Any, key: Any) -> x509.CertificateBuilder:
        builder = stated(subject, issuer, key)
        builder._not_valid_after = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
        return builder

    made.ca._builder = ended  # type: ignore[method-assign]
    return made.ca.context(OPENAI)
