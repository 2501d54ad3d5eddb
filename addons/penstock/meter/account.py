"""What a limit asks of the account of one scope, whatever it counts in and wherever it is kept."""

from __future__ import annotations

from typing import Protocol

from penstock.meter.windows import Amount


class Account(Protocol):
    """How much of one limit one scope has used: a Window, a Bucket, Slots, or a Lease of them."""

    @property
    def held(self) -> Amount:
        """Not 0 while calls in flight have a part in it."""

    def take(self, now: float, amount: Amount) -> int:
        """Hold ``amount``; where it came from, to be told when it is given back."""

    def hold_more(self, now: float, amount: Amount) -> None:
        """Hold ``amount`` in addition, for a call that holds a part already."""

    def give_back(self, now: float, held: Amount, origin: int = 0) -> None:
        """Let go of it."""

    def settle(self, now: float, held: Amount, actual: Amount, origin: int = 0) -> None:
        """Count ``actual`` in its place."""

    def spend(self, now: float, amount: Amount) -> None:
        """Count ``amount``."""

    def used(self, now: float) -> Amount:
        """What counts now."""

    def frees_at(self, now: float, needed: Amount) -> float | None:
        """When ``needed`` of it no longer counts; None when nobody knows."""

    def resets_at(self, now: float) -> float:
        """When nothing of it counts."""
