"""How the targets stand: who is out, who is tried again, who has no room, how busy each is.

Pure values with time passed in. A target that fails FAILURES times in a row is out for a while
that doubles each time; then one call probes it, and only its success lets the others follow.
A provider's own word (Retry-After, its rate-limit headers) counts before the first refusal.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

# One failure is chance, three in a row are not.
FAILURES = 3
# Out for 5 s at first: most overloads are over by then; five minutes at the longest, so that a
# service that has come back is found within a coffee.
OUT_SECONDS, OUT_SECONDS_MAX = 5.0, 300.0
# A probe that says nothing for this long does not keep the next one away.
PROBE_SECONDS = 30.0
# A provider that names a longer wait is asked again after this long all the same.
WAIT_SECONDS_MAX = 3600.0
# The memory of latencies: half of it is gone after seven seconds.
LATENCY_SECONDS = 10.0
# Targets are the policy's, models partly the callers'.
STANDINGS_MAX, ROOMS_MAX = 2_000, 10_000

# well: served, or refused by the caller's own fault. limited: no room now. failed: its fault.
Outcome = Literal["well", "limited", "failed"]


@dataclass(slots=True)
class Standing:
    """One target. Times are seconds of the clock that is passed in."""

    outstanding: int = 0
    latency: float = 0.0  # peak EWMA of the seconds to the first byte
    measured: float = 0.0
    failures: int = 0  # in a row
    ejections: int = 0
    out_until: float = 0.0
    probe_until: float = 0.0


@dataclass(slots=True, frozen=True)
class Room:
    """What a provider said is left for a model: tokens, until when."""

    tokens: int
    until: float


@dataclass(slots=True)
class Board:
    """All targets of one process, by name; models apart where limits are concerned."""

    standings: OrderedDict[str, Standing] = field(default_factory=OrderedDict)
    rooms: OrderedDict[tuple[str, str], Room] = field(default_factory=OrderedDict)

    def wait(self, name: str, model: str, now: float, tokens: int = 0) -> float:
        """Seconds until the target can be asked; 0 when it can be now.

        ``tokens`` is what the call is expected to need.
        """
        wait = 0.0
        room = self.rooms.get((name, model))
        if room is not None and now < room.until and room.tokens < max(tokens, 1):
            wait = room.until - now
        standing = self.standings.get(name)
        if standing is None or not standing.ejections:
            return wait
        return max(wait, standing.out_until - now, standing.probe_until - now, 0.0)

    def near(self, name: str, model: str, now: float, tokens: int) -> bool:
        """True when fewer tokens than this are left, so that it matters what a call needs."""
        room = self.rooms.get((name, model))
        return room is not None and now < room.until and room.tokens < tokens

    def outstanding(self, name: str) -> int:
        """Calls under way."""
        standing = self.standings.get(name)
        return standing.outstanding if standing else 0

    def load(self, name: str) -> float:
        """Expected seconds to the first byte of one more call; 0 where nothing is known."""
        standing = self.standings.get(name)
        return standing.latency * (standing.outstanding + 1) if standing else 0.0

    def begin(self, name: str, now: float) -> None:
        """An attempt begins."""
        standing = self.standings.get(name)
        if standing is None:
            standing = self.standings[name] = Standing()
            self._forget_idle()
        standing.outstanding += 1
        if standing.ejections and now >= standing.out_until:
            standing.probe_until = now + PROBE_SECONDS

    def answered(
        self, name: str, now: float, outcome: Outcome, seconds: float | None = None
    ) -> None:
        """An attempt showed how it goes; ``seconds`` to its first byte, if there was one."""
        standing = self.standings.get(name)
        if standing is None:
            return
        if outcome == "failed":
            self._failed(standing, now)
            return
        standing.failures = standing.ejections = 0
        standing.out_until = standing.probe_until = 0.0
        if seconds is not None and outcome == "well":
            peak_ewma(standing, seconds, now)

    def over(self, name: str) -> None:
        """An attempt is over, whatever came of it. Once for each ``begin``."""
        standing = self.standings.get(name)
        if standing is not None and standing.outstanding:
            standing.outstanding -= 1

    def limit(self, name: str, model: str, tokens: int, until: float, now: float) -> None:
        """The provider said that ``tokens`` are left until then (0: nothing)."""
        until = min(until, now + WAIT_SECONDS_MAX)
        self.rooms[name, model] = Room(tokens, until)
        self.rooms.move_to_end((name, model))
        while len(self.rooms) > ROOMS_MAX:
            self.rooms.popitem(last=False)

    def _failed(self, standing: Standing, now: float) -> None:
        standing.failures += 1
        if not standing.ejections and standing.failures < FAILURES:
            return
        if standing.ejections and now < standing.out_until:
            return  # a call from before: the target is out already
        out = min(OUT_SECONDS * 2**standing.ejections, OUT_SECONDS_MAX)
        standing.ejections = min(standing.ejections + 1, 16)  # far beyond the longest time out
        standing.out_until, standing.probe_until = now + out, 0.0

    def _forget_idle(self) -> None:
        if len(self.standings) > STANDINGS_MAX:
            idle = next((n for n, one in self.standings.items() if not one.outstanding), None)
            if idle is not None:
                del self.standings[idle]


def peak_ewma(standing: Standing, seconds: float, now: float) -> None:
    """Rise at once, sink slowly: a slow answer counts fully, fast ones wear it off."""
    if seconds >= standing.latency:
        standing.latency = seconds
    else:
        keep = math.exp(-max(now - standing.measured, 0.0) / LATENCY_SECONDS)
        standing.latency = standing.latency * keep + seconds * (1 - keep)
    standing.measured = now
