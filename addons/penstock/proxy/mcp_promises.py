"""What a decided tool call takes along: a person's yes, a model's wish; or the ticket it leaves.

Each yes and each wish is good for one call. Both are used up here, at the moment of acting,
so that deciding stays without effects.
"""

from __future__ import annotations

import time

from penstock.mcp.approvals import LIFE_SECONDS, Approval
from penstock.policy.decision import Reason
from penstock.policy.grants import asker, ticket_of
from penstock.policy.refusals import policy_refusal
from penstock.policy.rules.tools import server_url
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import Governance, caller_key

NAMES_MAX = 20  # argument names a person is shown


def keep_promises(governance: Governance, live: LiveCall) -> None:
    """Use up what allowed the call; put the ticket up of one that waits for a person."""
    mcp, decision = live.call.exchange.mcp, live.decision
    assert mcp is not None and mcp.tool is not None  # asked for tool calls
    if decision.verdict == "deny":
        mcp.notes += [one.message for one in decision.reasons if one.verb == "tools"]
        if decision.ticket and decision.refusal is not None:
            governance.approvals.ask(approval(governance, live, decision.refusal.rule))
        return
    policy, url = governance.policy, server_url(live.call)
    for rule in policy.tools:
        act = rule.act
        asks = act.approve is not None and act.approve.match(mcp.tool) and act.speaks_of(url)
        if not asks or not rule.enforced:
            continue
        key = caller_key(live.call.caller)
        ticket = ticket_of(live.call, mcp, key, policy.hash)
        if governance.approvals.approved(ticket) and not governance.approvals.use(ticket):
            why = "the approval was used by another call"
            decision.verdict = decision.would = "deny"
            decision.reasons.append(Reason(rule.id, "tools", "deny", why))
            decision.refusal = policy_refusal(rule, why, live.call)
            return
    governance.memory.was_asked(asker(live.call.caller), mcp.tool, take=True)


def approval(governance: Governance, live: LiveCall, rule: str) -> Approval:
    """What a person is shown about the call."""
    caller, mcp = live.call.caller, live.call.exchange.mcp
    assert mcp is not None  # see keep_promises
    names = mcp.arguments if isinstance(mcp.arguments, dict) else {}
    return Approval(
        ticket=live.decision.ticket,
        server=server_url(live.call),
        tool=mcp.tool or "",
        arguments=tuple(sorted(names)[:NAMES_MAX]),
        caller=caller.user or caller.agent or caller.workload.name or "",
        rule=rule,
        until=time.time() + LIFE_SECONDS,
    )
