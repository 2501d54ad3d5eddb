"""Deadlines of calls that wait for their upstream: to the first byte, and between bytes.

One sweep looks at all live calls now and then; a timer per request would cost more than
the check it replaces (the protocol core's own timers are tasks that outlive the call).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from mitmproxy.proxy import events

from penstock.proxy.settings import Limits

# A deadline is met within an eighth of itself, and no sweep is closer than 20 ms.
PARTS_PER_DEADLINE = 8
SHORTEST_SWEEP_SECONDS = 0.02
LONGEST_SWEEP_SECONDS = 5.0


class Waiting(Protocol):
    """A call that waits for its upstream."""

    waiting_since: float
    head_received: bool
    patience: float | None  # seconds to its answer's head; None: the engine's own limit

    @property
    def client_id(self) -> str:
        """The id of the client connection it belongs to."""
        ...


@dataclass
class Expired(events.Event):
    """A deadline of ``call`` has passed."""

    call: Waiting


@dataclass
class Said(Expired):
    """Bytes of ours for the running answer of ``call``; dropped when it does not run."""

    data: bytes = b""


class Deadlines:
    """The live calls and how long each has waited."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._live: dict[Waiting, None] = {}
        self._shortest = min(limits.first_byte_seconds, limits.idle_seconds)
        self.hurried = asyncio.Event()  # the sweep has to come sooner than it meant to

    def __len__(self) -> int:
        return len(self._live)

    @property
    def sweep_seconds(self) -> float:
        """How long to sleep between two sweeps."""
        wanted = self._shortest / PARTS_PER_DEADLINE
        return min(max(wanted, SHORTEST_SWEEP_SECONDS), LONGEST_SWEEP_SECONDS)

    def start(self, call: Waiting) -> None:
        """``call`` begins to wait for its answer's head."""
        call.waiting_since = monotonic()
        if call.patience is not None and call.patience < self._shortest:
            self._shortest = call.patience
            self.hurried.set()
        self._live[call] = None

    def stop(self, call: Waiting) -> None:
        """``call`` is over, however it ended. Harmless when it was not waiting."""
        self._live.pop(call, None)

    def expired(self, now: float) -> Iterator[Waiting]:
        """Calls whose wait is too long; each is reported once."""
        for call in list(self._live):
            limits = self._limits
            patience = call.patience or limits.first_byte_seconds
            allowed = limits.idle_seconds if call.head_received else patience
            if now - call.waiting_since > allowed:
                del self._live[call]
                yield call
