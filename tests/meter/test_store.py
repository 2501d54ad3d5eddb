"""Shared limits against a real store: several processes, and everything that can break.

The long form (8 processes, 50 callers each, a minute per case) runs with
PENSTOCK_LONG=1; CI runs 4 processes with 25 callers for some seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.meter.redis_server import RedisServer, eventually, needs_redis

LONG = bool(os.environ.get("PENSTOCK_LONG"))
PROCESSES, CALLERS, SECONDS = (8, 50, 40.0) if LONG else (4, 25, 2.5)
GRACE_SECONDS = 2.0  # a new store grants nothing before, see limits.lua
WORKER = Path(__file__).parent / "shared_worker.py"

pytestmark = [needs_redis, pytest.mark.slow]


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """Forks the workers; see shared_worker.py."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server past its first moments, for tests that leave it alone."""
    server = RedisServer(tmp_path_factory.mktemp("settled"))
    yield server
    server.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A new one, to be broken."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


class Fleet:
    """Several proxies' limits, as processes, and what they let through."""

    def __init__(
        self,
        nursery: subprocess.Popen[str],
        folder: Path,
        server: RedisServer,
        seconds: float = SECONDS,
        **options: object,
    ) -> None:
        self.nursery, self.folder = nursery, folder
        self.options = {
            "unit": "tokens", "limit": 100_000, "every": 3600, "reserve": 100, "hold": 0.02,
            "callers": CALLERS, "go": str(folder / "go"), "url": server.url,
            "scope": str(folder), **options,
        }  # fmt: skip
        self.running: dict[int, int] = {}  # number of the worker -> process id
        for number in range(PROCESSES):
            self.add(number)
        eventually(
            "the processes start", lambda: len(list(folder.glob("*.ready"))) == PROCESSES, 60
        )
        server.first_heard_at = server.first_heard_at or time.time()
        self.until = max(time.time(), server.first_heard_at + GRACE_SECONDS) + seconds
        draft = folder / "draft"
        draft.write_text(str(self.until))
        draft.replace(folder / "go")  # all begin together

    def add(self, number: int) -> None:
        given = self.options | {"uses": str(self.folder / f"uses.{number}")}
        assert self.nursery.stdin is not None and self.nursery.stdout is not None
        self.nursery.stdin.write(json.dumps(given) + "\n")
        self.nursery.stdin.flush()
        self.running[number] = int(self.nursery.stdout.readline())

    def kill(self, number: int) -> None:
        os.kill(self.running.pop(number), signal.SIGKILL)

    def wait_for_use(self, seconds: float) -> None:
        """Until calls have been let through for so long."""
        eventually("calls begin", lambda: bool(self.uses()))
        time.sleep(seconds)

    def end(self) -> list[dict]:
        """Wait for all; what each says (nothing of those that were killed)."""
        said = [self.folder / f"uses.{number}.said" for number in self.running]
        eventually("the processes end", lambda: all(file.exists() for file in said), 120)
        return [json.loads(file.read_text()) for file in said]

    def uses(self) -> list[tuple[float, int, str]]:
        rows = []
        for file in self.folder.glob("uses.*[0-9]"):
            for line in file.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    at, amount, edge = line.split()
                    rows.append((float(at), int(amount), edge))
        return sorted(rows)

    def used(self) -> int:
        return sum(amount for _, amount, edge in self.uses() if edge == "b")


def test_many_callers_of_many_processes_stay_within_one_limit(nursery, tmp_path, settled):
    """Nothing is overshot, nearly all is used, and most calls do not wait for the store."""
    fleet = Fleet(nursery, tmp_path, settled)
    said = fleet.end()
    assert fleet.used() <= 100_000
    assert fleet.used() >= 97_000
    assert sum(one["refused"] for one in said) > 0


def test_calls_well_below_the_limit_do_not_wait_for_the_store(nursery, tmp_path, settled):
    fleet = Fleet(nursery, tmp_path, settled, limit=10**9, hold=0.05)
    said = fleet.end()
    asked = sum(one["asked"] for one in said)
    granted = sum(one["granted"] for one in said)
    assert granted > 500 and asked < granted / 10, (asked, granted)


def test_what_calls_did_not_use_comes_back(nursery, tmp_path, settled):
    """Estimates are halved by settlements: the limit is used by what was really taken."""
    fleet = Fleet(nursery, tmp_path, settled, varies=True)
    fleet.end()
    assert 95_000 <= fleet.used() <= 100_000


def most_in(uses: list[tuple[float, int, str]], seconds: float) -> int:
    """The largest sum of any span of ``seconds``."""
    begun = [(at, amount) for at, amount, edge in uses if edge == "b"]
    most, total, first = 0, 0, 0
    for at, amount in begun:
        total += amount
        while begun[first][0] <= at - seconds:
            total -= begun[first][1]
            first += 1
        most = max(most, total)
    return most


def test_a_sliding_window_holds_at_every_moment(nursery, tmp_path, settled):
    fleet = Fleet(nursery, tmp_path, settled, limit=20_000, every=2, seconds=max(8.0, SECONDS))
    fleet.end()
    assert most_in(fleet.uses(), 2.0) <= 20_000
    assert fleet.used() > 40_000  # it opens again


def test_bursts_are_bounded_over_all_processes(nursery, tmp_path, settled):
    """At most the burst, what refilled, and a second's refill in leases (docs/limits.md)."""
    fleet = Fleet(nursery, tmp_path, settled, limit=60_000, every=60, burst=10_000)
    fleet.end()
    for seconds in (0.2, 1.0, 4.0):
        assert most_in(fleet.uses(), seconds) <= 10_000 + 1000 * (seconds + 1.0), seconds
    assert fleet.used() > 11_000


def most_at_once(uses: list[tuple[float, int, str]], since: float = 0.0) -> int:
    """The most calls that ran at one moment."""
    most = running = 0
    for at, _, edge in sorted(uses, key=lambda use: (use[0], use[2] != "e")):
        running += 1 if edge == "b" else -1
        most = max(most, running) if at >= since else most
    return most


def test_parallel_calls_are_counted_over_all_processes(nursery, tmp_path, settled):
    fleet = Fleet(
        nursery, tmp_path, settled, unit="parallel", limit=10, every=0, reserve=1, hold=0.05
    )
    fleet.end()
    assert 6 <= most_at_once(fleet.uses()) <= 10


def test_a_store_that_is_flushed_forgets_nothing_that_a_proxy_knows(nursery, tmp_path, redis):
    fleet = Fleet(nursery, tmp_path, redis, seconds=SECONDS + 4, callers=8, hold=0.1)
    for flushed in range(2):
        fleet.wait_for_use(1.0)
        time.sleep(GRACE_SECONDS if flushed else 0)
        redis.flush()
    fleet.end()
    assert fleet.used() <= 100_000
    assert fleet.used() > 30_000


def test_a_store_that_restarts_empty_grants_nothing_twice(nursery, tmp_path, redis):
    fleet = Fleet(nursery, tmp_path, redis, seconds=SECONDS + 4, callers=8, hold=0.1)
    fleet.wait_for_use(1.0)
    redis.kill()
    time.sleep(0.7)
    redis.start()
    said = fleet.end()
    assert fleet.used() <= 100_000
    assert all(one["status"]["reachable"] for one in said)
    last = max(at for at, _, _ in fleet.uses())
    assert last > fleet.until - 2 or fleet.used() > 95_000  # it went on afterwards


def test_a_paused_store_is_waited_for_only_shortly(nursery, tmp_path, redis):
    """Messages that were heard late are not counted twice, and nothing is granted meanwhile
    beyond the leases."""
    fleet = Fleet(nursery, tmp_path, redis, seconds=SECONDS + 4, callers=8, hold=0.1)
    fleet.wait_for_use(1.0)
    redis.pause()
    time.sleep(2.5)
    redis.resume()
    said = fleet.end()
    assert fleet.used() <= 100_000
    assert sum(one["status"]["failures"] for one in said) > 0
    assert sum(one["status"]["decided_without_store"]["deny"] for one in said) > 0
    assert all(one["status"]["reachable"] for one in said)


def test_a_killed_process_takes_its_lease_along_and_no_more(nursery, tmp_path, settled):
    """What it had leased counts as used; all others go on."""
    fleet = Fleet(nursery, tmp_path, settled, seconds=SECONDS)
    fleet.wait_for_use(0.3)
    fleet.kill(0)
    fleet.add(PROCESSES)
    fleet.end()
    assert fleet.used() <= 100_000
    assert fleet.used() >= 100_000 * 0.9  # a lease is at most a 32nd of what was left, twice


def test_slots_of_a_killed_process_are_free_again(nursery, tmp_path, settled):
    """Its calls died with it: after ten seconds the others have its slots."""
    fleet = Fleet(nursery, tmp_path, settled, seconds=15, unit="parallel", limit=4, every=0,
                  reserve=1, hold=0.05, callers=4)  # fmt: skip
    fleet.wait_for_use(1.0)
    killed_at = time.time()
    for number in range(1, PROCESSES):
        fleet.kill(number)
    fleet.end()
    for number in range(1, PROCESSES):
        (tmp_path / f"uses.{number}").unlink()  # theirs never ended
    assert most_at_once(fleet.uses(), since=killed_at + 12) == 4


LIMIT = 8_000


@pytest.mark.parametrize("on_error", ["deny", "local_share", "allow"])
def test_what_happens_without_the_store_is_the_policys_choice(nursery, tmp_path, redis, on_error):
    fleet = Fleet(nursery, tmp_path, redis, seconds=5, limit=LIMIT, hold=0.1, callers=4,
                  on_error=on_error, reserve=10)  # fmt: skip
    fleet.wait_for_use(0.7)
    redis.kill()
    said = fleet.end()
    decided = {name: sum(one["status"]["decided_without_store"][name] for one in said)
               for name in ("deny", "local_share", "allow")}  # fmt: skip
    assert decided[on_error] > 0
    if on_error == "allow":
        assert decided["deny"] == decided["local_share"] == 0
    elif on_error == "local_share":
        assert decided["allow"] == 0
        assert fleet.used() <= bound_of_shares([one["heard"] for one in said])
    else:
        assert fleet.used() <= LIMIT
        assert decided["local_share"] == decided["allow"] == 0


def bound_of_shares(heard: list[dict]) -> int:
    """What docs/limits.md says may be used: what the store had granted, and of each proxy its
    even part of what was left when it last heard."""
    granted = max(one["most"] for one in heard)
    return granted + sum((LIMIT - one["total"]) // one["pods"] for one in heard if one["total"])


def test_leases_are_given_back_at_the_end(nursery, tmp_path, settled):
    """Several generations of proxies use up one limit: a shutdown loses nothing."""
    total = 0
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        fleet = Fleet(nursery, folder, settled, scope=str(tmp_path),
                      seconds=1.0 if number < 2 else SECONDS)  # fmt: skip
        fleet.end()
        total += fleet.used()
    assert 99_000 <= total <= 100_000
