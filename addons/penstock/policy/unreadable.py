"""Calls that cannot be judged as a whole: refused where a rule looks into what they say.

What is judged must be what is sent: a body nobody can read, or that two parsers read
differently, is not let through unjudged. The same for the proxy, policy tests and replay.
"""

from __future__ import annotations

from penstock.policy.call import Call
from penstock.policy.decide import decide
from penstock.policy.decision import Decision, Reason
from penstock.policy.files import look_into_files
from penstock.policy.policy import Policy
from penstock.policy.state import State
from penstock.wire.family import Refusal
from penstock.wire.jsonrpc.refusal import problem_refusal

UNREADABLE = "penstock.unreadable"  # stands where a rule's id does


def decide_as_read(
    policy: Policy, call: Call, body: bytes, problem: str | None, state: State, now: float
) -> Decision:
    """``decide`` about a call that was read from ``body``; ``problem``: why it could not be."""
    if problem is None and not is_ai(policy, call):
        # Where it may go is the policy's; what it says is not AI and none of our business.
        call.exchange.leaves, call.exchange.problem = [], None
    why = unread(policy, call, problem or look_into_files(policy, call, body))
    return decide(policy, call, state, now) if why is None else refused_unread(policy, call, why)


def is_ai(policy: Policy, call: Call) -> bool:
    """AI by catalogue, by a rule that names the host, or by the shape of the call."""
    where = call.destination
    if where.category != "other" or not call.exchange.api.startswith("unknown"):
        return True
    return policy.names(where.host, where.port)


def unread(policy: Policy, call: Call, problem: str | None) -> str | None:
    """Why the call cannot be judged as a whole, None when it can or nobody asks."""
    if not policy.looks_into_calls:
        return None
    if problem is not None:
        return f"The request body cannot be inspected: {problem}."
    if call.exchange.problem is not None:
        return f"The request body is ambiguous: {call.exchange.problem}."
    return None


def refused_unread(policy: Policy, call: Call, why: str) -> Decision:
    """The decision about such a call: refused, unless the policy lets what fails go on."""
    enforced = policy.mode == "enforce" and policy.on_error == "deny"
    decision = refused(call, UNREADABLE, why, enforced)
    decision.policy_hash = policy.hash
    return decision


def refused(call: Call, rule: str, message: str, enforced: bool) -> Decision:
    """A denial by Penstock itself, in the words of a Decision."""
    decision = Decision(verdict="deny" if enforced else "allow", would="deny")
    decision.reasons.append(Reason(rule, "deny", "deny", message, enforced))
    exchange = call.exchange
    if enforced and exchange.mcp is not None and exchange.problem is not None:
        decision.refusal = problem_refusal(exchange, rule, call.id)
    elif enforced:
        decision.refusal = Refusal(403, "policy_denied", message, rule, call.id, call=exchange.mcp)
    return decision
