"""What a decision may ask for besides the policy and the call.

The owner (the proxy, a policy test, a replay) builds one State per call, bound to the
call's caller. The engine itself never sees the clock, the network or a file; the one thing
that changes through it is the quota store, which is asked last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from penstock.exchange import Finding, Zone
from penstock.mcp.memory import Memory
from penstock.meter.quotas import Claim, Exceeded, Reservation
from penstock.policy.call import Call
from penstock.route.health import Board
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.family import Channel


@dataclass(slots=True, frozen=True)
class Estimate:
    """What a call is expected to use. ``usd`` is 0 where no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = Decimal(0)


Replace = Callable[[Finding, str], str]


class Kept(str):
    """What a ``Replace`` answers for a found value that stays as it is."""


class QuotaStore(Protocol):
    """The part of ``meter.Quotas`` a decision uses."""

    def reserve(
        self, now: float, claims: Iterable[Claim], force: bool = False
    ) -> Reservation | Exceeded:
        """Take room for all claims, or for none; with ``force`` whatever is left."""

    def short(self, now: float, claims: Iterable[Claim]) -> bool:
        """True when the store has to be asked before these claims can be decided."""


class State(Protocol):
    """Everything outside the call a decision may depend on, bound to one caller."""

    @property
    def quotas(self) -> QuotaStore:
        """The store limits are reserved in."""

    @property
    def board(self) -> Board:
        """How the targets of routes stand: health, load, room."""

    @property
    def caller_key(self) -> str:
        """Whose call it is: the parts of the caller that stay the same over a conversation."""

    @property
    def memory(self) -> Memory:
        """What MCP servers showed and models asked for."""

    def approved(self, ticket: str) -> bool:
        """True when a person allowed the call this ticket is for, and it was not made yet."""

    def findings(self, text: str, zone: Zone) -> Sequence[Finding]:
        """What the detectors find in ``text``: sorted, memoised by the owner."""

    def seal(self, type_name: str, value: str) -> str:
        """The placeholder that stands for ``value`` towards this caller's destinations."""

    def digest(self, type_name: str, value: str) -> str:
        """A keyed hash of ``value``: the same for the same value, useless without the key."""

    def restorer(self, nested: bool) -> ChannelScanner | None:
        """A scanner that puts originals back; None when this caller has no placeholder."""

    def scanner(self, types: Sequence[str], replace: Replace, channel: Channel) -> ChannelScanner:
        """A scanner for a channel, by its zone; ``replace``'s text stands for what it finds."""

    def canary(self, host: str) -> str:
        """The marker planted in this caller's system prompts to ``host``."""

    def learn(self, type_name: str, value: str, zone: Zone) -> None:
        """Remember, as a keyed hash, that this caller's conversation has ``value``."""

    def knows(self, value: str) -> bool:
        """True when this caller's conversation has ``value``, and the user did not give it."""

    def estimate(self, call: Call, exact: bool = False) -> Estimate:
        """What this call is expected to use; ``exact``: its texts counted where they can be."""
