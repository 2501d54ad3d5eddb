"""One Record as one audit line: the names of the audit log's schema, in one place.

Empty and unknown fields are left out. Findings are counted by type, never located more
closely than by zone; rule messages are policy text and stay in the policy.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from penstock.detect.calls import CANDIDATE
from penstock.detect.hindsight.second_look import Late
from penstock.exchange import Caller, McpCall, Usage
from penstock.mcp.approvals import Approval
from penstock.record.record import Record
from penstock.route.outcome import Attempt

# Rules that spoke on one call. A policy of more matching rules is listed in part.
RULES_MAX = 50


def content_of(record: Record) -> bytes:
    """The Record as a JSON object, for ``Chain.line``."""
    return orjson.dumps({name: value for name, value in fields_of(record).items() if value})


def late_content(found: Late, now: float) -> bytes:
    """What was found in a text after it had left, linked to its call by ``id``."""
    row = {
        "type": CANDIDATE,
        "zone": found.zone,
        "direction": "request",
        "action": "none",
        "count": 1,
        "detector": found.detector,
        "begins": found.begins,
        "length": found.length,
        "remembered": found.remembered,
    }
    line = {"type": "late", "id": found.call_id, "time": timestamp(now), "findings": [row]}
    return orjson.dumps(line)


def fields_of(record: Record) -> dict[str, Any]:
    """The Record under the names of the schema (docs/audit.md); empty ones are left out later.

    At the top level a zero, False and an empty list are empty too.
    """
    destination, first_byte = record.destination, record.first_byte_seconds
    return {
        "type": "call",
        "id": record.id,
        "time": timestamp(record.time),
        "mode": record.mode,
        "policy": record.policy_hash,
        "caller": _caller(record.caller),
        "destination": _given(
            host=destination.host,
            port=destination.port,
            provider=destination.provider,
            category=destination.category,
        ),
        "method": record.method,
        "path": record.path,
        "api": record.api,
        "operation": record.operation,
        "model": record.model,
        "answer_model": record.answer_model,
        "answer_id": record.answer_id,
        "stream": record.stream,
        "mcp": _mcp(record.mcp) if record.mcp else None,
        "verdict": record.verdict,
        "would": record.would if record.would != record.verdict else None,
        "rules": _rules(record) if record.reasons else None,
        "findings": _findings(record) if record.findings else None,
        "edits": record.edits,
        "restored": record.restored,
        "outcome": record.outcome,
        "status": record.status,
        "error": record.error_type,
        "finish_reasons": record.finish_reasons,
        "tool_calls": record.tool_calls,
        "usage": _usage(record.usage),
        "cost_usd": None if record.cost_usd is None else format(record.cost_usd, "f"),
        "price_source": record.price_source,
        "limits": record.limits,
        "retry": record.retry_count,
        "bytes": {"request": record.request_bytes, "answer": record.answer_bytes},
        "seconds": _given(
            total=round(record.duration_seconds, 6),
            first_byte=None if first_byte is None else round(first_byte, 6),
            own=round(record.own_seconds, 6),
            check=round(record.check_seconds, 6),
        ),
        "routed_from": record.routed_from,
        "attempts": [_attempt(one) for one in record.attempts],
        "failure": record.failure,
        "failure_reason": record.failure_reason,
        "trace": record.trace_parent,
        "trace_id": record.trace_id,
        "caused_by": record.caused_by,
        "approval": _approval(record.approval) if record.approval else None,
    }


def timestamp(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC with milliseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=4)  # calls come many to a second, and formatting a date takes 5 µs
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _given(**values: Any) -> dict[str, Any]:
    """A nested object without its unknown fields; a zero is known."""
    return {name: value for name, value in values.items() if value is not None}


def _caller(caller: Caller) -> dict[str, Any]:
    workload, process = caller.workload, caller.process
    return _given(
        workload=workload.name,
        namespace=workload.namespace,
        pod=workload.pod,
        service_account=workload.service_account,
        team=caller.team,
        user=caller.user,
        spiffe=caller.spiffe,
        agent=caller.agent,
        session=caller.session,
        process=process.name if process else None,
        pid=process.pid if process else None,
        user_agent=caller.user_agent,
        credential=caller.credential,
    )


def _mcp(mcp: McpCall) -> dict[str, Any]:
    return _given(
        methods=mcp.methods or None,
        tool=mcp.tool,
        resource=mcp.resource_uri,
        prompt=mcp.prompt,
        version=mcp.protocol_version,
        client=mcp.client,
        server=mcp.server,
        tools_listed=mcp.tools_listed,
        error_code=mcp.rpc_error_code,
        is_error=mcp.is_error,
        notes=mcp.notes or None,
    )


def _approval(approval: Approval) -> dict[str, Any]:
    by = approval.by
    return _given(
        ticket=approval.ticket,
        answer=approval.standing,
        uid=by.uid if by else None,
        user=(by.user if by else None) or None,
        name=(by.name if by else None) or None,
        reason=(by.reason if by else None) or None,
    )


def _rules(record: Record) -> list[dict[str, Any]]:
    return [
        {"rule": one.rule, "verb": one.verb, "verdict": one.verdict, "enforced": one.enforced}
        for one in record.reasons[:RULES_MAX]
    ]


def _findings(record: Record) -> list[dict[str, Any]]:
    counted = Counter(
        (one.finding.type, one.zone, one.direction, one.action) for one in record.findings
    )
    return [
        {"type": kind, "zone": zone, "direction": direction, "action": action, "count": count}
        for (kind, zone, direction, action), count in counted.items()
    ]


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return _given(
        target=attempt.target,
        provider=attempt.provider,
        model=attempt.model,
        region=attempt.region,
        outcome=attempt.outcome,
        status=attempt.status,
        billed=attempt.billed,
        translated=attempt.translated,
        seconds=round(attempt.seconds, 6),
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return _given(
        input=usage.input_total if usage.input_total is not None else usage.input_tokens,
        output=usage.output_total if usage.output_total is not None else usage.output_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
        reasoning=usage.reasoning_tokens,
        estimated=usage.estimated or None,
    )
