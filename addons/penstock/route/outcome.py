"""What came of one attempt: whether another target may be asked, and whether it was billed.

A provider bills what it served. An attempt that never reached it, or that it turned away, is
free; one that it may have accepted before the connection broke is possibly billed, and says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from penstock.route.health import Outcome
from penstock.wire.framing.eventstream import Frame
from penstock.wire.framing.sse import SseEvent

Billed = Literal["yes", "no", "possibly"]

# How much of a stream may be held back until its first event is complete.
FIRST_EVENT_BYTES = 64 * 1024
TOO_MANY, OVERLOADED = 429, 529
# A gateway's word for "I do not know what became of it" (RFC 9110 sections 15.6.3, 15.6.5).
UNSURE = (502, 504)
# Problems of the engine that arise before a request was sent.
UNSENT = (
    "upstream_unreachable",
    "upstream_certificate",
    "connect_timeout",
    "destination_forbidden",
    "credential_unavailable",
)


@dataclass(slots=True)
class Attempt:
    """One row: the target, what came of it, and whether it may stand on a bill.

    ``began`` and ``ended`` are seconds since the epoch, ``seconds`` those to the first byte.
    """

    target: str
    provider: str | None
    model: str | None
    region: str | None
    outcome: str = "open"  # answered, or a machine word: status_503, connect_timeout, error_event
    status: int | None = None
    billed: Billed = "no"
    seconds: float = 0.0
    translated: str | None = None  # the wire format the call was translated into
    began: float = 0.0
    ended: float = 0.0


def of_status(status: int) -> Outcome:
    """How an answer's status speaks of the target; a caller's own fault does not."""
    if status in (TOO_MANY, OVERLOADED):
        return "limited"
    return "failed" if status >= 500 else "well"


def billed_by_status(status: int) -> Billed:
    """Whether an answer with this status was billed."""
    if status < 400:
        return "yes"
    return "possibly" if status in UNSURE else "no"


def billed_by_problem(code: str) -> Billed:
    """Whether an attempt that ended with this problem may have been billed."""
    return "no" if code in UNSENT else "possibly"


def is_error_event(event: SseEvent | Frame) -> bool:
    """True when an event of a stream is its API's error: what stands where an answer should.

    A frame of Bedrock's says so itself. Else ``error`` as the event's name or type (Anthropic,
    OpenAI Responses), ``response.failed``, or an object ``error`` in the data (OpenAI chat and its
    relatives, Gemini).
    """
    if isinstance(event, Frame):
        return event.headers.get(":message-type", "event") != "event"
    try:
        document: Any = json.loads(event.data or b"")
    except (ValueError, RecursionError):
        return event.name == "error"
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return event.name == "error"
    if event.name == "error" or document.get("type") in ("error", "response.failed"):
        return True
    return isinstance(document.get("error"), dict) and not document.get("choices")
