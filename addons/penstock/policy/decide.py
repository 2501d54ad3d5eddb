"""The policy engine: ``decide`` and ``decide_answer``, pure.

Every matching deny refuses; where an allow rule covers a kind of destination, what no
allow rule admits is refused; edits add up; all limits hold together or the call is not
made. The order of rules never matters. Rules in observe or shadow mode are judged alike
and change nothing: they only appear in ``reasons`` and ``would``.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.exchange import Leaf
from penstock.policy.batch import single_calls, together
from penstock.policy.call import Call
from penstock.policy.credentials import choose_credential
from penstock.policy.decision import Decision
from penstock.policy.judge import Judge
from penstock.policy.limits import take_limits
from penstock.policy.policy import Policy
from penstock.policy.routes import choose_route, first_place
from penstock.policy.state import State


def decide(policy: Policy, call: Call, state: State, now: float) -> Decision:
    """The verdict on a request. ``now`` is seconds since the epoch.

    The only effect is on ``state.quotas``: room is reserved when nothing refuses the call;
    the reservations are in the Decision and have to be settled or released. With ``pending``
    claims it is not complete: ask the store, then ``decide_limits``.
    """
    singles = single_calls(call) if is_batch(call) else [call]
    if len(singles) > 1:
        return together(call, singles, [_decide(policy, one, state, now) for one in singles])
    return _decide(policy, call, state, now)


def _decide(policy: Policy, call: Call, state: State, now: float) -> Decision:
    judge = Judge(policy, call, state, now)
    if policy.credentials:
        choose_credential(judge, policy.credentials, call)
    if policy.routes:
        choose_route(judge)
    judge.destinations()
    judge.tools()
    if policy.content_rules and judge.reads_content():
        judge.content(judge.applying(policy.content_rules), call.exchange.leaves, "request")
    if policy.canaries:
        judge.plant()
    if policy.confines:
        judge.confinement()
    limits(judge)
    if judge.decision.verdict == "deny":
        judge.decision.route = None
        judge.hold()
    return judge.decision


def decide_limits(policy: Policy, call: Call, decision: Decision, state: State, now: float) -> None:
    """Complete a decision whose ``pending`` claims were asked about."""
    decision.pending.clear()
    for one in single_calls(call) if is_batch(call) else [call]:
        judge = Judge(policy, one, state, now)
        judge.decision = decision
        limits(judge, asked=True)
    if decision.verdict == "deny":
        decision.route = None


def decide_answer(
    policy: Policy, call: Call, leaves: Sequence[Leaf], state: State, now: float
) -> Decision:
    """The verdict on a plain answer: response rules, and placeholders put back."""
    judge = Judge(policy, call, state, now)
    if policy.reads_answers:
        judge.content(judge.applying(policy.content_rules), leaves, "response")
    judge.restore(leaves)
    return judge.decision


def limits(judge: Judge, asked: bool = False) -> None:
    """Take what the call needs of every limit, counted for the place that will serve it."""
    if judge.decision.route is not None:
        judge.call, judge.context = first_place(judge.call, judge.decision.route), None
        judge.leaves = False
    take_limits(judge, asked)


def is_batch(call: Call) -> bool:
    """True for a body of several messages."""
    return call.exchange.mcp is not None and call.exchange.mcp.batch
