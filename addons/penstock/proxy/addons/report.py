"""Addon Report: one Record per call, handed to everything that keeps one.

Runs last, after the answer or the failure, exactly once per call.
"""

from __future__ import annotations

import time

from mitmproxy import http

from penstock.exchange import Answer, Exchange
from penstock.mcp.causes import traced
from penstock.policy.decision import Decision
from penstock.policy.grants import asker
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.governance import Governance
from penstock.record.record import Record


class Report:
    """Makes and hands over the Record."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance

    def response(self, flow: http.HTTPFlow) -> None:
        self.report(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        self.report(flow)

    def report(self, flow: http.HTTPFlow) -> None:
        live = call_of(flow)
        if live is None or live.reported:
            return
        self.tell(live)

    def tell(self, live: LiveCall) -> None:
        """Hand over the Record; whoever looks at texts that have left begins with them now."""
        live.reported = True
        self.governance.recorder.record(self.record_of(live))
        self.governance.hindsight.look_at(live)

    def trace(self, live: LiveCall, record: Record) -> None:
        """Tie the call to the one it follows from, and note what will follow from it."""
        exchange, causes = live.call.exchange, self.governance.memory.causes
        mcp, who = exchange.mcp, ""
        if mcp is None and (back := results_in(exchange)):
            who = asker(live.call.caller)
            live.cause = causes.of_results(who, back)
        asked = asked_tools(exchange) if mcp is None and live.outcome == "answered" else []
        parent = record.trace_parent or (mcp.trace_parent if mcp is not None else None)
        if parent is None and live.cause is None and not asked:
            return
        here = traced(live.call.id, parent, live.cause)
        record.trace_parent, record.trace_id = here.trace_parent, here.trace_id
        record.caused_by = live.cause.call_id if live.cause is not None else None
        if asked:
            causes.model_asks(who or asker(live.call.caller), asked, here)

    def record_of(self, live: LiveCall) -> Record:
        call, exchange, decision = live.call, live.call.exchange, live.decision
        judged = live.answer_decision
        record = Record(
            id=call.id,
            time=live.started,
            caller=call.caller,
            destination=call.destination,
            mode=self.governance.policy.mode,
            policy_hash=decision.policy_hash,
            method=call.method,
            path=call.path,
            api=exchange.api,
            operation=exchange.operation,
            model=exchange.model,
            stream=live.streamed,
            parameters=exchange.parameters,
            mcp=exchange.mcp,
            verdict=decision.verdict,
            would=decision.would,
            reasons=list(decision.reasons),
            findings=list(decision.findings),
            edits=len(decision.edits) if decision.verdict == "edit" else 0,
            outcome=live.outcome,
            status=live.status,
            cost_usd=live.cost_usd,
            price_source=live.price_source,
            retry_count=retries(live.request.headers.get("x-stainless-retry-count", "")),
            request_bytes=len(live.request.body),
            answer_bytes=live.answer_bytes,
            duration_seconds=time.perf_counter() - live.began,
            first_byte_seconds=live.first_byte and live.first_byte - live.began,
            own_seconds=live.own_seconds,
            check_seconds=live.check_seconds,
            failure=live.failure,
            failure_reason=live.failure_reason,
            trace_parent=live.request.headers.get("traceparent"),
            approval=live.approval,
        )
        if live.attempts is not None:
            record.attempts, record.routed_from = live.attempts.rows, live.routed_from
        if exchange.answer is not None:
            tell_answer(record, exchange, exchange.answer)
        if judged is not None:
            record.edits += max(0, live.answer_edits - judged.restored)
        for said in (live.head_decision, judged):
            if said is not None:
                tell_verdict(record, said)
        failed = [*decision.failures, *(judged.failures if judged is not None else ())]
        if failed and not record.failure:
            record.failure = "failed_closed" if record.verdict == "deny" else "failed_open"
            record.failure_reason = failed[0]
        self.trace(live, record)
        return record


ORDER = ("allow", "edit", "hold", "deny")


def strictest[V: str](one: V, other: V) -> V:
    """The verdict that changes more."""
    return max(one, other, key=ORDER.index)


def tell_verdict(record: Record, said: Decision) -> None:
    """What was decided about the answer, or its headers."""
    record.verdict = strictest(record.verdict, said.verdict)
    record.would = strictest(record.would, said.would)
    record.reasons += said.reasons
    record.findings += said.findings
    record.restored += said.restored


def tell_answer(record: Record, exchange: Exchange, answer: Answer) -> None:
    """What is recorded of the answer itself."""
    record.answer_model, record.answer_id = answer.model, answer.id
    record.usage = answer.usage
    record.finish_reasons = [m.finish_reason for m in answer.messages if m.finish_reason]
    record.tool_calls = tool_calls(exchange)
    if answer.error is not None:
        record.error_type = answer.error.type or "_OTHER"


def tool_calls(exchange: Exchange) -> list[str]:
    """Names of the tools the answer asks for, in order."""
    assert exchange.answer is not None  # asked for answered calls only
    parts = (part for message in exchange.answer.messages for part in message.parts)
    return [part.name or "" for part in parts if part.kind == "tool_call"]


def asked_tools(exchange: Exchange) -> list[tuple[str, str | None]]:
    """The tools the answer asks for, each with the model's own id of that."""
    if exchange.answer is None:
        return []
    parts = (part for message in exchange.answer.messages for part in message.parts)
    return [(part.name or "", part.id) for part in parts if part.kind == "tool_call"]


def results_in(exchange: Exchange) -> list[str]:
    """The model's ids of the tool results that are new in a prompt: those at its end."""
    found: list[str] = []
    for message in reversed(exchange.messages):
        if message.role == "assistant":
            break
        found += [part.id for part in message.parts if part.kind == "tool_result" and part.id]
    return found


def retries(text: str) -> int:
    """The SDK's retry count (``x-stainless-retry-count``); 0 when absent or nonsense."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
