"""Makes one penstock process fail on demand; on the path of that process only.

``PENSTOCK_TEST_LIMITS`` (JSON) shortens the engine's limits. With ``PENSTOCK_TEST_FAULTS`` a
request header ``x-fault: WHERE`` makes that step of that call raise. The texts of the errors
hold a canary, because error texts must not be written down.
"""

from __future__ import annotations

import json
import os
from typing import Any

CANARY = "sk-canary-in-an-error-text"


def shorten(limits: dict[str, float]) -> None:
    """Other defaults for the fields of ``Limits``."""
    from dataclasses import fields

    from penstock.proxy.settings import Limits

    make: Any = Limits.__init__
    make.__defaults__ = tuple(
        limits.get(field.name, default)
        for field, default in zip(fields(Limits), make.__defaults__, strict=True)
    )


def fault_of(flow: Any) -> str:
    return str(flow.request.headers.get("x-fault", ""))


def hook(owner: Any, name: str, where: str) -> None:
    """``owner.name(self, flow)`` raises for calls that ask for ``where``."""
    real = getattr(owner, name)

    def faulty(self: Any, flow: Any, *more: Any) -> Any:
        if fault_of(flow) == where:
            raise RuntimeError(CANARY)
        return real(self, flow, *more)

    setattr(owner, name, faulty)


def inject() -> None:
    """Put a trap into every step of the way of a call."""
    from penstock.detect import Detectors
    from penstock.proxy.addons.answer import Answer
    from penstock.proxy.addons.govern import Govern
    from penstock.proxy.addons.identify import Identify
    from penstock.proxy.addons.report import Report
    from penstock.proxy.addons.settle import Settle
    from penstock.proxy.answer_stream import AnswerTransform
    from penstock.wire.stream import AnswerStream

    for owner, name in (
        (Identify, "request"),
        (Govern, "request"),
        (Answer, "responseheaders"),
        (Answer, "response"),
        (Settle, "response"),
    ):
        hook(owner, name, f"{owner.__name__}.{name}")
    real_read, real_scan = AnswerStream._read, Detectors.scan
    real_open, real_report = AnswerTransform.open, Report.record_of

    def read(self: Any, frame: Any) -> Any:
        if b"fault-in-stream" in frame.raw:
            raise RuntimeError(CANARY)
        return real_read(self, frame)

    def scan(self: Any, text: str, *more: Any) -> Any:
        if "fault-in-detector" in text:
            raise RuntimeError(CANARY)
        return real_scan(self, text, *more)

    def opened(self: Any, framing: Any) -> None:
        if self.live.request.headers.get("x-fault") == "open":
            raise RuntimeError(CANARY)
        real_open(self, framing)

    def record_of(self: Any, live: Any) -> Any:
        if live.request.headers.get("x-fault") == "Report":
            raise RuntimeError(CANARY)
        return real_report(self, live)

    AnswerStream._read = read  # type: ignore[method-assign]
    Detectors.scan = scan  # type: ignore[method-assign]
    AnswerTransform.open = opened  # type: ignore[method-assign]
    Report.record_of = record_of  # type: ignore[method-assign]


if given := os.environ.get("PENSTOCK_TEST_LIMITS"):
    shorten(json.loads(given))
if os.environ.get("PENSTOCK_TEST_FAULTS"):
    inject()
