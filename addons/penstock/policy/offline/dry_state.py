"""A State without a proxy around it: for policy tests and replay.

Detection, placeholders and limits are the real ones; the keys are fixed, so that the same
call gives the same decision on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from penstock.detect import Detectors
from penstock.detect.leakage.canary import Canaries
from penstock.detect.leakage.conversation import Conversations
from penstock.detect.placeholders import Vault
from penstock.detect.stream import scanner as stream_scanner
from penstock.exchange import Finding, Zone
from penstock.mcp.memory import Memory
from penstock.meter.estimator import Estimator, output_cap
from penstock.meter.quotas import Quotas
from penstock.policy.call import Call
from penstock.policy.policy import Policy
from penstock.policy.state import Estimate, Replace
from penstock.route.health import Board
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.family import Channel

if TYPE_CHECKING:
    from penstock.meter.counter import TokenCounter

KEY = b"penstock policy tests and replay"  # public: nothing made with it is a secret
CALLER = "dry"


@cache
def _counter() -> TokenCounter:
    """One for all sequences: a vocabulary takes a second to load."""
    from penstock.meter.counter import TokenCounter

    return TokenCounter(KEY)


class DryState:
    """``policy.state.State`` for one sequence of calls."""

    def __init__(self, policy: Policy) -> None:
        self.quotas = Quotas()
        self.memory = Memory()
        self.caller_key = CALLER
        self.board = Board()
        self._canaries = Canaries(KEY)
        self._conversations = Conversations(KEY)
        self._detectors = Detectors(policy.finding_types, policy.own_probes(self._canaries))
        self._vault = Vault(KEY)
        self._estimator = Estimator()
        self.expected: Estimate | None = None  # what the next call is said to use

    def approved(self, ticket: str) -> bool:
        return False  # nobody is there to say yes

    def findings(self, text: str, zone: Zone) -> Sequence[Finding]:
        return self._detectors.scan(text, zone)

    def seal(self, type_name: str, value: str) -> str:
        return self._vault.seal(type_name, value, CALLER)

    def digest(self, type_name: str, value: str) -> str:
        return blake2b(f"{type_name}\x1f{value}".encode(), digest_size=8, key=KEY).hexdigest()

    def restorer(self, nested: bool) -> ChannelScanner | None:
        return self._vault.restorer(CALLER, nested) if self._vault.holds(CALLER) else None

    def scanner(self, types: Sequence[str], replace: Replace, channel: Channel) -> ChannelScanner:
        return stream_scanner(self._detectors, types, replace, channel.nested, channel.zone)

    def canary(self, host: str) -> str:
        return self._canaries.of(CALLER, host)

    def learn(self, type_name: str, value: str, zone: Zone) -> None:
        self._conversations.learn(CALLER, type_name, value, zone)

    def knows(self, value: str) -> bool:
        return self._conversations.knows(CALLER, value)

    def estimate(self, call: Call, exact: bool = False) -> Estimate:
        if self.expected is not None:
            return self.expected
        exchange = call.exchange
        expected = self._estimator.estimate(
            CALLER,
            exchange.model or "",
            call.body_bytes,
            output_cap(exchange.parameters),
            call.media,
            _counter().count(exchange, worker=True) if exact else None,
        )
        return Estimate(expected.input_tokens, expected.output_tokens)
