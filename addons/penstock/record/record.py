"""One Record per call: the only thing audit, telemetry, inventory and live page read.

It holds no prompt text and no secret: counts, types, names and keyed fingerprints only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from penstock.exchange import Caller, Destination, McpCall, Usage
from penstock.mcp.approvals import Approval
from penstock.policy.decision import Located, Reason, Verdict
from penstock.route.outcome import Attempt

Outcome = Literal["answered", "refused", "passed", "failed", "aborted", "cut", "tunnelled"]


@dataclass(slots=True)
class Record:
    """What happened in one call. Times are seconds since the epoch, durations seconds."""

    id: str
    time: float
    caller: Caller
    destination: Destination
    mode: str
    policy_hash: str
    method: str = ""
    path: str = ""  # without query: keys travel there
    api: str | None = None
    operation: str | None = None
    model: str | None = None
    answer_model: str | None = None
    answer_id: str | None = None
    stream: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict)  # max_tokens, temperature...
    mcp: McpCall | None = None
    verdict: Verdict = "allow"
    would: Verdict = "allow"
    reasons: list[Reason] = field(default_factory=list)
    findings: list[Located] = field(default_factory=list)
    edits: int = 0
    restored: int = 0  # placeholders put back into the answer
    outcome: Outcome = "answered"
    status: int | None = None
    error_type: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    tool_calls: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None  # None: unpriced, never 0 for unknown
    price_source: str | None = None
    limits: list[Mapping[str, object]] = field(default_factory=list)
    retry_count: int = 0  # x-stainless-retry-count
    request_bytes: int = 0
    answer_bytes: int = 0
    duration_seconds: float = 0.0
    first_byte_seconds: float | None = None
    own_seconds: float = 0.0  # time spent in our code, checks included
    check_seconds: float = 0.0  # of it, in detection and policy
    attempts: list[Attempt] = field(default_factory=list)  # of a routed call, in order
    routed_from: str | None = None  # the host a routed call was meant for
    failure: Literal["", "failed_open", "failed_closed"] = ""  # a rule or hook raised
    failure_reason: str | None = None
    trace_parent: str | None = None  # W3C traceparent of the caller's request
    trace_id: str | None = None  # one for a model's wish, the tool call, and what follows
    approval: Approval | None = None  # what a person said to the call, and who
    caused_by: str | None = None  # the id of the call this one is the consequence of
