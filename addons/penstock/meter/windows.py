"""The windows a limit counts in: which spend still counts now, and when it stops counting.

Two kinds, told apart by ``every_seconds`` alone:

- **sliding**, below one day (``1s`` to ``23h``): the last ``every_seconds``, in
  SLICES pieces. A piece counts until its youngest moment is old enough, so the
  true sliding sum never exceeds the limit; it may be up to one piece stricter.
- **calendar**, one day and above, in UTC: 86 400 is the day, 604 800 the week from
  Monday, MONTH_SECONDS the month of the calendar. Other spans are blocks counted
  from the epoch.

Time is always an argument (seconds since the epoch). Nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

Amount = int | Decimal

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
MONTH_SECONDS = 30 * DAY_SECONDS  # the policy's "1mo": read as the calendar month

# Pieces of a sliding window: at most 1/20 = 5 % stricter than exact, 21 numbers per scope.
SLICES = 20

# 1970-01-01 was a Thursday: four days later is the first Monday.
FIRST_MONDAY = 4 * DAY_SECONDS


def is_calendar(every_seconds: int) -> bool:
    """True when the span is counted in calendar periods (a budget), not as a sliding rate."""
    return every_seconds >= DAY_SECONDS


def slice_at(every_seconds: int, now: float) -> int:
    """The number of the piece that ``now`` falls into; numbers grow with time."""
    if not is_calendar(every_seconds):
        return int(now * SLICES // every_seconds)
    if every_seconds == MONTH_SECONDS:
        moment = datetime.fromtimestamp(now, UTC)
        return moment.year * 12 + moment.month - 1
    if every_seconds == WEEK_SECONDS:
        return int((now - FIRST_MONDAY) // WEEK_SECONDS)
    return int(now // every_seconds)


def leaves_at(every_seconds: int, piece: int) -> float:
    """The moment from which ``piece`` no longer counts."""
    if not is_calendar(every_seconds):
        return (piece + SLICES + 1) * every_seconds / SLICES
    if every_seconds == MONTH_SECONDS:
        year, month = divmod(piece + 1, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC).timestamp()
    if every_seconds == WEEK_SECONDS:
        return float((piece + 1) * WEEK_SECONDS + FIRST_MONDAY)
    return float((piece + 1) * every_seconds)


@dataclass(slots=True)
class Window:
    """What one scope has spent under one limit.

    ``spent`` maps a piece to its settled amount, oldest first; ``held`` is the sum of open
    reservations, which count whatever their age. Nothing is floored: a settlement above
    its reservation leaves the scope in debt until the piece leaves the window.
    """

    every_seconds: int
    held: Amount = 0
    total: Amount = 0  # the sum of spent, kept so that reading it costs nothing
    spent: dict[int, Amount] = field(default_factory=dict)

    def forget(self, now: float) -> None:
        """Drop the pieces that left the window. A clock that steps back drops nothing."""
        while self.spent:
            piece = next(iter(self.spent))
            if leaves_at(self.every_seconds, piece) > now:
                return
            self.total -= self.spent.pop(piece)

    def used(self, now: float) -> Amount:
        """Settled and held, now."""
        self.forget(now)
        return self.total + self.held

    def spend(self, now: float, amount: Amount) -> None:
        """Count ``amount`` from now on."""
        self.forget(now)
        piece = slice_at(self.every_seconds, now)
        if self.spent:  # keep the pieces in order when the clock steps back
            piece = max(piece, next(reversed(self.spent)))
        self.spent[piece] = self.spent.get(piece, 0) + amount
        self.total += amount

    def frees_at(self, needed: Amount) -> float | None:
        """When settled pieces worth ``needed`` have left; None when they are not worth that."""
        freed: Amount = 0
        for piece, amount in self.spent.items():
            freed += amount
            if freed >= needed:
                return leaves_at(self.every_seconds, piece)
        return None

    def resets_at(self, now: float) -> float:
        """When the youngest spend has left: the scope is then as new."""
        newest = next(reversed(self.spent), None)
        if newest is None:
            newest = slice_at(self.every_seconds, now)
        return leaves_at(self.every_seconds, newest)
