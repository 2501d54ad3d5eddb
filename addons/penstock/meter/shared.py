"""Limits that several proxies share: the same questions as Quotas, answered from leases.

``reserve`` never waits: it uses what this proxy has leased. Where that is not enough
``short`` says so before, the caller awaits ``meter.store.Store.ask``, and reserves then.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from penstock.meter.account import Account
from penstock.meter.lease import Clock, Lease
from penstock.meter.quotas import (
    NEVER_FITS_SECONDS,
    PARALLEL,
    Claim,
    Exceeded,
    Key,
    Quotas,
    Scope,
)
from penstock.meter.slots import SharedSlots
from penstock.meter.windows import Amount

# Names of scopes do not go to the store, only their hash does.
NAME_BYTES = 16

Shared = Lease | SharedSlots


class SharedQuotas(Quotas):
    """All limits of one process, each a share of what the store holds."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.pod = secrets.token_hex(8)  # a new one with each start: nobody continues our leases

    def short(self, now: float, claims: Iterable[Claim]) -> bool:
        """True when some claim is above what is leased, and the store may have more."""
        return self.first_short(now, claims) is not None

    def first_short(self, now: float, claims: Iterable[Claim]) -> tuple[Shared, int] | None:
        """The first share that has to ask, and for how many units."""
        for claim in claims:
            share = self.share_of(now, claim)
            wanted = share.units(claim.reserve)
            if share.balance(now) >= wanted or now < share.refused_until:
                continue
            if wanted <= share.units(claim.room):
                return share, wanted
        return None

    def share_of(self, now: float, claim: Claim) -> Shared:
        """Our share of the claim's limit."""
        share = self._window(now, claim)
        assert isinstance(share, Lease | SharedSlots)  # see _account
        if share.claim is not claim:
            share.claim = claim  # the policy may have changed its terms
        return share

    def shares(self) -> Iterator[Shared]:
        """All of them."""
        for scopes in self._windows.values():
            for share in scopes.values():
                assert isinstance(share, Lease | SharedSlots)  # see _account
                yield share

    def budgets(self, now: float) -> list[tuple[Key, Scope, int, Amount]]:
        """Nothing: the store keeps what budgets have spent, not a file of this process."""
        return []

    def restore(self, now: float, rows: Iterable[tuple[Key, Scope, int, Amount]]) -> int:
        """Nothing is taken over from a file: the store knows."""
        return 0

    def _account(self, claim: Claim) -> Account:
        name = blake2b(repr((claim.key, claim.scope)).encode(), digest_size=NAME_BYTES).hexdigest()
        if claim.unit == PARALLEL:
            return SharedSlots(claim, self.clock, self.pod, name)
        return Lease(claim, self.clock, self.pod, name)

    def _refused(
        self, now: float, claim: Claim, window: Account, asked_before: Amount
    ) -> Exceeded | None:
        assert isinstance(window, Lease | SharedSlots)  # see _account
        wanted = window.units(asked_before) + window.units(claim.reserve)
        if window.balance(now) >= wanted:
            return None
        left = claim.room - window.used(now)
        if claim.reserve > claim.room:
            wait = max(NEVER_FITS_SECONDS, float(claim.every_seconds))
            return Exceeded(claim.rule, claim.unit, claim.room, left, wait, fits=False)
        return Exceeded(
            claim.rule, claim.unit, claim.room, left, window.wait_seconds,
            unavailable=window.unavailable,
        )  # fmt: skip
