"""Credentials are fetched once, renewed ahead of expiry, and survive a source's bad hour."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from penstock.route.credentials import store as store_module
from penstock.route.credentials.fetched import Fetched, SourceError
from penstock.route.credentials.spec import Spec
from penstock.route.credentials.store import Credentials

SPEC = Spec("file", (("path", "/run/key"),))


class Source:
    """A source that counts, fails on demand and can be made to wait."""

    def __init__(self, **times: float | bool | None) -> None:
        self.times = times
        self.calls = 0
        self.fails = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self, spec: Spec, now: float, subject: str | None = None) -> Fetched:
        assert self.go.wait(5)
        self.calls += 1
        if self.fails:
            raise SourceError("the service is away")
        relative = {
            name: value if isinstance(value, bool) or value is None else now + value
            for name, value in self.times.items()
            if name != "stale_seconds"
        }
        stale = float(self.times.get("stale_seconds") or 0.0)
        name = f"key-number-{self.calls}-{subject or ''}"
        return Fetched(name, stale_seconds=stale, **relative)  # type: ignore[arg-type]  # test data


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens in the background."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in five seconds")


def made(source: Source) -> tuple[Credentials, Clock]:
    clock = Clock()
    finder: Callable[[Spec], Source] = lambda _spec: source  # noqa: E731 - one expression
    return Credentials(clock, finder), clock


async def test_many_callers_one_fetch() -> None:
    """A hundred calls that come at once ask the source once, and all get the key."""
    source = Source(renew_at=60, expires_at=100)
    source.go.clear()
    held, _ = made(source)
    waiting = [asyncio.create_task(held.obtain(SPEC)) for _ in range(100)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()  # one caller goes away
    source.go.set()
    found = await asyncio.gather(*waiting[1:])
    assert source.calls == 1 and {one.value for one in found} == {"key-number-1-"}
    assert held.current(SPEC) is found[0]
    await held.close()


async def test_it_is_renewed_while_the_old_one_serves() -> None:
    """Near the end of its time calls still wait for nothing, and the next ones get the new key."""
    source = Source(renew_at=60, expires_at=100)
    held, clock = made(source)
    await held.obtain(SPEC)
    clock.now += 61
    first = held.current(SPEC)
    assert first and first.value == "key-number-1-"
    await until(lambda: held.current(SPEC) is not first)
    second = held.current(SPEC)
    assert second and second.value == "key-number-2-" and source.calls == 2
    await held.close()


async def test_it_is_renewed_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer does it; what nobody has used for long is forgotten instead."""
    monkeypatch.setattr(store_module, "RETRY_SECONDS", 0.01)
    source = Source(renew_at=0.02, expires_at=100)
    held, clock = made(source)
    await held.obtain(SPEC)
    await until(lambda: source.calls >= 2)
    clock.now += store_module.IDLE_SECONDS + 1
    await until(lambda: not held._entries)
    await asyncio.sleep(0.05)
    calls = source.calls
    await asyncio.sleep(0.1)
    assert source.calls == calls and held.current(SPEC) is None
    await held.close()


async def test_a_failing_source_costs_nothing_while_the_key_is_valid(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counted, logged, asked again with patience; an expired key is never used."""
    source = Source(renew_at=60, expires_at=100)
    held, clock = made(source)
    await held.obtain(SPEC)
    source.fails = True
    clock.now += 61
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert (await held.obtain(SPEC)).value == "key-number-1-"
            await asyncio.sleep(0.005)
        await until(lambda: held.failures > 0)
    assert held.failures == 1 and "the service is away" in caplog.text
    assert "key-number" not in caplog.text
    clock.now += 35
    with pytest.raises(SourceError):
        await held.obtain(SPEC)
    before = source.calls
    with pytest.raises(SourceError):
        await held.obtain(SPEC)
    assert source.calls == before  # not asked again at once
    source.fails = False
    clock.now += 31
    assert (await held.obtain(SPEC)).value.startswith("key-number")  # type: ignore[union-attr]
    await held.close()


async def test_a_file_is_looked_at_by_the_next_call_and_withdrawn_in_time() -> None:
    """One that vanishes serves for its grace and no longer."""
    source = Source(renew_at=1, waits=True, stale_seconds=30.0)
    held, clock = made(source)
    assert (await held.obtain(SPEC)).value == "key-number-1-"
    assert held.current(SPEC) is not None
    clock.now += 1.5
    assert held.current(SPEC) is None
    assert (await held.obtain(SPEC)).value == "key-number-2-"
    source.fails = True
    clock.now += 20
    assert (await held.obtain(SPEC)).value == "key-number-2-"
    clock.now += 20
    with pytest.raises(SourceError):
        await held.obtain(SPEC)
    await held.close()


async def test_a_rejected_key_is_replaced_but_not_in_a_storm() -> None:
    """A destination that says 401 makes us ask again, once in ten seconds."""
    source = Source(renew_at=1000, expires_at=2000)
    held, clock = made(source)
    first = await held.obtain(SPEC)
    clock.now += 11
    for _ in range(50):
        held.rejected(SPEC)
        await asyncio.sleep(0.002)
    await until(lambda: source.calls >= 2 and held.current(SPEC) is not first)
    found = held.current(SPEC)
    assert source.calls == 2 and found and found.value == "key-number-2-"
    await held.close()


async def test_callers_have_credentials_of_their_own() -> None:
    """An exchanged token belongs to the caller whose token was exchanged."""
    source = Source(renew_at=60, expires_at=100)
    held, _ = made(source)
    ada, bob = await held.obtain(SPEC, "ada"), await held.obtain(SPEC, "bob")
    assert (ada.value, bob.value) == ("key-number-1-ada", "key-number-2-bob")
    assert held.current(SPEC, "ada") is ada and held.current(SPEC, "eve") is None
    await held.close()


async def test_the_number_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes; a specification that left the policy goes at once."""
    monkeypatch.setattr(store_module, "ENTRIES_MAX", 10)
    held, _ = made(Source(renew_at=60, expires_at=100))
    for number in range(30):
        await held.obtain(SPEC, f"caller-{number}")
    assert held.current(SPEC, "caller-0") is None and held.current(SPEC, "caller-29") is not None
    held.keep(())
    assert held.current(SPEC, "caller-29") is None
    await held.close()
