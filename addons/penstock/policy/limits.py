"""The limits' part of a decision: reserve in all that match, or say which one refuses.

What a rule does when its limit is reached is its ``on_exceed``: refuse (finish, cut), let
the call through in debt (warn), or send it to another model (downgrade).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.exchange import Leaf
from penstock.meter.quotas import Claim, Exceeded, Reservation
from penstock.policy.judge import Judge
from penstock.policy.policy import Rule
from penstock.policy.refusals import limit_refusal, limit_words
from penstock.policy.state import Estimate
from penstock.wire.edits import Edit

Claims = list[tuple[Rule[Any], Claim]]


def take_limits(judge: Judge, asked: bool) -> None:
    """Reserve room in every limit that matches, all together, unless already refused.

    Where a shared limit has to be asked about first, nothing is reserved and the decision's
    ``pending`` names the claims; ``asked`` says that this was done.
    """
    if judge.decision.verdict == "deny" or not judge.policy.limits:
        return  # nothing is reserved for a call that will not be made
    claims = claims_of(judge)
    if judge.decision.refusal is not None:  # a condition could not be evaluated
        return
    every = [claim for _, claim in claims]
    if not asked and judge.state.quotas.short(judge.now, every):
        judge.decision.pending = every
        return
    reserve(judge, [(rule, claim) for rule, claim in claims if rule.enforced], ())
    for rule, claim in claims:
        if not rule.enforced:
            reserve(judge, [(rule, claim)], ())


def claims_of(judge: Judge) -> Claims:
    """What the call takes from each limit that applies to it."""
    estimates: dict[bool, Estimate] = {}

    def estimate(exact: bool) -> Estimate:
        if exact not in estimates:
            estimates[exact] = judge.state.estimate(judge.call, exact)
        return estimates[exact]

    rules = judge.applying(judge.policy.limits)
    return [(rule, c) for rule in rules if (c := rule.act.claim(rule.id, judge.call, estimate))]


def reserve(judge: Judge, claims: Claims, in_debt: tuple[Claim, ...]) -> None:
    """Reserve for ``claims`` together. Those like ``in_debt`` were exceeded before and may be."""
    lenient = [one for one in claims if any(like(one[1], debt) for debt in in_debt)]
    strict = [one for one in claims if one not in lenient]
    quotas = judge.state.quotas
    while strict:
        answer = quotas.reserve(judge.now, [claim for _, claim in strict])
        if isinstance(answer, Reservation):
            judge.decision.reservations.append(answer)
            break
        over = [one for one in strict if one[1].rule in answer.rules]
        moving = [one for one in over if not in_debt and can_downgrade(judge, one[0])]
        if moving:
            downgrade(judge, *moving[0], answer)
            return
        refusing = [rule for rule, _ in over if rule.act.on_exceed != "warn"]
        if refusing:
            worst = next((rule for rule in refusing if rule.id == answer.rule), refusing[0])
            refuse(judge, worst, answer)
            return
        for rule, _ in over:
            why = f"{limit_words(rule, answer)}; the call goes through"
            judge.note(rule.verb, rule.id, "allow", why, rule.enforced)
        strict = [one for one in strict if one not in over]
        lenient += over
    if lenient:
        forced = quotas.reserve(judge.now, [claim for _, claim in lenient], force=True)
        assert isinstance(forced, Reservation)  # force is never refused
        judge.decision.reservations.append(forced)


def refuse(judge: Judge, rule: Rule[Any], exceeded: Exceeded) -> None:
    """429, or what would have been one."""
    judge.note(rule.verb, rule.id, "deny", limit_words(rule, exceeded), rule.enforced)
    if rule.enforced and judge.decision.refusal is None:
        judge.decision.edits.clear()
        judge.decision.refusal = limit_refusal(rule, exceeded, judge.call)


def can_downgrade(judge: Judge, rule: Rule[Any]) -> bool:
    """True when the rule names another model and the call names its own in the body.

    APIs with the model in the path (Gemini, Bedrock, Azure) are refused instead.
    """
    document, model = judge.call.exchange.document, rule.act.model
    if model is None or not rule.enforced:
        return False
    named = document.get("model") if isinstance(document, dict) else None
    return isinstance(named, str) and named != model


def downgrade(judge: Judge, rule: Rule[Any], claim: Claim, exceeded: Exceeded) -> None:
    """Send the call to the rule's other model, if the policy allows that one.

    The limits are those of the other model; the one that was exceeded goes into debt where
    it does not tell models apart.
    """
    named = judge.call.exchange.document["model"]
    why = f"{limit_words(rule, exceeded)}; the model is {rule.act.model} instead"
    judge.note(rule.verb, rule.id, "edit", why, rule.enforced)
    judge.call = replace(judge.call, exchange=replace(judge.call.exchange, model=rule.act.model))
    judge.context = None
    judge.destinations()
    if judge.decision.verdict == "deny":
        return
    judge.decision.model = rule.act.model
    judge.decision.edits.append(Edit(Leaf(("model",), named), 0, len(named), rule.act.model))
    reserve(judge, [one for one in claims_of(judge) if one[0].enforced], (claim,))


def like(one: Claim, other: Claim) -> bool:
    """The same limit of the same scope."""
    return one.key == other.key and one.scope == other.scope
