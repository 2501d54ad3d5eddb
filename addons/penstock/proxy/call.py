"""One call while it is under way: what the addons of the stack hand to each other.

Made by Identify, decided by Govern, grown by Answer, closed by Settle, told by Report. It
lives in the flow's metadata and dies with the flow.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

from mitmproxy import http

from penstock.exchange import HttpRequest
from penstock.mcp.approvals import Approval
from penstock.mcp.causes import Cause
from penstock.policy.call import Call
from penstock.policy.decision import Decision
from penstock.policy.mcp_answer import McpAnswer
from penstock.proxy.engine.problem import CHECK_FAILED
from penstock.record.record import Outcome
from penstock.route.credentials.spec import IDENTITY, Spec
from penstock.route.outcome import Attempt
from penstock.wire.channels import ScannerFor
from penstock.wire.family import Family

if TYPE_CHECKING:
    from penstock.route.credentials.echoes import Echoes
    from penstock.route.translate.translation import Translation

KEY = "penstock"
FAILED = "penstock.failed"  # flow.metadata: a check failed before there was a LiveCall
Failed = Literal["failed_open", "failed_closed"]


class Asked(Protocol):
    """The targets a routed call was sent to, for its books (``proxy.attempts`` makes it)."""

    rows: list[Attempt]

    def close(self, outcome: str) -> None:
        """The call is over: ``outcome`` is the Record's."""


@dataclass(slots=True)
class LiveCall:
    """The state of one call. Times in ``began`` and ``first_byte`` are perf_counter seconds."""

    call: Call
    request: HttpRequest
    family: Family
    started: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)
    uninspectable: str | None = None  # why the body could not be read
    decision: Decision = field(default_factory=Decision)
    edited_body: bytes | None = None  # what leaves instead of the request's body
    answer_decision: Decision | None = None
    head_decision: Decision | None = None  # about the answer's headers
    scanner_for: ScannerFor | None = None  # what reads the answer's texts; None: nothing may change
    subject: str | None = field(default=None, repr=False)  # the token the caller proved itself by
    proved: bool = False  # the caller proved who it is
    echoes: Echoes | None = None  # the real key in use, which must not come back
    coding: str = ""  # content coding of the answer that was taken off because of it
    cause: Cause | None = None  # the call this one is the consequence of
    approval: Approval | None = None  # what a person said to it
    mcp_answer: McpAnswer | None = None  # what of an MCP answer may be shown
    hides_usage_chunk: bool = False  # we asked for it, the caller did not
    watches: bool = False  # the scanners only look, whatever they find
    cuts: frozenset[str] = frozenset()  # limits that end the answer when they are reached
    attempts: Asked | None = None  # of a routed call: which targets were asked
    routed_from: str | None = None  # the host the caller meant
    translation: Translation | None = (
        None  # of the attempt under way: its answer is another format's
    )
    model: str | None = None  # the name a target knows the model by
    answer_edits: int = 0
    answer_bytes: int = 0
    status: int | None = None
    first_byte: float | None = None
    own_seconds: float = 0.0
    check_seconds: float = 0.0
    outcome: Outcome = "answered"
    failure: Literal["", "failed_open", "failed_closed"] = ""
    failure_reason: str | None = None
    cost_usd: Decimal | None = None
    price_source: str | None = None
    streamed: bool = False  # the answer came as a stream
    stop_reading: Callable[[], None] | None = None  # nothing more of the stream comes
    settled: bool = False
    reported: bool = False

    def subject_for(self, spec: Spec) -> str | None:
        """Whose credential a source gives: the caller's token, or what is known of the caller.

        Only what was proved, or what the platform says of the workload, is stated of it.
        """
        if not spec.of_caller:
            return None
        if spec.kind != IDENTITY:
            return self.subject
        caller, workload = self.call.caller, self.call.caller.workload
        place = f"{workload.namespace or ''}/{workload.name}" if workload.name else None
        who = {
            "sub": (caller.user if self.proved else None) or caller.spiffe or place,
            "workload": place,
            "service_account": workload.service_account,
        }
        return json.dumps({name: value for name, value in who.items() if value})

    @property
    def may_change_answer(self) -> bool:
        """True when some rule may change a byte of the answer."""
        scans = self.scanner_for and (not self.watches or self.echoes)
        return bool(scans or self.mcp_answer or self.hides_usage_chunk or self.cuts)

    @property
    def answered_well(self) -> bool:
        """The provider served the call: what it answered is billed, even if we withheld it."""
        answer = self.call.exchange.answer
        return answer is not None and answer.status < 400

    def own_time(self) -> OwnTime:
        """Count the time spent inside (``with``) as ours."""
        return OwnTime(self)


class OwnTime:
    """Adds the time between its two ends to a call."""

    __slots__ = ("began", "live")

    def __init__(self, live: LiveCall) -> None:
        self.live = live
        self.began = 0.0

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self.live.own_seconds += time.perf_counter() - self.began


def tell_failure(flow: http.HTTPFlow, result: Failed, reason: str) -> None:
    """Note on the call that a check raised, and what was made of it.

    ``reason`` is ``hook: ErrorClass``. What is not a call yet keeps it for later.
    """
    live = call_of(flow)
    if live is None:
        flow.metadata[FAILED] = result, reason
        return
    live.failure, live.failure_reason = result, reason
    begun = flow.response is not None and flow.response.stream
    if result == "failed_open":
        live.status = flow.response.status_code if flow.response is not None else live.status
    elif not reason.startswith("stream") and not begun:
        live.outcome, live.status = "refused", CHECK_FAILED.status


def new_id() -> str:
    """A decision id: 80 random bits, short enough to read out over a telephone."""
    return secrets.token_hex(10)


def call_of(flow: http.HTTPFlow) -> LiveCall | None:
    """The call of a flow, None when the flow is not governed."""
    live: LiveCall | None = flow.metadata.get(KEY)
    return live
