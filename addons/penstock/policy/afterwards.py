"""What can be told of a streamed answer only when it is over: it has left, nobody can act."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.detect.answers.toxicity import TOXICITY
from penstock.exchange import Finding, matches_type
from penstock.policy.answer import about
from penstock.policy.call import Call
from penstock.policy.content import looks_at, wants
from penstock.policy.decision import Decision, Located, Reason
from penstock.policy.judge import Judge, note
from penstock.policy.leaks import leaks_of
from penstock.policy.policy import Policy
from penstock.policy.state import State


def tell_afterwards(
    policy: Policy, call: Call, state: State, now: float, decision: Decision
) -> None:
    """Add to the decision what the whole answer shows: that its model wavered, its tone."""
    found = list(_found(policy, call, state))
    if not found:
        return
    rules = Judge(policy, call, state, now).applying(policy.content_rules)
    reading = [r for r in rules if looks_at(r, "assistant", "response") and about(r, call)]
    for finding in found:
        for rule in reading:
            if wants(rule, finding):
                why = f"{finding.type} found in the answer, which has left"
                reason = Reason(rule.id, rule.verb, "deny", why, enforced=False)
                if reason not in decision.reasons:
                    note(decision, reason)
        decision.findings.append(Located(finding, "assistant", (), "response"))


def _found(policy: Policy, call: Call, state: State) -> Iterator[Finding]:
    leaks = leaks_of(policy.call_types, call, state)
    unsure = leaks.uncertainty() if leaks is not None else None
    if unsure is not None:
        yield unsure
    answer = call.exchange.answer
    if policy.asks_for_tone and answer is not None:
        for message in answer.messages:
            for finding in state.findings(message.text(), "assistant"):
                if matches_type((TOXICITY,), finding.type):
                    yield finding
