"""Leases against a real store, over random histories: messages lost on the way there or back,
stores flushed, proxies that die, calls that use less or more than they reserved.

Whatever happens, what calls took is at most the limit and the errors of their own estimates;
and a quiet end gives everything back.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from importlib.resources import files
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.meter.lease import Clock, Lease
from penstock.meter.quotas import Claim
from penstock.meter.store import read_answer
from tests.meter.redis_server import PROGRAM, RedisServer, needs_redis

LIMIT = 1000
GRACE = 0.03  # in place of the two seconds that real proxies need
SCRIPT = (files("penstock.meter") / "limits.lua").read_text()
assert "GRACE, POD = 20, 2000," in SCRIPT
SCRIPT = SCRIPT.replace("GRACE, POD = 20, 2000,", f"GRACE, POD = 20, {GRACE * 1000:g},")
CLAIM = Claim("r", "tokens", LIMIT, 3600, (), 0)


class Proxy:
    """One proxy's lease, and a way to the store that may fail."""

    def __init__(self, name: str) -> None:
        self.lease = Lease(CLAIM, Clock(), uuid.uuid4().hex, name)
        self.open: list[tuple[int, int]] = []  # reserved, origin

    def exchange(self, client: Any, need: int, ahead: int, fate: str = "heard") -> None:
        sent = time.time()
        message = self.lease.message(sent, need, ahead)
        if fate == "dropped":
            return
        keys = "penstock:{limits}:generation", "penstock:{limits}:" + self.lease.name
        reply = client.eval(SCRIPT, 2, *keys, json.dumps(message))
        if fate == "heard":
            self.lease.answered(time.time(), sent, read_answer(reply))

    def renew(self, client: Any, fate: str = "heard") -> None:
        now = time.time()
        self.lease.due(now)
        self.exchange(client, 0, self.lease.ahead(now), fate)


FATES = st.sampled_from(["heard", "heard", "heard", "lost", "dropped"])
PROXIES = st.integers(0, 2)


class Histories(RuleBasedStateMachine):
    """Three proxies and one limit."""

    server: RedisServer
    client: Any

    def __init__(self) -> None:
        super().__init__()
        self.name = uuid.uuid4().hex
        self.proxies = [Proxy(self.name) for _ in range(3)]
        self.taken = 0  # what calls have used or hold
        self.errors = 0  # beyond their reservations
        self.touch()

    def touch(self) -> None:
        """As every proxy does at start: the store's first moments pass."""
        for proxy in self.proxies:
            proxy.renew(self.client)
        time.sleep(GRACE * 1.4)

    @rule(number=PROXIES, units=st.integers(1, 200), fate=FATES)
    def begin(self, number: int, units: int, fate: str) -> None:
        proxy, now = self.proxies[number], time.time()
        if proxy.lease.balance(now) < units:
            if proxy.lease.unanswered is not None:
                proxy.exchange(self.client, 0, 0, fate)
            if proxy.lease.unanswered is None:
                need = max(0, units - proxy.lease.free(now))
                proxy.exchange(self.client, need, 2 * need, fate)
        if proxy.lease.balance(now) >= units:
            proxy.open.append((units, proxy.lease.take(now, units)))
            self.taken += units

    @precondition(lambda self: any(proxy.open for proxy in self.proxies))
    @rule(data=st.data(), part=st.sampled_from([0, 0.5, 1, 1, 1.7]))
    def end(self, data: Any, part: float) -> None:
        proxy = data.draw(st.sampled_from([one for one in self.proxies if one.open]))
        held, origin = proxy.open.pop()
        actual = int(held * part)
        proxy.lease.settle(time.time(), held, actual, origin)
        self.taken += actual - held
        self.errors += max(0, actual - held)

    @rule(number=PROXIES, fate=FATES)
    def renew(self, number: int, fate: str) -> None:
        self.proxies[number].renew(self.client, fate)

    @rule(number=PROXIES, fate=FATES)
    def rest(self, number: int, fate: str) -> None:
        """Nobody called for a while: everything that is left goes back, once."""
        self.proxies[number].lease.used_at = 0.0
        self.proxies[number].renew(self.client, fate)

    @rule()
    def flush(self) -> None:
        """All that live tell what they know before anything is granted."""
        self.client.flushall()
        self.touch()

    @rule(number=PROXIES)
    def die(self, number: int) -> None:
        """Its calls may have gone through to the provider: they stay counted."""
        self.proxies[number] = Proxy(self.name)

    @invariant()
    def calls_take_no_more_than_the_limit(self) -> None:
        assert self.taken <= LIMIT + self.errors

    @invariant()
    def no_proxy_holds_what_was_not_granted(self) -> None:
        for proxy in self.proxies:
            assert all(units > 0 for units in proxy.lease.lots.values())


@needs_redis
@pytest.mark.slow
def test_no_history_overshoots(tmp_path_factory: Any) -> None:
    server = RedisServer(tmp_path_factory.mktemp("lease-model"))
    try:
        Histories.client = redis_py.Redis(port=server.port)
        machine = Histories.TestCase
        machine.settings = settings(
            max_examples=25, stateful_step_count=50, deadline=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        machine().runTest()
    finally:
        server.stop()


@needs_redis
def test_a_quiet_end_gives_everything_back(tmp_path: Any) -> None:
    """After calls that used nothing and an idle time, the store counts nothing."""
    assert PROGRAM is not None
    server = RedisServer(tmp_path)
    with contextlib.closing(redis_py.Redis(port=server.port)) as client:
        proxy = Proxy("quiet")
        proxy.renew(client)
        time.sleep(GRACE * 1.4)
        for _ in range(20):
            now = time.time()
            if proxy.lease.balance(now) < 50:
                proxy.exchange(client, 50, 400)
            proxy.lease.settle(now, 50, 0, proxy.lease.take(now, 50))
        proxy.lease.used_at = 0.0
        proxy.renew(client)
        fields = client.hgetall("penstock:{limits}:quiet")
        assert sum(int(value) for name, value in fields.items() if name[:2] == b"p:") == 0
    server.stop()


@needs_redis
def test_a_message_that_is_heard_twice_counts_once(tmp_path: Any) -> None:
    """The answer got lost: the same message again gets the same answer and changes nothing."""
    server = RedisServer(tmp_path)
    with contextlib.closing(redis_py.Redis(port=server.port)) as client:
        first, second = Proxy("twice"), Proxy("twice")
        first.renew(client)
        time.sleep(GRACE * 1.4)

        def counted() -> int:
            fields = client.hgetall("penstock:{limits}:twice")
            return sum(int(value) for name, value in fields.items() if name[:2] == b"p:")

        second.exchange(client, 500, 0)
        first.exchange(client, 300, 0, "lost")
        first.exchange(client, 300, 0)
        assert counted() == 800 and sum(first.lease.lots.values()) == 300
        first.lease.used_at = 0.0
        first.renew(client, "lost")
        first.renew(client)
        assert counted() == 500
        first.lease.spend(time.time(), 100)
        first.exchange(client, 0, 0, "lost")
        first.exchange(client, 0, 0)
        assert counted() == 600
    server.stop()
