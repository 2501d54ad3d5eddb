"""What a decided tool call takes along: a person's yes, a model's wish; or the ticket it leaves.

Each yes and each wish is good for one call. Both are used up here, at the moment of acting,
so that deciding stays without effects.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from penstock.mcp.approvals import LIFE_SECONDS, Approval, Held
from penstock.mcp.causes import traced
from penstock.policy.decision import Reason, Yes
from penstock.policy.grants import asker, besides
from penstock.policy.refusals import policy_refusal, text
from penstock.policy.rules.tools import server_url
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import CallKey, Governance
from penstock.wire.loose import as_dict

CANCELLED = "notifications/cancelled"
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
    if decision.yes is not None and not use_up(governance, live, decision.yes):
        return
    causes, who = governance.memory.causes, asker(live.call.caller)
    wish = causes.wish(who, mcp.tool, take=True)
    if wish is not None and wish.cause is not None:
        live.cause = wish.cause
        if wish.use_id:
            parent = live.request.headers.get("traceparent") or mcp.trace_parent
            causes.came_from(who, wish.use_id, traced(live.call.id, parent, wish.cause))


def use_up(governance: Governance, live: LiveCall, yes: Yes) -> bool:
    """Take the yes the decision stands on; without it the call is refused after all.

    Another call, perhaps of another process, may have been made with it since the decision.
    """
    used = governance.approvals.use(yes.ticket)
    if used is not None:
        live.approval = used
        return True
    why = "the approval was used by another call"
    decision = live.decision
    decision.verdict = decision.would = "deny"
    decision.reasons.append(Reason(yes.rule.id, "tools", "deny", why))
    decision.refusal = policy_refusal(yes.rule, why, live.call)
    return False


async def hold(governance: Governance, live: LiveCall, gone: Callable[[], bool]) -> bool:
    """Wait for a person where that is all the call lacks; True when it is to be decided again.

    Else the decision stands: refused with the ticket, or because the person said no.
    """
    decision = live.decision
    put_up(governance, live)
    key = _call_key(live, live.call.exchange.mcp.ids[0] if live.call.exchange.mcp else None)
    # Others may wait under the same key: without sessions, ids are unique to a client only.
    held = Held(decision.ticket)
    waiting = governance.waiting.setdefault(key, [])
    waiting.append(held)

    def over() -> bool:
        return gone() or held.cancelled

    try:
        answer = await governance.approvals.wait(decision.ticket, decision.hold_seconds, over)
    finally:
        waiting.remove(held)
        if not waiting:
            governance.waiting.pop(key, None)
    decision.hold_seconds = 0
    if over():
        return False  # whoever comes back with the same call finds the person's answer
    if answer == "denied" and decision.refusal is not None:
        live.approval = governance.approvals.get(decision.ticket)
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
            for held in governance.waiting.get(_call_key(live, ident), ()):
                held.cancelled = True
                governance.approvals.wake(held.ticket)


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
    arguments = mcp.arguments if isinstance(mcp.arguments, dict) else {}
    names = [*sorted(arguments), *sorted(besides(live.call.exchange.document))]

    def shown(name: str | None) -> str:
        known = name or ""
        hide = len(known) > NAME_CHARACTERS_MAX or governance.quick.scan(known)
        return "(not shown)" if hide else known

    return Approval(
        ticket=live.decision.ticket,
        server=shown(server_url(live.call)),
        tool=shown(mcp.tool),
        arguments=tuple(shown(name) for name in names[:NAMES_MAX]),
        caller=shown(caller.user or caller.agent or caller.workload.name),
        rule=rule,
        until=time.time() + LIFE_SECONDS,
    )
