"""How the engine drives a StreamTransform, seen from the client and from the upstream."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from penstock.proxy.engine.stream import StreamTransform
from tests.proxy.engine_addons import TRANSFORMS
from tests.proxy.raw import (
    HOST,
    OK,
    RawUpstream,
    RunningProxy,
    TestCa,
    read_request,
    running_proxy,
    wait_for,
)

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def script(connection: socket.socket, request: bytes, number: int) -> bool | None:
    """``x-answer`` says how to answer: length, chunked, eof, stop, empty."""
    how = request.split(b"x-answer: ")[1].split(b"\r\n")[0]
    if how == b"length":
        connection.sendall(LENGTH)
        time.sleep(0.05)
        connection.sendall(b"cdefghij")
    elif how == b"empty":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    elif how == b"eof":
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nab")
        return False
    else:
        parts = [b"one", b"stop", b"two"] if how == b"stop" else [b"one", b"two", b"three"]
        connection.sendall(CHUNKED)
        for part in parts:
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.05)
        if how == b"stop":
            # Goes on for ever unless it is cancelled.
            while not connection.recv(1):
                return False
        connection.sendall(b"0\r\n\r\n")
    return None


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> Iterator[tuple[RunningProxy, RawUpstream]]:
    """One engine whose addon picks the transform by path."""
    with (
        RawUpstream(script, ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={f"{HOST}:443": upstream.port},
            upstream_ca=ca.pem,
            addon="Streams",
        ) as proxy,
    ):
        yield proxy, upstream


def ask(proxy: RunningProxy, path: str, how: bytes, times: int = 1):
    """Ask ``times`` times over one connection; returns the last answer."""
    with proxy.tunnel(HOST) as client:
        for _ in range(times):
            client.post(HOST, path, extra=b"x-answer: " + how + b"\r\n")
            answer = client.answer()
        return answer


def test_the_test_transforms_fulfil_the_contract() -> None:
    """What the engine recognises is exactly the documented protocol."""
    assert all(isinstance(made(), StreamTransform) for made in TRANSFORMS.values())
    assert not isinstance(lambda chunk: chunk, StreamTransform)


@pytest.mark.parametrize("path", ["/same", "/true", "/empty"])
def test_chunks_keep_their_boundaries(engine: tuple[RunningProxy, RawUpstream], path: str) -> None:
    """Each piece leaves as it came, empty ones are never put on the wire."""
    answer = ask(engine[0], path, b"chunked", times=2)
    assert answer.chunks == [b"one", b"two", b"three"]
    assert answer.complete


def test_a_transform_that_keeps_the_length_keeps_the_header(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Content-Length stays, the bytes are the transform's."""
    answer = ask(engine[0], "/upper", b"length", times=2)
    assert answer.headers["content-length"] == "10"
    assert answer.body == b"ABCDEFGHIJ"


def test_a_transform_that_changes_the_length_gets_chunked_framing(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Content-Length is dropped; what was held back leaves at the end."""
    answer = ask(engine[0], "/hold", b"length", times=2)
    assert "content-length" not in answer.headers
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"abcdefghij+end"
    assert answer.complete


def test_a_transform_that_breaks_its_length_promise_cannot_smuggle_an_answer(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Never a byte past the declared length, and the connection ends."""
    with engine[0].tunnel(HOST) as client:
        client.post(HOST, "/grow", extra=b"x-answer: length\r\n")
        answer = client.answer()
        assert answer.body == b"abHTTP/1.1"
        assert client.rest() == b""


def test_an_answer_that_ends_with_the_connection(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """HTTP/1.0 style answers pass through a transform too."""
    assert ask(engine[0], "/hold", b"eof").body == b"ab+end"


def test_an_empty_answer_is_not_streamed(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """Nothing to transform: the head arrives, the connection stays usable."""
    answer = ask(engine[0], "/hold", b"empty", times=2)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "body"),
    [("/boom-feed", b"event: error\n\n"), ("/boom-end", b"onetwothreeevent: error\n\n")],
)
def test_a_raising_transform_ends_the_answer_well_formed(
    engine: tuple[RunningProxy, RawUpstream], path: str, body: bytes
) -> None:
    """Its own error bytes, a proper end, no later byte of the upstream, a usable connection."""
    answer = ask(engine[0], path, b"chunked", times=2)
    assert answer.body == body
    assert answer.complete


def test_a_slow_transform_is_fed_in_a_worker_in_order(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Every piece and the end, in their order; the next call on the connection works."""
    answer = ask(engine[0], "/aside-hold", b"chunked", times=2)
    assert answer.body == b"onetwothree+end" and answer.complete
    assert ask(engine[0], "/aside-hold", b"eof").body == b"ab+end"


def test_a_slow_transform_that_raises_ends_the_answer_well_formed(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    answer = ask(engine[0], "/aside-boom", b"chunked", times=2)
    assert answer.body == b"event: error\n\n" and answer.complete


def test_a_slow_transform_can_end_the_answer(engine: tuple[RunningProxy, RawUpstream]) -> None:
    answer = ask(engine[0], "/aside-finish", b"stop", times=2)
    assert answer.chunks == [b"one", b"refused"] and answer.complete


def test_a_client_that_leaves_while_a_worker_is_busy_leaves_nothing_behind(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """What the worker gives then goes nowhere; the upstream is let go, the engine goes on."""
    proxy, upstream = engine
    closed, said = len(upstream.closed_at), len(proxy.lines)
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/aside-hold", extra=b"x-answer: stop\r\n")
        assert client.answer(head=True).status == 200  # a worker has the first piece now, or soon
    wait_for(lambda: len(upstream.closed_at) > closed, 30)
    wait_for(lambda: any(line["hook"] == "error" for line in proxy.lines[said:]), 30)
    assert "protocol core" not in proxy.log.read_text()  # nothing crashed
    assert ask(proxy, "/aside-hold", b"chunked").body == b"onetwothree+end"


def test_a_transform_that_cannot_even_fail_cuts_the_connection(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Nothing well-formed can be said, so the client must see a torso."""
    answer = ask(engine[0], "/boom-twice", b"chunked")
    assert (answer.body, answer.complete) == (b"", False)


def test_finishing_early_cancels_the_upstream_and_keeps_the_client(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Refusal in the middle of a stream: rest unsent, upstream closed, next call works."""
    proxy, upstream = engine
    closed = len(upstream.closed_at)
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/finish", extra=b"x-answer: stop\r\n")
        answer = client.answer()
        done = time.monotonic()
        assert answer.chunks == [b"one", b"refused"]
        wait_for(lambda: len(upstream.closed_at) > closed)
        assert upstream.closed_at[closed] - done < 0.2
        client.post(HOST, "/finish", extra=b"x-answer: chunked\r\n")
        assert client.answer().body == b"onetwothree"


def test_an_answer_can_be_replaced_before_its_body(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """A response set in responseheaders is what the client gets; the upstream is cancelled."""
    answer = ask(engine[0], "/replace", b"stop", times=2)
    assert (answer.status, answer.body) == (403, b"replaced")


def test_a_request_can_be_refused_from_its_head(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """A response set in requestheaders means that no upstream is asked."""
    proxy, upstream = engine
    asked = len(upstream.requests)
    answer = ask(proxy, "/refuse", b"length", times=2)
    assert (answer.status, answer.headers["x-by"], answer.body) == (403, "test", b"refused")
    assert len(upstream.requests) == asked


def test_anything_but_a_transform_is_refused(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """A plain callable, as stock addons use, must not mean an unchecked stream."""
    answer = ask(engine[0], "/callable", b"chunked")
    assert (answer.status, answer.code) == (403, "check_failed")


def test_a_stalled_client_slows_the_upstream_down(ca: TestCa, tmp_path) -> None:
    """Back-pressure: a client that does not read does not make the engine buffer the answer."""
    sent = 0

    def flood(connection: socket.socket, request: bytes, number: int) -> None:
        nonlocal sent
        connection.sendall(CHUNKED)
        piece = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        for _ in range(1000):
            connection.sendall(piece)
            sent += len(piece)

    with (
        RawUpstream(flood, ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path / "state",
            connect_to={f"{HOST}:443": upstream.port},
            upstream_ca=ca.pem,
            addon="Streams",
        ) as proxy,
        proxy.tunnel(HOST) as client,
    ):
        client.post(HOST, "/same")
        time.sleep(1.0)
        assert sent < 20_000_000


def test_the_raw_helpers_read_what_was_sent() -> None:
    """The scripted upstream's reader takes exactly one request."""
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        assert read_request(right).endswith(b"{}")
    assert OK.endswith(b"{}")
