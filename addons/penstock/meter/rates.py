"""Two more ways to count: bursts (GCRA) and calls at the same time.

A **bucket** lets ``burst`` through at once and refills steadily, ``limit`` per
``every_seconds``. It keeps one number, the moment at which it will be empty of spend
(GCRA's theoretical arrival time). What a call takes drains from the moment it was taken; a
settlement corrects it by the difference, and never leaves credit behind.

**Slots** are held and given back; nothing is ever spent.

Both answer the same questions as ``windows.Window``. Time is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from penstock.meter.windows import Amount

# Amounts of a bucket are shown to this many places: an ETA in floats knows no more.
PLACES = Decimal("0.000001")


@dataclass(slots=True)
class Bucket:
    """What one scope has spent under a limit with ``burst``."""

    seconds_each: float  # that one unit takes to drain
    whole: bool  # amounts are counts: never shown as less used than they are
    empty_at: float = 0.0
    open: int = 0  # calls that hold a part of it

    @property
    def held(self) -> int:
        """Not 0 while a call in flight has a part of it: the scope may not be forgotten."""
        return self.open

    def take(self, now: float, amount: Amount) -> int:
        """A call begins; its amount drains from now on."""
        self.open += 1
        self.pour(now, amount)
        return 0

    def hold_more(self, now: float, amount: Amount) -> None:
        """The call takes more than it said."""
        self.pour(now, amount)

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """The call took nothing."""
        self.open -= 1
        self.pour(now, -held)

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """The call took ``actual``."""
        self.open -= 1
        self.pour(now, actual - held)

    def spend(self, now: float, amount: Amount) -> None:
        """Count ``amount`` from now on."""
        self.pour(now, amount)

    def pour(self, now: float, amount: Amount) -> None:
        """Fill by ``amount``, or take it out again down to empty."""
        self.empty_at = max(now, self.empty_at) + float(amount) * self.seconds_each

    def used(self, now: float) -> Amount:
        """What has not drained yet."""
        level = max(0.0, self.empty_at - now) / self.seconds_each
        if self.whole:
            return math.ceil(level - 1e-6)  # what floats lose at the size of the epoch
        return Decimal(level).quantize(PLACES)

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """When ``needed`` of it has drained, which is sure to happen."""
        return now + float(needed) * self.seconds_each

    def resets_at(self, now: float) -> float:
        """When it is empty."""
        return max(now, self.empty_at)


@dataclass(slots=True)
class Slots:
    """Calls of one scope at the same time."""

    held: Amount = 0

    def take(self, now: float, amount: Amount) -> int:
        """A call begins."""
        self.held += amount
        return 0

    def hold_more(self, now: float, amount: Amount) -> None:
        """A call is one call, however long."""

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """It ended."""
        self.held -= held

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """It ended, whatever it used."""
        self.held -= held

    def spend(self, now: float, amount: Amount) -> None:
        """A call that outlived its reservation ended: nothing is held for it any more."""

    def used(self, now: float) -> Amount:
        """Calls running now."""
        return self.held

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """Nobody knows when a call ends."""
        return None

    def resets_at(self, now: float) -> float:
        """As soon as a call ends."""
        return now
