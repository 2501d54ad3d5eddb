"""The words of a refusal: which rule, why, what to do. Never what was found."""

from __future__ import annotations

import math
from typing import Any

from penstock.meter.quotas import PARALLEL, Exceeded
from penstock.policy.call import Call
from penstock.policy.policy import Rule
from penstock.policy.rules.tools import Tools
from penstock.wire.family import Refusal

DAY_SECONDS = 86_400


def text(rule_id: str, why: str, what_to_do: str | None) -> str:
    """One paragraph for the caller."""
    return f"Refused by policy rule '{rule_id}': {why}." + (f" {what_to_do}" if what_to_do else "")


def policy_refusal(rule: Rule[Any], why: str, call: Call, hidden: bool = False) -> Refusal:
    """403 in the API's own shape; an MCP call is answered in the form its rule chose.

    ``hidden``: as if the thing that was asked for did not exist, whatever the rule chose.
    """
    form = rule.act.refuse if isinstance(rule.act, Tools) else ""
    message = text(rule.id, why, rule.message)
    return Refusal(
        403,
        "policy_denied",
        message,
        rule.id,
        call.id,
        form="hidden" if hidden else form,
        call=call.exchange.mcp,
    )


def limit_refusal(rule: Rule[Any], exceeded: Exceeded, call: Call) -> Refusal:
    """429 with the real waiting time."""
    budget = rule.act.every_seconds >= DAY_SECONDS or rule.act.unit == "usd"
    code = "insufficient_quota" if budget else "rate_limit_exceeded"
    message = text(rule.id, limit_words(rule, exceeded), rule.message)
    return Refusal(
        429,
        code,
        message,
        rule.id,
        call.id,
        retry_after_seconds=exceeded.retry_after_seconds,
        call=call.exchange.mcp,
    )


def limit_words(rule: Rule[Any], exceeded: Exceeded) -> str:
    """Which limit, and whether waiting helps."""
    act = rule.act
    limit = exceeded.limit if exceeded.rule == rule.id else act.amount
    if act.unit == PARALLEL:
        return f"{limit} calls at the same time are running, the most that may"
    allowed = f"{limit} {act.unit} "
    allowed += f"per {duration(act.every_seconds)}" if act.burst is None else "at once"
    if exceeded.unavailable:
        return (
            f"the store of shared limits cannot be reached, so the limit of {allowed} cannot hold"
        )
    if not exceeded.fits:
        return f"this call alone is larger than the limit of {allowed}"
    wait = roughly(exceeded.retry_after_seconds)
    return f"the limit of {allowed} is used up; free again in {wait}"


def roughly(seconds: float) -> str:
    """A waiting time for people: two units at most, rounded up."""
    left, parts = max(1, math.ceil(seconds)), []
    for letter, size in (("d", DAY_SECONDS), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {letter}")
            left %= size
    return " ".join(parts[:2])


def duration(seconds: int) -> str:
    """``3600`` -> ``1h``: the largest unit that divides it, as policies write it."""
    for letter, size in (("d", DAY_SECONDS), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"
