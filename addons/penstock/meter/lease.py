"""This proxy's share of one shared limit of one scope, and what it tells the store of it.

A lease is an amount the store has already counted as used: whatever happens to the store or
to this proxy, what is spent from it was counted before. Amounts are leased in **lots**, one
per piece of the window; a lot may be used while its piece lasts, and what is not needed any
more is returned to that piece. What calls use beyond their reservation is **debt**, told
with the next message. A message that was not answered is sent again as it was, and the store
answers it once (``seq``).

Pure: time is an argument, in seconds of the local clock; ``Clock`` knows the store's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from penstock.meter.quotas import Claim
from penstock.meter.windows import SLICES, Amount, begins_at, is_calendar, leaves_at, slice_at

# Money is leased in whole billionths of a dollar: a token costs some hundred of them.
NANO = 10**9
# How often leases are renewed, and for how long ahead they are sized.
RENEW_SECONDS = 0.5
AHEAD_RENEWALS = 8
# A lease lasts this long, and at most one piece of its window.
LEASE_SECONDS = 1.0
# A scope nobody used for so long gives everything back.
IDLE_SECONDS = 2.0
# Slots of a proxy that is not heard of for so long are free again: it died with its calls.
SLOTS_SECONDS = 10.0
# What was refused is not asked for again before: refused callers must not storm the store.
REFUSED_SECONDS = 0.1
# Weight of the newest renewal period in a scope's pace.
WEIGHT = 0.5

# The status of an answer of a store that has just begun: what it knows may not be all.
GRACE = "grace"

Message = dict[str, Any]


@dataclass(slots=True)
class Clock:
    """The store's clock, never behind it by more than a message takes; and what it said last."""

    ahead_seconds: float = 0.0
    generation: str = ""

    def store(self, now: float) -> float:
        """The store's time when the local one is ``now``."""
        return now + self.ahead_seconds

    def heard(self, sent: float, answer: Answer) -> None:
        """Take over what an answer tells of the store. ``sent`` is when it was asked."""
        self.ahead_seconds = answer.store_seconds - sent
        self.generation = answer.generation


@dataclass(slots=True, frozen=True)
class Answer:
    """The store's answer to one message. ``totals`` are what all proxies used, by piece."""

    status: str
    store_seconds: float
    generation: str
    grant: int
    piece: int
    wait_seconds: float
    pods: int
    totals: Mapping[str, float]
    total: int = 0


def units_of(unit: str, amount: Amount) -> int:
    """Whole units of a lease; never less than ``amount``."""
    return math.ceil(amount * NANO) if unit == "usd" else math.ceil(amount)


def amount_of(unit: str, units: int) -> Amount:
    """The amount in the limit's own unit."""
    return Decimal(units) / NANO if unit == "usd" else units


@dataclass(slots=True, eq=False, weakref_slot=True)
class Lease:
    """An Account (see quotas.py) over what the store granted. One per limit and scope."""

    claim: Claim  # the limit's terms; ``reserve`` is of no meaning here
    clock: Clock
    pod: str
    name: str = ""
    lots: dict[int, int] = field(default_factory=dict)
    debt: int = 0  # used and not granted; told with the next message
    returns: dict[int, int] = field(default_factory=dict)
    open: int = 0  # calls that hold a part
    seen: dict[str, float] = field(default_factory=dict)
    generation: str = ""
    heard: bool = False  # the store ever answered for this scope
    pods: int = 1
    seq: int = 0
    unanswered: Message | None = None
    refused_until: float = 0.0
    wait_seconds: float = 1.0
    unavailable: bool = False
    on_its_own: int = 0  # granted by ourselves while the store cannot be reached
    used_since: int = 0  # since the last renewal
    pace: float = 0.0
    largest: int = 0
    used_at: float = 0.0
    leased_at: float = 0.0

    # ------------------------------------------------------------------ an Account

    @property
    def held(self) -> int:
        """Not 0 while it may not be forgotten."""
        return self.open + self.debt + sum(self.lots.values()) + sum(self.returns.values())

    def take(self, now: float, amount: Amount) -> int:
        """Use ``amount`` of the lots, in debt where they have less; the piece it came from."""
        self.open += 1
        return self.draw(now, self.units(amount))

    def hold_more(self, now: float, amount: Amount) -> None:
        """A call that holds a part needs more."""
        self.draw(now, self.units(amount))

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """The call took nothing."""
        self.open -= 1
        self.credit(now, self.units(held), origin)

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """The call took ``actual``."""
        self.open -= 1
        more = self.units(actual) - self.units(held)
        if more > 0:
            self.draw(now, more)
        else:
            self.credit(now, -more, origin)

    def spend(self, now: float, amount: Amount) -> None:
        """Count ``amount``, granted or not."""
        self.draw(now, self.units(amount))

    def used(self, now: float) -> Amount:
        """What all proxies have used, as far as is known; our unused lots are not used."""
        self.forget(now)
        return self.amount(self.known(now) + self.debt + self.untold - sum(self.lots.values()))

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """What the store said when it last refused."""
        return now + self.wait_seconds

    def resets_at(self, now: float) -> float:
        """When the youngest use no longer counts, as far as is known."""
        pieces = self.counting(now)
        if self.bursts or not pieces:
            return now
        newest = max(int(piece) for piece in pieces)
        return (
            leaves_at(self.claim.every_seconds, newest, self.claim.zone) - self.clock.ahead_seconds
        )

    # ------------------------------------------------------------------ what is ours

    @property
    def bursts(self) -> bool:
        """True for a limit with burst: one number in place of pieces."""
        return self.claim.burst is not None

    def units(self, amount: Amount) -> int:
        return units_of(self.claim.unit, amount)

    def amount(self, units: int) -> Amount:
        return amount_of(self.claim.unit, units)

    def piece(self, now: float) -> int:
        """The piece of the window the store's clock is in."""
        if self.bursts:
            return 0
        return slice_at(self.claim.every_seconds, self.clock.store(now), self.claim.zone)

    def forget(self, now: float) -> None:
        """Lots whose piece is over may not be used; they go back to it."""
        piece = self.piece(now)
        if self.bursts and now - self.leased_at > LEASE_SECONDS:
            piece = 1  # the bucket refills meanwhile: a lot kept for long would be a second burst
        for over in [lot for lot in self.lots if lot < piece]:
            self.to_return(over, self.lots.pop(over))

    def balance(self, now: float) -> int:
        """What may be used without asking."""
        if self.lots:
            self.forget(now)
        return sum(self.lots.values()) - self.debt

    def free(self, now: float) -> int:
        """What a need is less by: the lots at hand."""
        self.forget(now)
        return sum(self.lots.values())

    def draw(self, now: float, units: int) -> int:
        self.used_since += units
        self.used_at = now
        self.largest = max(units, self.largest)
        self.forget(now)
        origin = None
        for piece in sorted(self.lots):
            part = min(units, self.lots[piece])
            origin = piece if origin is None and part else origin
            units -= part
            self.lots[piece] -= part
            if not self.lots[piece]:
                del self.lots[piece]
        self.debt += units
        return self.piece(now) if origin is None else origin

    def credit(self, now: float, units: int, origin: int) -> None:
        """Take back what a call did not use: off the debt, else into the lot it came from."""
        off = min(units, self.debt)
        self.debt -= off
        self.used_since = max(0, self.used_since - units)
        if units > off:
            self.lots[origin] = self.lots.get(origin, 0) + units - off
            self.forget(now)

    def to_return(self, piece: int, units: int) -> None:
        if units:
            self.returns[piece] = self.returns.get(piece, 0) + units

    def own(self, now: float, units: int) -> None:
        """Grant it ourselves: counted at the store as debt, once it is back."""
        piece = self.piece(now)
        self.lots[piece] = self.lots.get(piece, 0) + units
        self.leased_at = now
        self.on_its_own += units

    def share(self, now: float) -> int:
        """Our even part of what was left when the store was last heard of; 0 if it never was."""
        if not self.heard:
            return 0
        left = max(0, self.units(self.claim.room) - self.known(now))
        return left // self.pods - self.untold - self.debt

    @property
    def untold(self) -> int:
        """What the store has not counted yet, debt apart."""
        told = self.unanswered["spend"] if self.unanswered else 0
        return self.on_its_own + int(told)

    def known(self, now: float) -> int:
        """What the store knew to be used, as it counts now."""
        return self.level(now) if self.bursts else int(sum(self.counting(now).values()))

    def counting(self, now: float) -> dict[str, float]:
        """What the store knew that still counts."""
        oldest = self.piece(now)
        if not is_calendar(self.claim.every_seconds):
            oldest -= SLICES
        return {
            piece: total
            for piece, total in self.seen.items()
            if piece != "empty" and int(piece) >= oldest
        }

    def level(self, now: float) -> int:
        """What has not drained yet of a limit with burst."""
        left = self.seen.get("empty", 0.0) - self.clock.store(now) * 1000
        return max(0, math.ceil(left / self.each()))

    def each(self) -> float:
        """Milliseconds in which one unit of a limit with burst comes back."""
        return 1000 * self.claim.every_seconds / max(1, self.units(self.claim.limit))

    # ------------------------------------------------------------------ what is told

    def due(self, now: float) -> bool:
        """True when the store should hear of this scope: there is news, or too little left.

        Asked once in a renewal: what was used since the last time is its pace.
        """
        used, self.used_since = self.used_since, 0
        self.pace += WEIGHT * (used - self.pace)
        if (
            self.debt or self.returns or self.unanswered or self.on_its_own
            or (self.seen and self.generation != self.clock.generation)
        ):  # fmt: skip
            return True
        if self.bursts or now - self.used_at > IDLE_SECONDS:
            return bool(self.lots or used)
        return self.lasting(now) < self.largest + 2 * self.pace

    def ahead(self, now: float) -> int:
        """What to lease beyond what is there, from the pace of use; returns what is too much."""
        pace = max(self.pace, float(self.used_since))
        if now - self.used_at > IDLE_SECONDS:
            wanted, self.pace, self.largest = 0, 0.0, 0
        else:
            wanted = math.ceil(pace * AHEAD_RENEWALS) + self.largest
        self.forget(now)
        there = self.lasting(now)
        excess = there - 2 * wanted if wanted else sum(self.lots.values())
        for piece in sorted(self.lots, reverse=True):
            part = max(0, min(excess, self.lots[piece]))
            excess -= part
            self.lots[piece] -= part
            self.to_return(piece, part)
            if not self.lots[piece]:
                del self.lots[piece]
        return max(0, wanted - there)

    def hurry(self) -> int:
        """What to lease at once when the pace of use has outrun the renewals."""
        return self.used_since * AHEAD_RENEWALS

    def lasting(self, now: float) -> int:
        """What may still be used at the next renewal."""
        piece = self.piece(now + RENEW_SECONDS)
        return sum(units for lot, units in self.lots.items() if lot >= piece)

    def message(self, now: float, need: int, ahead: int) -> Message:
        """What to send: the one that was not answered yet, else a new one."""
        if self.unanswered is not None:
            return self.unanswered
        self.seq += 1
        spend, self.debt = self.debt + self.on_its_own, 0
        self.on_its_own = 0
        returned, self.returns = self.returns, {}
        self.unanswered = {
            "pod": self.pod,
            "seq": self.seq,
            "generation": self.generation,
            "room": self.units(self.claim.room),
            "need": need,
            "ahead": ahead,
            "spend": spend,
            "returns": {str(piece): units for piece, units in returned.items()},
            "seen": dict(self.seen),
            **self.terms(now),
        }
        return self.unanswered

    def terms(self, now: float) -> Message:
        """The kind of window, as the store has to know it."""
        every = self.claim.every_seconds
        if self.bursts:
            return {"kind": "burst", "each": self.each()}
        if not is_calendar(every):
            lease = min(LEASE_SECONDS, every / SLICES)
            return {"kind": "slide", "span": every * 1000, "lease": round(lease * 1000)}
        piece, zone = self.piece(now), self.claim.zone
        return {
            "kind": "period",
            "piece": piece,
            "starts": round(begins_at(every, piece, zone) * 1000),
            "ends": round(leaves_at(every, piece, zone) * 1000),
        }

    def answered(self, now: float, sent: float, answer: Answer) -> None:
        """Take over what the store says. ``sent`` is when the message left."""
        message, self.unanswered = self.unanswered, None
        if message is None:
            return
        self.clock.heard(sent, answer)
        self.unavailable = False
        if answer.status == "stale":  # our calendar was off: nothing was done
            self.debt += message["spend"]
            for piece, units in message["returns"].items():
                self.to_return(int(piece), units)
            return
        self.generation = answer.generation
        self.seen, self.heard, self.pods = dict(answer.totals), True, answer.pods
        if answer.grant:
            self.lots[answer.piece] = self.lots.get(answer.piece, 0) + answer.grant
            self.leased_at = now
        elif message["need"] and answer.status != GRACE:
            self.wait_seconds = max(answer.wait_seconds, REFUSED_SECONDS)
            self.refused_until = now + REFUSED_SECONDS
