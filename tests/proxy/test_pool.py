"""Upstream connections kept from one client for the next: when they are, and when never."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.connection import Server

from penstock.proxy.engine import pool
from penstock.proxy.engine.pool import KEPT_MAX, KEPT_MAX_PER_KEY, Kept, Pool
from tests.proxy.raw import TestCa
from tests.route import world as w
from tests.route.world import FIRST, ORIGINAL, World, world

POLICY = "version: 1\nintercept: all\nrules:\n  - {id: a, deny: {hosts: [nowhere.example]}}\n"
SECONDS = 20.0


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("upstream-ca"))


@pytest.fixture
def it(tmp_path: Path, ca: TestCa) -> Iterator[World]:
    with world(tmp_path, ca, {ORIGINAL: w.serves("ok"), FIRST: w.serves("ok")}, POLICY) as made:
        yield made


def is_shared(it: World, **more: Any) -> bool:
    """True when a call by a new client went over a connection another one had left."""
    upstream, end = it.upstreams[ORIGINAL], time.monotonic() + SECONDS
    while time.monotonic() < end:
        before = upstream.connections
        assert it.call(**more).status == 200
        if upstream.connections == before:
            return True
        if len(upstream.requests) > 8:
            return False
        time.sleep(0.05)  # the proxy may not know yet that the client before is gone
    return False


def test_the_next_client_goes_on_with_it(it: World) -> None:
    """Plain and streamed: no new handshake, and each client gets its own answer."""
    assert is_shared(it)
    connections = it.upstreams[ORIGINAL].connections
    assert b"and more" in it.call(stream=True).body
    assert is_shared(it, stream=True)
    assert it.upstreams[ORIGINAL].connections <= connections + 2


def test_another_destination_gets_its_own(it: World) -> None:
    """A connection belongs to its name; nobody is sent to somebody else's."""
    assert is_shared(it)
    with it.client(FIRST) as client:
        client.post(FIRST, "/v1/chat/completions", b'{"model":"m","messages":[]}')
        assert client.answer().status == 200
    assert it.upstreams[FIRST].connections == 1
    assert all(b"Host: first.example" in one for one in it.upstreams[FIRST].requests)


@pytest.mark.parametrize(
    "extra",
    [b"Connection: close\r\n", b"Authorization: NTLM TlRMTVNTUAAB\r\n"],
    ids=["said to close", "authenticated as a whole"],
)
def test_some_are_never_kept(it: World, extra: bytes) -> None:
    """What is to be closed is closed, what belongs to a caller stays with it."""
    body = b'{"model":"m","messages":[]}'
    for _ in range(4):
        with it.client() as client:
            client.post(ORIGINAL, "/v1/chat/completions", body, extra)
            assert client.answer().status == 200
        time.sleep(0.1)
    assert it.upstreams[ORIGINAL].connections == 4


def test_bytes_nobody_asked_for_reach_nobody(tmp_path: Path, ca: TestCa) -> None:
    """An upstream that sends a second answer after the first: the next client never sees it."""

    def sends_more(connection: socket.socket, _request: bytes, _number: int) -> bool:
        connection.sendall(w.http(200, w.completion("asked for")))
        time.sleep(0.05)
        connection.sendall(w.http(200, w.completion("planted")))
        return True

    with world(tmp_path, ca, {ORIGINAL: sends_more}, POLICY) as it:
        for _ in range(6):
            answer = it.call()
            assert b"asked for" in answer.body and b"planted" not in answer.raw
            time.sleep(0.15)


def test_one_the_upstream_ended_is_not_used(tmp_path: Path, ca: TestCa) -> None:
    """A server that ends idle connections soon: each call finds one that works."""

    def ends(connection: socket.socket, _request: bytes, _number: int) -> bool:
        connection.sendall(w.http(200, w.completion("ok")))
        time.sleep(0.1)
        return False

    with world(tmp_path, ca, {ORIGINAL: ends}, POLICY) as it:
        for _ in range(5):
            assert it.call().status == 200
            time.sleep(0.4)
        assert it.upstreams[ORIGINAL].connections == 5


def test_a_call_that_broke_off_leaves_nothing(tmp_path: Path, ca: TestCa) -> None:
    """The rest of its answer is still to come on that connection."""

    def slow(connection: socket.socket, request: bytes, number: int) -> bool:
        if number == 1:
            connection.sendall(w.STREAM_HEAD + w.chunk(w.event("secret of the first")))
            time.sleep(0.5)
            connection.sendall(w.STREAM_END)
            return True
        return bool(w.serves("of the second")(connection, request, number))

    with world(tmp_path, ca, {ORIGINAL: slow}, POLICY) as it:
        with it.client() as client:
            body = b'{"model":"m","messages":[],"stream": true}'
            client.post(ORIGINAL, "/v1/chat/completions", body)
            client.until(b"secret of the first")
        for _ in range(3):
            answer = it.call()
            assert b"of the second" in answer.body and b"secret" not in answer.raw
            time.sleep(0.3)


def test_each_of_many_clients_gets_its_own_answer(tmp_path: Path, ca: TestCa) -> None:
    """At once, some leaving in the middle: no answer goes astray, no socket stays."""

    def echoes(connection: socket.socket, request: bytes, _number: int) -> bool:
        said = json.loads(request.split(b"\r\n\r\n", 1)[1])["messages"][0]["content"]
        connection.sendall(w.http(200, w.completion(f"<{said}>" + "x" * 5000)))
        return True

    wrong: list[str] = []
    with world(tmp_path, ca, {ORIGINAL: echoes}, POLICY) as it:

        def caller(number: int) -> None:
            for turn in range(12):
                text = f"caller {number} turn {turn}"
                if (number + turn) % 5 == 0:
                    with it.client() as client:
                        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
                        client.post(ORIGINAL, "/v1/chat/completions", json.dumps(body).encode())
                    continue
                answer = it.call(text)
                if answer.status != 200 or f"<{text}>".encode() not in answer.body:
                    wrong.append(f"{text}: {answer.status} {answer.body[:60]!r}")

        callers = [threading.Thread(target=caller, args=(number,)) for number in range(6)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        assert wrong == []
        assert it.upstreams[ORIGINAL].connections < len(it.upstreams[ORIGINAL].requests)
        upstream = f":{it.upstreams[ORIGINAL].port:04X}"
        end = time.monotonic() + SECONDS
        while held(it.proxy.process.pid, upstream) > KEPT_MAX_PER_KEY:
            assert time.monotonic() < end
            time.sleep(0.05)


def held(pid: int, remote: str) -> int:
    """Sockets of a process to this port (proc(5): fd, net/tcp)."""
    links = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            links.append(str(one.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    nodes = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(remote)}
    return sum(link in nodes for link in links)


# --------------------------------------------------------------------------- the pool itself


class Writer:
    """A writer that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def kept(host: str = "a") -> tuple[Kept, Writer]:
    writer: Any = Writer()
    server = Server(address=(host, 443))
    made = Kept(("::1", (host, 443), host), server, None, asyncio.StreamReader(), writer, 0.0)
    made.since = time.monotonic()
    return made, writer


async def over() -> None:
    """An owner that is through."""


async def settled(one: Kept) -> None:
    """Wait until its last owner has let go of it."""
    async with asyncio.timeout(SECONDS):
        while not one.free:
            await asyncio.sleep(0.001)


async def test_both_bounds_hold() -> None:
    """Per key and in all: the oldest go."""
    kept_open, writers = Pool(), []
    for _ in range(KEPT_MAX_PER_KEY + 3):
        one, writer = kept()
        writers.append(writer)
        kept_open.keep(one, asyncio.create_task(over()))
    assert len(kept_open) == KEPT_MAX_PER_KEY
    assert [writer.closed for writer in writers[:4]] == [True, True, True, False]
    for number in range(KEPT_MAX + 5):
        one, _ = kept(f"host-{number}")
        kept_open.keep(one, asyncio.create_task(over()))
    assert len(kept_open) == KEPT_MAX
    kept_open.close()
    assert len(kept_open) == 0


async def test_only_a_sound_one_is_given() -> None:
    """Not before its owner is through, not with unread bytes, not ended, not old, not twice."""
    kept_open = Pool()
    release = asyncio.Event()

    async def owner() -> None:
        await release.wait()

    one, _ = kept()
    kept_open.keep(one, asyncio.create_task(owner()))
    assert kept_open.take(one.key) is None
    release.set()
    await settled(one)
    assert kept_open.take(("::2", *one.key[1:])) is None  # a client from elsewhere
    assert kept_open.take(one.key) is one
    assert kept_open.take(one.key) is None and kept_open.reused == 1
    for spoil in (
        lambda k: k.reader.feed_data(b"HTTP/1.1 200"),
        lambda k: k.reader.feed_eof(),
        lambda k: k.reader.set_exception(OSError()),
        lambda k: setattr(k, "since", time.monotonic() - pool.KEPT_SECONDS - 1),
    ):
        one, writer = kept()
        kept_open.keep(one, asyncio.create_task(over()))
        await settled(one)
        spoil(one)
        assert kept_open.take(one.key) is None
        assert writer.closed and len(kept_open) == 0


async def test_time_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes: it is closed."""
    monkeypatch.setattr(pool, "KEPT_SECONDS", 0.05)
    kept_open = Pool()
    one, writer = kept()
    kept_open.keep(one, asyncio.create_task(over()))
    async with asyncio.timeout(SECONDS):
        while not writer.closed:
            await asyncio.sleep(0.01)
    assert len(kept_open) == 0
