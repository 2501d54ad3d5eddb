"""This proxy's share of the calls that may run at the same time, all proxies together.

The proxy tells the store how many slots it holds, always the whole number, so a message that
is lost or heard twice does no harm. A proxy that is not heard of loses them after
SLOTS_SECONDS: its calls died with it. Pure: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.meter.lease import (
    GRACE,
    IDLE_SECONDS,
    REFUSED_SECONDS,
    SLOTS_SECONDS,
    Answer,
    Clock,
    Message,
)
from penstock.meter.quotas import Claim
from penstock.meter.windows import Amount

# Free slots kept at hand while calls come.
SPARE = 2


@dataclass(slots=True, eq=False, weakref_slot=True)
class SharedSlots:
    """An Account (see quotas.py) over the slots the store granted."""

    claim: Claim
    clock: Clock
    pod: str
    name: str = ""
    running: int = 0
    granted: int = 0
    ends_at: float = 0.0  # until when the store keeps the slots for us
    others: int = 0
    heard: bool = False
    pods: int = 1
    seq: int = 0
    unanswered: Message | None = None
    refused_until: float = 0.0
    wait_seconds: float = 1.0
    unavailable: bool = False
    used_at: float = 0.0
    generation: str = ""

    @property
    def held(self) -> int:
        """Not 0 while it may not be forgotten."""
        return max(self.running, self.granted)

    def take(self, now: float, amount: Amount) -> int:
        """A call begins."""
        self.running += int(amount)
        self.used_at = now
        return 0

    def hold_more(self, now: float, amount: Amount) -> None:
        """A call is one call, however long."""

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """It ended."""
        self.running -= int(held)

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """It ended, whatever it used."""
        self.running -= int(held)

    def spend(self, now: float, amount: Amount) -> None:
        """A call that outlived its reservation ended."""

    def used(self, now: float) -> Amount:
        """Calls running now, those of other proxies as far as is known."""
        return self.others + self.running

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """Nobody knows when a call ends."""
        return None

    def resets_at(self, now: float) -> float:
        """As soon as a call ends."""
        return now

    def units(self, amount: Amount) -> int:
        return int(amount)

    def balance(self, now: float) -> int:
        """Slots that are free and ours."""
        return self.granted - self.running if now < self.ends_at else 0

    def free(self, now: float) -> int:
        """What a need is less by: the slots at hand."""
        return max(0, self.balance(now))

    def own(self, now: float, units: int) -> None:
        """Take a slot without asking; the store hears of it once it is back."""
        self.granted = self.running + units
        self.ends_at = max(self.ends_at, now + REFUSED_SECONDS)

    def share(self, now: float) -> int:
        """Our even part of all slots."""
        return int(self.claim.limit) // self.pods - self.running if self.heard else 0

    def due(self, now: float) -> bool:
        """True when slots have to be renewed, or there are too few or too many."""
        active = now - self.used_at < IDLE_SECONDS
        spare = self.granted - self.running
        wrong = spare < SPARE if active else spare > 0
        ends = now > self.ends_at - SLOTS_SECONDS / 2
        held = bool(self.granted or self.running)
        return self.unanswered is not None or (held and (wrong or spare > 2 * SPARE or ends))

    def ahead(self, now: float) -> int:
        """Spare slots to lease; lets go of those that are too many."""
        spare = SPARE if now - self.used_at < IDLE_SECONDS else 0
        self.granted = max(self.running, min(self.granted, self.running + spare))
        return max(0, self.running + spare - self.granted)

    def hurry(self) -> int:
        """A slot ahead of need is enough: calls give theirs back."""
        return 0

    def message(self, now: float, need: int, ahead: int) -> Message:
        """What to send; what was sent before is of no matter."""
        if now >= self.ends_at:
            self.granted = self.running
        self.granted = max(self.granted, self.running)
        self.seq += 1
        self.unanswered = {
            "kind": "parallel",
            "pod": self.pod,
            "seq": self.seq,
            "generation": self.generation,
            "limit": int(self.claim.limit),
            "holds": self.granted,
            "need": need,
            "ahead": ahead,
            "lease": round(SLOTS_SECONDS * 1000),
        }
        return self.unanswered

    def answered(self, now: float, sent: float, answer: Answer) -> None:
        """Take over what the store says. ``sent`` is when the message left."""
        message, self.unanswered = self.unanswered, None
        if message is None:
            return
        self.clock.heard(sent, answer)
        self.generation = answer.generation
        self.heard, self.unavailable, self.pods = True, False, answer.pods
        self.granted += answer.grant
        self.others = max(0, answer.total - message["holds"] - answer.grant)
        self.ends_at = sent + SLOTS_SECONDS
        if message["need"] and not answer.grant and answer.status != GRACE:
            self.wait_seconds = 1.0
            self.refused_until = now + REFUSED_SECONDS
