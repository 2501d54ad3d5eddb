"""What a decided tool call takes along: a person's yes, a model's wish; or the ticket it leaves.

Each yes and each wish is good for one call. Both are used up here, at the moment of acting,
so that deciding stays without effects.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from penstock.mcp.approvals import LIFE_SECONDS, Approval
from penstock.mcp.causes import traced
from penstock.policy.decision import Reason
from penstock.policy.grants import asker, ticket_of
from penstock.policy.refusals import policy_refusal, text
from penstock.policy.rules.tools import server_url
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import Governance
from penstock.wire.loose import as_dict

CANCELLED = "notifications/cancelled"
CallKey = tuple[str, str, str, str]
NAMES_MAX = 20  # argument names a person is shown
NAME_CHARACTERS_MAX = 200  # longer ones are no names


def keep_promises(governance: Governance, live: LiveCall) -> None:
    """Use up what allowed the call; put the ticket up of one that waits for a person."""
    mcp, decision = live.call.exchange.mcp, live.decision
    assert mcp is not None and mcp.tool is not None  # asked for tool calls
    if decision.verdict == "deny":
        mcp.notes += [one.message for one in decision.reasons if one.verb == "tools"]
        if decision.ticket:
            put_up(governance, live)
        return
    policy, url = governance.policy, server_url(live.call)
    for rule in policy.tools:
        act = rule.act
        asks = act.approve is not None and act.approve.match(mcp.tool) and act.speaks_of(url)
        if not asks or not rule.enforced:
            continue
        ticket = ticket_of(live.call, mcp, governance.state_for(live.call.caller), policy.hash)
        if governance.approvals.approved(ticket) and not governance.approvals.use(ticket):
            why = "the approval was used by another call"
            decision.verdict = decision.would = "deny"
            decision.reasons.append(Reason(rule.id, "tools", "deny", why))
            decision.refusal = policy_refusal(rule, why, live.call)
            return
    causes, who = governance.memory.causes, asker(live.call.caller)
    wish = causes.wish(who, mcp.tool, take=True)
    if wish is not None and wish.cause is not None:
        live.cause = wish.cause
        if wish.use_id:
            parent = live.request.headers.get("traceparent") or mcp.trace_parent
            causes.came_from(who, wish.use_id, traced(live.call.id, parent, wish.cause))


async def hold(governance: Governance, live: LiveCall, gone: Callable[[], bool]) -> bool:
    """Wait for a person where that is all the call lacks; True when it is to be decided again.

    Else the decision stands: refused with the ticket, or because the person said no.
    """
    decision = live.decision
    put_up(governance, live)
    key = _call_key(live, live.call.exchange.mcp.ids[0] if live.call.exchange.mcp else None)
    governance.waiting.add(key)

    def over() -> bool:
        return gone() or key not in governance.waiting

    answer = await governance.approvals.wait(decision.ticket, decision.hold_seconds, over)
    decision.hold_seconds = 0
    left = over()
    governance.waiting.discard(key)
    if left:
        return False  # whoever comes back with the same call finds the person's answer
    if answer == "denied" and decision.refusal is not None:
        why = "a person was asked, and said no"
        decision.refusal = replace(decision.refusal, message=text(decision.refusal.rule, why, None))
    return answer == "approved"


def hear_cancelled(governance: Governance, live: LiveCall) -> None:
    """A client says that it does not wait any more: the call it held open is not made.

    In the session era this is a message of its own, and the connection stays.
    """
    mcp = live.call.exchange.mcp
    if governance.waiting and mcp is not None and CANCELLED in mcp.methods:
        params = as_dict(as_dict(live.call.exchange.document).get("params"))
        ident = params.get("requestId")
        if isinstance(ident, str | int):
            governance.waiting.discard(_call_key(live, ident))


def _call_key(live: LiveCall, ident: str | int | None) -> CallKey:
    """One request of one session of one caller; ids of different types are different."""
    mcp = live.call.exchange.mcp
    session = (mcp.session_id if mcp is not None else None) or ""
    named = f"{type(ident).__name__}:{ident}"
    return asker(live.call.caller), server_url(live.call), session, named


def put_up(governance: Governance, live: LiveCall) -> None:
    """Put the call's ticket up, and announce it where the policy says so."""
    if live.decision.refusal is None:
        return
    asked = approval(governance, live, live.decision.refusal.rule)
    if governance.approvals.ask(asked) and governance.announcer is not None:
        governance.announcer.announce(asked, governance.policy.hash)


def approval(governance: Governance, live: LiveCall, rule: str) -> Approval:
    """What a person is shown about the call: names, and of those none that holds a secret."""
    caller, mcp = live.call.caller, live.call.exchange.mcp
    assert mcp is not None  # see keep_promises
    names = mcp.arguments if isinstance(mcp.arguments, dict) else {}

    def shown(name: str | None) -> str:
        known = name or ""
        hide = len(known) > NAME_CHARACTERS_MAX or governance.quick.scan(known)
        return "(not shown)" if hide else known

    return Approval(
        ticket=live.decision.ticket,
        server=shown(server_url(live.call)),
        tool=shown(mcp.tool),
        arguments=tuple(shown(name) for name in sorted(names)[:NAMES_MAX]),
        caller=shown(caller.user or caller.agent or caller.workload.name),
        rule=rule,
        until=time.time() + LIFE_SECONDS,
    )
