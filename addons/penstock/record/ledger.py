"""The ledger: what every attempt of every call cost, or may have cost, read from audit lines.

There is one source, the audit log, so that what was recorded and what was spent cannot
differ. The sum of the rows is what the provider's invoice should say: rows by the provider's
own usage are exact, estimated and possibly billed ones say so, and what cannot be priced is
kept apart and never counted as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

# provider: by the usage the provider reported. estimate: by our own count. possibly: served or
# perhaps served, and nobody said what it used. free: refused, or turned away.
Billed = Literal["provider", "estimate", "possibly", "free"]
BILLED: tuple[Billed, ...] = ("provider", "estimate", "possibly", "free")

# Operations that providers serve without a charge. What is not listed may cost.
FREE_OPERATIONS = frozenset(
    ("models", "files", "file", "manage", "retrieve", "operations", "count_tokens", "mcp")
)
# A gateway's word for "I do not know what became of it" (RFC 9110 sections 15.6.3, 15.6.5).
UNSURE = (502, 504)
ERRORS = 400

DIMENSIONS = (
    "team", "user", "workload", "namespace", "agent", "session", "provider", "model", "day",
    "host", "billed",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Row:
    """One attempt. ``usd`` is None when nobody knows; ``why`` then says what is missing."""

    id: str
    time: str
    billed: Billed
    labels: Mapping[str, str]
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None
    why: str = ""


@dataclass(slots=True)
class Sum:
    """Several rows together. ``unpriced`` counts those that cost something unknown."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = field(default_factory=Decimal)
    estimated: int = 0
    possibly: int = 0
    unpriced: int = 0
    unpriced_tokens: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """One more row."""
        self.calls += 1
        self.input_tokens += row.input_tokens
        self.output_tokens += row.output_tokens
        self.estimated += row.billed == "estimate"
        self.possibly += row.billed == "possibly"
        if row.usd is not None:
            self.usd += row.usd
        elif row.billed != "free":
            self.unpriced += 1
            self.unpriced_tokens += row.input_tokens + row.output_tokens
            self.reasons[row.why] = self.reasons.get(row.why, 0) + 1


def rows_of(calls: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """The rows of audit lines: one for each attempt; calls to no AI service have none."""
    for call in calls:
        if (call.get("destination") or {}).get("category") == "other" and not call.get("usage"):
            continue
        attempts = call.get("attempts") or []
        yield from (_attempt(call, one) for one in attempts[:-1])
        yield _call(call, attempts[-1] if attempts else None)


def sums(rows: Iterable[Row], by: Sequence[str]) -> dict[tuple[str, ...], Sum]:
    """Rows added up for each value of the dimensions ``by``; the dearest first."""
    found: dict[tuple[str, ...], Sum] = {}
    for row in rows:
        found.setdefault(tuple(row.labels.get(name, "") for name in by), Sum()).add(row)
    return dict(sorted(found.items(), key=lambda one: (-one[1].usd, -one[1].calls, one[0])))


def total(found: Iterable[Row]) -> Sum:
    """All rows together."""
    everything = Sum()
    for row in found:
        everything.add(row)
    return everything


def _call(call: Mapping[str, Any], attempt: Mapping[str, Any] | None) -> Row:
    usage = call.get("usage") or {}
    given, made = _count(usage.get("input")), _count(usage.get("output"))
    usd = _money(call.get("cost_usd"))
    billed = _billed(call, bool(given or made), attempt)
    if billed == "free":
        usd = Decimal(0)
    why = "" if usd is not None else str(call.get("price_source") or "usage_unknown")
    labels = _labels(call) | {"billed": billed}
    return Row(
        _text(call.get("id")), _text(call.get("time")), billed, labels, given, made, usd, why
    )


def _billed(call: Mapping[str, Any], counted: bool, attempt: Mapping[str, Any] | None) -> Billed:
    if counted:
        return "estimate" if (call.get("usage") or {}).get("estimated") else "provider"
    if call.get("operation") in FREE_OPERATIONS or call.get("mcp"):
        return "free"
    if attempt is not None:
        return "free" if attempt.get("billed") == "no" else "possibly"
    status, outcome = call.get("status"), call.get("outcome")
    if outcome == "refused":
        return "free"
    if isinstance(status, int) and status >= ERRORS:
        return "possibly" if status in UNSURE else "free"
    return "possibly"


def _attempt(call: Mapping[str, Any], attempt: Mapping[str, Any]) -> Row:
    """An attempt that another one followed: its answer, if any, was not used."""
    billed: Billed = "free" if attempt.get("billed") == "no" else "possibly"
    labels = _labels(call) | {"billed": billed}
    labels |= {name: _text(attempt[name]) for name in ("provider", "model") if attempt.get(name)}
    usd = Decimal(0) if billed == "free" else None
    why = "" if usd is not None else "failed_attempt"
    return Row(_text(call.get("id")), _text(call.get("time")), billed, labels, usd=usd, why=why)


def _labels(call: Mapping[str, Any]) -> dict[str, str]:
    caller, destination = call.get("caller") or {}, call.get("destination") or {}
    names = ("team", "user", "workload", "namespace", "agent", "session")
    labels = {name: _text(caller[name]) for name in names if caller.get(name)}
    labels["provider"] = _text(destination.get("provider"))
    labels["host"] = _text(destination.get("host"))
    labels["model"] = _text(call.get("answer_model") or call.get("model"))
    labels["day"] = _day(_text(call.get("time")))
    return labels


def _day(time: str) -> str:
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d}"
    except ValueError:
        return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _money(value: Any) -> Decimal | None:
    try:
        amount = Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() else None
