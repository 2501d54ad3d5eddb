"""Credentials of one process: fetched once, renewed ahead of expiry, shared by all calls.

A call that finds a fresh credential waits for nothing. Fetching runs in worker threads, one
at a time per credential; while a source fails, the last credential serves for as long as it is
valid. A short-lived one that nobody has used for an hour is forgotten.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Protocol

from penstock.route.credentials.fetched import Fetched, SourceError
from penstock.route.credentials.spec import Spec

logger = logging.getLogger(__name__)

# One per rule, and one per caller where callers' tokens are exchanged.
ENTRIES_MAX = 1000
IDLE_SECONDS = 3600.0
# Not used in its last seconds: the call has to arrive, and clocks differ.
SAFETY_SECONDS = 5.0
# After a failure: how soon the source is asked again, doubled up to the second.
RETRY_SECONDS, RETRY_SECONDS_MAX = 1.0, 30.0
# After the destination rejected a credential: how often a new one is asked for.
REJECTED_SECONDS = 10.0
# The net below the sources' own time limits (Google and Vault ask twice).
FETCH_SECONDS = 30.0

Key = tuple[Spec, bytes]


class Fetch(Protocol):
    """A source: blocking, raises SourceError."""

    def __call__(self, spec: Spec, now: float, subject: str | None = None) -> Fetched:
        """A credential, fetched now."""


@dataclass(slots=True)
class _Entry:
    fetched: Fetched | None = None
    fetched_at: float = 0.0
    used: float = 0.0
    task: asyncio.Task[Fetched] | None = None
    timer: asyncio.TimerHandle | None = None
    error: SourceError | None = None
    retry_at: float = 0.0
    retry_seconds: float = RETRY_SECONDS
    asked_again: float = 0.0
    subject: str | None = field(default=None, repr=False)


def source(spec: Spec) -> Fetch:
    """The source a specification names; imported when first needed."""
    module = importlib.import_module(f"penstock.route.credentials.{spec.kind}")
    fetch: Fetch = module.fetch
    return fetch


class Credentials:
    """``clock`` gives seconds since the epoch; ``source`` finds a specification's source."""

    def __init__(
        self, clock: Callable[[], float] = time.time, source: Callable[[Spec], Fetch] = source
    ) -> None:
        self.fetches = 0
        self.failures = 0
        self.echoes = 0  # keys taken out of answers; counted by whoever does it
        self._clock = clock
        self._source = source
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def current(self, spec: Spec, subject: str | None = None) -> Fetched | None:
        """A credential that can be used now; None when one has to be waited for (``obtain``)."""
        key = _key(spec, subject)
        entry = self._entries.get(key)
        if entry is None or entry.fetched is None:
            return None
        now, fetched = self._clock(), entry.fetched
        if fetched.expires_at is not None and now >= fetched.expires_at - SAFETY_SECONDS:
            return None
        entry.used = now
        if fetched.renew_at is not None and now >= fetched.renew_at:
            if fetched.waits:
                return None
            self._renew(key, entry)
        return fetched

    async def obtain(self, spec: Spec, subject: str | None = None) -> Fetched:
        """A credential, fetched if need be.

        Raises:
            SourceError: the source gave none, and there is none that is still valid.
        """
        fetched = self.current(spec, subject)
        if fetched is not None:
            return fetched
        key = _key(spec, subject)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(subject=subject)
            self._make_room()
        self._entries.move_to_end(key)
        entry.used = self._clock()
        if entry.error is not None and entry.used < entry.retry_at:
            raise entry.error
        self._renew(key, entry)
        assert entry.task is not None  # just made, or under way
        # Shielded: a caller that goes away must not take the others' credential with it.
        return await asyncio.shield(entry.task)

    def rejected(self, spec: Spec, subject: str | None = None) -> None:
        """The destination did not take the credential: ask for another one, in the background."""
        key = _key(spec, subject)
        entry = self._entries.get(key)
        now = self._clock()
        if entry is not None and now - entry.asked_again >= REJECTED_SECONDS:
            entry.asked_again = now
            self._renew(key, entry)

    async def replaced(self, spec: Spec, refused: Fetched, subject: str | None) -> Fetched | None:
        """Another credential than one the destination did not take; None when there is none."""
        self.rejected(spec, subject)
        entry = self._entries.get(_key(spec, subject))
        if entry is not None and entry.task is not None:
            try:
                await asyncio.shield(entry.task)
            except SourceError:
                return None
        fetched = self.current(spec, subject)
        return None if fetched is None or fetched.value == refused.value else fetched

    def keep(self, specs: Collection[Spec]) -> None:
        """Forget the credentials of all other specifications."""
        for key in [key for key in self._entries if key[0] not in specs]:
            self._forget(key)

    async def close(self) -> None:
        """Forget everything."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for key in list(self._entries):
            self._forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------ fetching

    def _renew(self, key: Key, entry: _Entry) -> None:
        if entry.task is None:
            entry.task = asyncio.create_task(self._fetch(key, entry))
            entry.task.add_done_callback(_looked_at)

    async def _fetch(self, key: Key, entry: _Entry) -> Fetched:
        spec = key[0]
        self.fetches += 1
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                fetched = await asyncio.to_thread(
                    self._source(spec), spec, self._clock(), entry.subject
                )
        except (SourceError, TimeoutError) as error:
            return self._failed(key, entry, error)
        finally:
            entry.task = None
        entry.fetched, entry.fetched_at = fetched, self._clock()
        entry.error, entry.retry_seconds = None, RETRY_SECONDS
        self._plan(key, entry)
        return fetched

    def _failed(self, key: Key, entry: _Entry, error: Exception) -> Fetched:
        """The last credential while it is valid; else the reason."""
        self.failures += 1
        reason = error if isinstance(error, SourceError) else SourceError("it took too long")
        logger.warning("credential source '%s': %s", key[0].kind, reason)
        now, last = self._clock(), entry.fetched
        entry.error, entry.retry_at = reason, now + entry.retry_seconds
        entry.retry_seconds = min(2 * entry.retry_seconds, RETRY_SECONDS_MAX)
        if last is None or not _serves(last, entry.fetched_at, now):
            entry.fetched = None
            raise reason
        entry.fetched = replace(last, renew_at=entry.retry_at)
        self._plan(key, entry)
        return entry.fetched

    def _plan(self, key: Key, entry: _Entry) -> None:
        """Renew in time even when no call comes to ask for it."""
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        fetched = entry.fetched
        if fetched is None or fetched.renew_at is None or fetched.waits or key not in self._entries:
            return
        delay = max(fetched.renew_at - self._clock(), RETRY_SECONDS)
        entry.timer = asyncio.get_running_loop().call_later(delay, self._due, key, entry)

    def _due(self, key: Key, entry: _Entry) -> None:
        if entry.subject is None and self._clock() - entry.used <= IDLE_SECONDS:
            self._renew(key, entry)
        elif key in self._entries:
            self._forget(key)  # a caller's token is not exchanged again unless the caller comes

    def _make_room(self) -> None:
        while len(self._entries) > ENTRIES_MAX:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key)
        if entry.timer is not None:
            entry.timer.cancel()


def _key(spec: Spec, subject: str | None) -> Key:
    return spec, blake2b(subject.encode(), digest_size=16).digest() if subject else b""


def _serves(last: Fetched, fetched_at: float, now: float) -> bool:
    if last.expires_at is not None:
        return now < last.expires_at - SAFETY_SECONDS
    return now - fetched_at <= last.stale_seconds


def _looked_at(task: asyncio.Task[Fetched]) -> None:
    """Whoever waited has the error; in the background it was counted and logged."""
    if not task.cancelled():
        task.exception()
