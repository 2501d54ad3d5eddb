"""Judge a whole answer: decode, read, decide; say what body has to leave instead.

Used for buffered answers, and for those that were announced as a stream and turned out
to be one document.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from penstock.exchange import HttpAnswer
from penstock.mcp import judge_document
from penstock.mcp.definitions import Digests
from penstock.policy.decide import decide_answer
from penstock.policy.decision import Decision
from penstock.policy.unreadable import UNREADABLE, refused
from penstock.proxy.call import LiveCall
from penstock.proxy.capture import UninspectableError, decoded_body
from penstock.proxy.governance import Governance
from penstock.proxy.worth_judging import worth_judging
from penstock.wire import edits
from penstock.wire.jsonrpc.calls import MessageLeaves


@dataclass(slots=True, frozen=True)
class Judged:
    """``refusal`` replaces the answer, ``body`` its (now uncoded) body; both None: as it came."""

    refusal: HttpAnswer | None = None
    body: bytes | None = None


AS_IT_CAME = Judged()


def judge(
    governance: Governance, live: LiveCall, status: int, headers: dict[str, str], raw: bytes
) -> Judged:
    """Read the answer into the exchange and apply the policy to it."""
    try:
        answer = HttpAnswer(status, headers, decoded_body(headers, raw))
    except UninspectableError as error:
        return unread(governance, live, str(error))
    leaves = live.family.read_answer(live.call.exchange, answer)
    began = time.perf_counter()
    state = governance.state_for(live.call.caller)
    digests = None
    if isinstance(leaves, MessageLeaves):
        digests = Digests(governance.memo.digest, leaves)
        leaves = worth_judging(governance, state, leaves, digests)
    decision = decide_answer(governance.policy, live.call, leaves, state, time.time())
    live.check_seconds += time.perf_counter() - began
    live.answer_decision = decision
    if decision.verdict == "deny":
        return refuse(live, decision)
    body = edits.apply(answer.body, decision.edits) if decision.edits else answer.body
    if live.mcp_answer is not None:
        body, verdict = judge_document(
            body, live.mcp_answer, live.call.exchange.mcp, None if decision.edits else digests
        )
        if verdict is not None:
            decision.verdict, decision.refusal = "deny", verdict.refusal
            if body.startswith(b"["):  # a batch, of which other answers may leave
                live.outcome = "refused"
                return Judged(body=body)
            return refuse(live, decision)
    live.answer_edits = len(decision.edits)
    return Judged(body=body) if body != answer.body else AS_IT_CAME


def unread(governance: Governance, live: LiveCall, why: str) -> Judged:
    """An answer nobody can read: refused where a rule had to look into it."""
    if not live.may_change_answer:
        return AS_IT_CAME
    policy = governance.policy
    enforced = policy.mode == "enforce" and policy.on_error == "deny"
    message = f"The answer cannot be inspected: {why}."
    live.answer_decision = refused(live.call, UNREADABLE, message, enforced)
    return refuse(live, live.answer_decision) if enforced else AS_IT_CAME


def refuse(live: LiveCall, decision: Decision) -> Judged:
    assert decision.refusal is not None  # a denial carries its refusal
    live.outcome = "refused"
    answer = live.family.refusal(decision.refusal)
    live.status = answer.status
    return Judged(refusal=answer)
