"""The windows a limit counts in: which spend still counts now, and when it stops counting.

Two kinds, told apart by ``every_seconds`` alone:

- **sliding**, below one day (``1s`` to ``23h``): the last ``every_seconds``, in
  SLICES pieces. A piece counts until its youngest moment is old enough, so the
  true sliding sum never exceeds the limit; it may be up to one piece stricter.
- **calendar**, one day and above, in a time zone (UTC unless told): 86 400 is the day,
  604 800 the week from Monday, MONTH_SECONDS the month of the calendar. Other spans are
  blocks of days counted from the epoch's.

Time is always an argument (seconds since the epoch). Nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

Amount = int | Decimal

DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
MONTH_SECONDS = 30 * DAY_SECONDS  # the policy's "1mo": read as the calendar month

# Pieces of a sliding window: at most 1/20 = 5 % stricter than exact, 21 numbers per scope.
SLICES = 20

EPOCH_DAY = date(1970, 1, 1).toordinal()
# 1970-01-01 was a Thursday: four days later is the first Monday.
FIRST_MONDAY = EPOCH_DAY + 4


def is_calendar(every_seconds: int) -> bool:
    """True when the span is counted in calendar periods (a budget), not as a sliding rate."""
    return every_seconds >= DAY_SECONDS


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name (IANA). ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"there is no time zone '{name}'") from error


def slice_at(every_seconds: int, now: float, zone: str = "UTC") -> int:
    """The number of the piece that ``now`` falls into; numbers grow with time."""
    if not is_calendar(every_seconds):
        return int(now * SLICES // every_seconds)
    moment = datetime.fromtimestamp(now, zone_of(zone))
    if every_seconds == MONTH_SECONDS:
        return moment.year * 12 + moment.month - 1
    day = moment.toordinal()
    if every_seconds == WEEK_SECONDS:
        return (day - FIRST_MONDAY) // 7
    return (day - EPOCH_DAY) // (every_seconds // DAY_SECONDS)


def leaves_at(every_seconds: int, piece: int, zone: str = "UTC") -> float:
    """The moment from which ``piece`` no longer counts."""
    if not is_calendar(every_seconds):
        return (piece + SLICES + 1) * every_seconds / SLICES
    return begins_at(every_seconds, piece + 1, zone)


def begins_at(every_seconds: int, piece: int, zone: str = "UTC") -> float:
    """The first moment of a piece. A midnight that a zone skips is the moment of the skip."""
    if not is_calendar(every_seconds):
        return piece * every_seconds / SLICES
    if every_seconds == MONTH_SECONDS:
        year, month = divmod(piece, 12)
        first = date(year, month + 1, 1)
    elif every_seconds == WEEK_SECONDS:
        first = date.fromordinal(FIRST_MONDAY + piece * 7)
    else:
        first = date.fromordinal(EPOCH_DAY + piece * (every_seconds // DAY_SECONDS))
    return datetime(first.year, first.month, first.day, tzinfo=zone_of(zone)).timestamp()


@dataclass(slots=True)
class Window:
    """What one scope has spent under one limit.

    ``spent`` maps a piece to its settled amount, oldest first; ``held`` is the sum of open
    reservations, which count whatever their age. Nothing is floored: a settlement above
    its reservation leaves the scope in debt until the piece leaves the window.
    """

    every_seconds: int
    zone: str = "UTC"
    held: Amount = 0
    total: Amount = 0  # the sum of spent, kept so that reading it costs nothing
    spent: dict[int, Amount] = field(default_factory=dict)

    def forget(self, now: float) -> None:
        """Drop the pieces that left the window. A clock that steps back drops nothing."""
        while self.spent:
            piece = next(iter(self.spent))
            if leaves_at(self.every_seconds, piece, self.zone) > now:
                return
            self.total -= self.spent.pop(piece)

    def used(self, now: float) -> Amount:
        """Settled and held, now."""
        self.forget(now)
        return self.total + self.held

    def take(self, now: float, amount: Amount) -> int:
        """Hold ``amount`` for a call that begins now."""
        self.held += amount
        return 0

    def hold_more(self, now: float, amount: Amount) -> None:
        """A call that is held for needs more."""
        self.held += amount

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """Let go of what was held."""
        self.held -= held

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """Count ``actual`` in place of what was held."""
        self.held -= held
        if actual:
            self.spend(now, actual)

    def spend(self, now: float, amount: Amount) -> None:
        """Count ``amount`` from now on."""
        self.forget(now)
        piece = slice_at(self.every_seconds, now, self.zone)
        if self.spent:  # keep the pieces in order when the clock steps back
            piece = max(piece, next(reversed(self.spent)))
        self.spent[piece] = self.spent.get(piece, 0) + amount
        self.total += amount

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """When settled pieces worth ``needed`` have left; None when they are not worth that."""
        freed: Amount = 0
        for piece, amount in self.spent.items():
            freed += amount
            if freed >= needed:
                return leaves_at(self.every_seconds, piece, self.zone)
        return None

    def resets_at(self, now: float) -> float:
        """When the youngest spend has left: the scope is then as new."""
        newest = next(reversed(self.spent), None)
        if newest is None:
            newest = slice_at(self.every_seconds, now, self.zone)
        return leaves_at(self.every_seconds, newest, self.zone)
