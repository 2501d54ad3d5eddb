"""Upstreams that do not connect, do not answer, or stop in the middle."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from penstock.proxy.engine.deadlines import Deadlines
from penstock.proxy.settings import Limits
from tests.proxy.raw import (
    HOST,
    OK,
    RawUpstream,
    RunningProxy,
    TestCa,
    running_proxy,
    wait_for,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"


def script(connection: socket.socket, request: bytes, number: int) -> bool:
    path = request.split(b" ")[1]
    if path == b"/slow":
        connection.sendall(HEAD[:-5])
        for _ in range(10):
            time.sleep(0.15)
            connection.sendall(b"x")
        return True
    if path != b"/silent":
        connection.sendall(HEAD)
    while connection.recv(1):
        pass
    return False


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """A port whose backlog is full: connections are neither accepted nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@pytest.fixture(scope="module")
def deaf_port() -> Iterator[int]:
    """A port that accepts and never speaks TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa, silent_port: int, deaf_port: int
) -> Iterator[tuple[RunningProxy, RawUpstream]]:
    """One engine with short deadlines."""
    with (
        RawUpstream(script, ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={
                f"{HOST}:443": upstream.port,
                "silent.example:443": silent_port,
                "deaf.example:443": deaf_port,
            },
            upstream_ca=ca.pem,
            limits={"first_byte_seconds": 0.6, "idle_seconds": 0.4, "connect_seconds": 0.3},
            addon="Streams",
        ) as proxy,
    ):
        yield proxy, upstream


@pytest.mark.parametrize(
    ("host", "path", "code", "seconds"),
    [
        (HOST, "/silent", "first_byte_timeout", 0.6),
        (HOST, "/stops", "idle_timeout", 0.4),
        ("silent.example", "/", "connect_timeout", 0.3),
        ("deaf.example", "/", "connect_timeout", 0.6),
    ],
)
def test_a_missed_deadline_is_a_504_and_the_client_goes_on(
    engine: tuple[RunningProxy, RawUpstream], host: str, path: str, code: str, seconds: float
) -> None:
    """As JSON, in time, with the upstream cancelled and the addons told."""
    proxy, upstream = engine
    with proxy.tunnel(host) as client:
        for _ in range(2):
            closed = len(upstream.closed_at)
            begun = time.monotonic()
            client.post(host, path)
            answer = client.answer()
            took = time.monotonic() - begun
            assert (answer.status, answer.code) == (504, code)
            assert seconds * 0.9 < took < seconds * 1.25 + 0.4
            if host == HOST:
                wait_for(lambda closed=closed: len(upstream.closed_at) > closed)
    wait_for(lambda: any(line.get("hook") == "error" for line in proxy.lines))


def test_a_stream_that_stops_is_cut(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """Bytes have left already: the client must see that the answer is incomplete."""
    with engine[0].tunnel(HOST) as client:
        client.post(HOST, "/same")
        answer = client.answer()
    assert (answer.body, answer.complete) == (b"12345", False)


def test_a_slow_answer_that_keeps_moving_is_not_cut(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """The idle limit is between bytes, not for the whole."""
    with engine[0].tunnel(HOST) as client:
        client.post(HOST, "/slow")
        answer = client.answer()
    assert (answer.body, answer.complete) == (b"x" * 10, True)


def test_an_upstream_connection_idle_for_long_is_not_used_again(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> None:
    """A gateway in between may have forgotten it; a fresh one is opened, the old one closed."""
    with (
        RawUpstream(context=ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={f"{HOST}:443": upstream.port},
            upstream_ca=ca.pem,
            limits={"reuse_seconds": 0.3},
        ) as proxy,
        proxy.tunnel(HOST) as client,
    ):
        for pause, connections in ((0.0, 1), (0.05, 1), (0.5, 2), (0.05, 2)):
            time.sleep(pause)
            client.post(HOST)
            assert client.answer().raw == OK
            assert upstream.connections == connections
        wait_for(lambda: len(upstream.closed_at) == 1)


class Call:
    waiting_since = 0.0
    head_received = False
    patience: float | None = None
    client_id = "c"


def test_a_call_with_less_patience_is_met_in_its_time() -> None:
    """A routed call waits shorter for a head, not between bytes, and hurries the sweep."""
    deadlines = Deadlines(Limits(first_byte_seconds=600, idle_seconds=300))
    assert deadlines.sweep_seconds == 5
    call, patient = Call(), Call()
    call.patience = 2.0
    deadlines.start(call)
    deadlines.start(patient)
    assert deadlines.hurried.is_set() and deadlines.sweep_seconds == 0.25
    now = call.waiting_since
    assert list(deadlines.expired(now + 1.9)) == []
    assert list(deadlines.expired(now + 2.1)) == [call]
    deadlines.start(call)
    call.head_received = True
    assert list(deadlines.expired(call.waiting_since + 299)) == []


def test_each_missed_deadline_is_reported_once() -> None:
    """A call that is told cannot be told again, and a stopped one is not told at all."""
    deadlines = Deadlines(Limits(first_byte_seconds=1, idle_seconds=2))
    call, stopped = Call(), Call()
    deadlines.start(call)
    deadlines.start(stopped)
    deadlines.stop(stopped)
    deadlines.stop(stopped)
    assert list(deadlines.expired(call.waiting_since + 0.9)) == []
    assert list(deadlines.expired(call.waiting_since + 1.1)) == [call]
    assert list(deadlines.expired(call.waiting_since + 9)) == []
    assert len(deadlines) == 0


def test_the_sweep_follows_the_shortest_deadline() -> None:
    """Between 20 ms and 5 s, an eighth of the deadline."""
    assert Deadlines(Limits()).sweep_seconds == 5.0
    assert Deadlines(Limits(idle_seconds=0.8)).sweep_seconds == pytest.approx(0.1)
    assert Deadlines(Limits(idle_seconds=0.001)).sweep_seconds == 0.02
