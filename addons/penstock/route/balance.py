"""In which order a call's targets are tried. Pure: load, time and chance are arguments.

Priorities first; inside one, the caller's own region, then the balance. Targets that cannot be
asked now come last, soonest first: when all are out, one is asked all the same. The weighted
choice is rendezvous hashing, so that a conversation stays where it is while targets come and go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, Protocol

Balance = Literal["weighted", "least_outstanding", "lowest_latency"]
HASH_BYTES = 8
HASH_RANGE = float(1 << (8 * HASH_BYTES))


class Candidate(Protocol):
    """What is ordered."""

    @property
    def name(self) -> str:
        """The target, as health knows it."""

    @property
    def model(self) -> str:
        """The model that would be asked for there."""

    @property
    def weight(self) -> int: ...

    @property
    def priority(self) -> int: ...

    @property
    def region(self) -> str | None: ...


class Load(Protocol):
    """How the targets stand (``health.Board``)."""

    def wait(self, name: str, model: str, now: float, tokens: int = 0) -> float:
        """Seconds until the target can be asked."""

    def outstanding(self, name: str) -> int:
        """Calls under way."""

    def load(self, name: str) -> float:
        """Expected seconds to the first byte."""


def order[C: Candidate](
    candidates: Sequence[C],
    load: Load,
    now: float,
    *,
    balance: Balance = "weighted",
    key: str,
    region: str | None = None,
    tokens: int = 0,
) -> list[C]:
    """All of ``candidates``, best first. ``key`` decides what nothing else does.

    The same key leads to the same target as long as that target can be asked.
    """

    def rank(one: C) -> tuple[bool, float, int, bool, float, float]:
        wait = load.wait(one.name, one.model, now, tokens)
        away = region is not None and one.region != region
        draw = rendezvous(key, one.name, one.model, one.weight)
        if balance == "least_outstanding":
            busy = load.outstanding(one.name) / one.weight
        elif balance == "lowest_latency":
            busy = load.load(one.name) / one.weight
        else:
            busy = 0.0
        return wait > 0, wait, one.priority, away, busy, draw

    return sorted(candidates, key=rank)


def rendezvous(key: str, name: str, model: str, weight: int) -> float:
    """Smallest wins, in proportion to the weights (weighted rendezvous hashing)."""
    digest = blake2b(f"{key}\x1f{name}\x1f{model}".encode(), digest_size=HASH_BYTES).digest()
    unit = (int.from_bytes(digest) + 0.5) / HASH_RANGE
    return -math.log(unit) / weight


def named(candidates: Iterable[Candidate]) -> list[str]:
    """Their names, for messages."""
    return list(dict.fromkeys(one.name for one in candidates))
