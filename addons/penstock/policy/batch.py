"""Batches (2025-03-26): every message is judged as a call of its own, and answered by itself.

A batch is made whole or not at all. Where one of its calls is refused the others are told so,
each under its own id, and may be made again: half of a batch could be what makes the other half
harmful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.policy.call import Call
from penstock.policy.decision import Decision
from penstock.wire.family import Refusal
from penstock.wire.jsonrpc.calls import message_call

NOT_MADE = "Not made: another call of the same batch was refused. Make this one by itself."
SENT_ALONE = "such a call has to be sent by itself, not in a batch"


def single_calls(call: Call) -> list[Call]:
    """The calls of a batch; the call itself where it is no batch of several."""
    exchange = call.exchange
    whole, document = exchange.mcp, exchange.document
    if whole is None or not whole.batch or not isinstance(document, list) or len(document) < 2:
        return [call]
    singles = []
    for index, message in enumerate(document):
        read = message_call(message, whole)
        read.provider, read.api = exchange.provider, exchange.api
        read.leaves = [leaf for leaf in exchange.leaves if leaf.path[:1] == (index,)]
        if index == 0:
            read.leaves += [leaf for leaf in exchange.leaves if leaf.path[:1] == ("headers",)]
        singles.append(replace(call, exchange=read))
    return singles


def together(call: Call, singles: Sequence[Call], decisions: Sequence[Decision]) -> Decision:
    """One decision about a batch of those about its calls."""
    whole = decisions[0]
    refused = next((one.refusal for one in decisions if one.refusal is not None), None)
    for one in decisions[1:]:
        whole.reasons += [reason for reason in one.reasons if reason not in whole.reasons]
        whole.edits += one.edits
        whole.findings += one.findings
        whole.reservations += one.reservations
        whole.pending += one.pending
        whole.failures += one.failures
        whole.credential = whole.credential or one.credential
        for name in ("verdict", "would"):
            if _rank(getattr(one, name)) > _rank(getattr(whole, name)):
                setattr(whole, name, getattr(one, name))
    whole.ticket, whole.hold_seconds = "", 0
    if refused is None:
        return whole
    whole.edits.clear()
    parts = [
        one.refusal
        or Refusal(403, "not_made", NOT_MADE, refused.rule, call.id, call=single.exchange.mcp)
        for single, one in zip(singles, decisions, strict=True)
    ]
    whole.refusal = replace(refused, call=call.exchange.mcp, parts=tuple(parts))
    return whole


def _rank(verdict: str) -> int:
    return ("allow", "edit", "hold", "deny").index(verdict)
