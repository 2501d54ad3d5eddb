"""Watches a streamed answer grow, and ends it where a limit says ``on_exceed: cut``.

What the answer took so far is estimated from what it said (the provider reports at the
end), held in the limits beyond the call's reservation, and seen by all other calls at once.
"""

from __future__ import annotations

import time

from penstock.exchange import Usage
from penstock.meter.windows import Amount
from penstock.policy.policy import Policy
from penstock.policy.refusals import text
from penstock.proxy.addons.settle import BYTES_PER_TOKEN
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import Governance, caller_key
from penstock.wire.family import Channel, Refusal

# How much an answer grows between two looks at the limits: some 60 tokens.
STEP_BYTES = 256


class Cut:
    """One answer's meter. ``exceeded`` after each chunk; a Refusal ends the stream."""

    def __init__(self, governance: Governance, live: LiveCall) -> None:
        self.governance = governance
        self.live = live
        self.said = self.looked_at = 0
        call = live.call
        expected = governance.estimator.estimate(
            caller_key(call.caller), call.exchange.model or "", call.body_bytes, None, call.media
        )
        self.input_tokens = expected.input_tokens

    def hear(self, size: int) -> None:
        """The answer has grown by so many bytes of UTF-8: what the settlement counts, too."""
        self.said += size

    def exceeded(self) -> Refusal | None:
        """The refusal of the limit that is spent now, None while there is room."""
        if self.said - self.looked_at < STEP_BYTES:
            return None
        self.looked_at = self.said
        seen, now = self.seen(self.said // BYTES_PER_TOKEN), time.time()
        for reservation in self.live.decision.reservations:
            for claim in self.governance.quotas.grow(now, reservation, seen):
                if claim.rule in self.live.cuts:
                    why = f"the limit of {claim.limit} {claim.unit} was reached in this answer"
                    message = text(claim.rule, why, None)
                    return Refusal(
                        429, "insufficient_quota", message, claim.rule, self.live.call.id
                    )
        return None

    def seen(self, output_tokens: int) -> dict[str, Amount]:
        """What the call has taken so far, by unit; money only once prices are known."""
        seen: dict[str, Amount] = {
            "tokens": self.input_tokens + output_tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": output_tokens,
        }
        call, prices = self.live.call, self.governance.prices
        if prices.loaded:
            usage = Usage(input_total=self.input_tokens, output_total=output_tokens)
            exchange = call.exchange
            price = prices.price(
                call.destination.provider, exchange.api, exchange.model, None, usage
            )
            if price.usd is not None:
                seen["usd"] = price.usd
        return seen


def cutting(policy: Policy, live: LiveCall) -> frozenset[str]:
    """The limits the call is under that end its answer when they are reached."""
    rules = {r.id for r in policy.limits if r.act.on_exceed == "cut" and r.enforced}
    held = (claim.rule for one in live.decision.reservations for claim in one.claims)
    return frozenset(rule for rule in held if rule in rules) if rules else frozenset()


def no_scanner(channel: Channel) -> None:
    """An answer that may be cut is read event by event, so that it ends between two."""
