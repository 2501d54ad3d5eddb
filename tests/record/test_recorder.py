"""The recorder: a sink that fails harms nobody; what it hands out holds no content."""

from __future__ import annotations

import dataclasses
import typing
from decimal import Decimal
from types import UnionType
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from penstock.exchange import Finding, McpCall, Usage
from penstock.record.audit import AuditLog
from penstock.record.clean import clean, word
from penstock.record.inventory import Inventory
from penstock.record.metrics import Metrics
from penstock.record.record import Record
from penstock.record.recorder import Recorder
from penstock.record.spans import Spans

CANARY = "canary-7f3a-SECRET"


class Kept:
    """A sink that keeps what it gets."""

    name = "kept"

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Record) -> None:
        self.records.append(record)

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Broken(Kept):
    """A sink that fails at everything, with a secret in its message."""

    name = "broken"

    def record(self, record: Record) -> None:
        raise RuntimeError(CANARY)

    def flush(self) -> None:
        raise OSError(CANARY)

    def close(self) -> None:
        raise OSError(CANARY)


def find_canary(text: str) -> list[Finding]:
    start = text.find(CANARY)
    return [Finding("secret.canary", start, start + len(CANARY), 1, "t")] if start >= 0 else []


def test_a_failing_sink_is_counted_and_the_others_get_the_record(record):
    kept = Kept()
    recorder = Recorder([Broken(), kept])
    recorder.record(record())
    recorder.flush()
    recorder.close()
    assert len(kept.records) == 1
    assert recorder.failures == {"broken": 3}
    assert recorder.failure == {"broken": "OSError"}


def test_a_record_that_cannot_be_cleaned_is_not_kept_and_counted(record):
    kept = Kept()
    recorder = Recorder([kept])
    recorder.record(record(path=None))
    assert kept.records == [] and recorder.failures == {"clean": 1}


def planted(kind: Any) -> Any:
    """A value of the annotated type with the canary in every string it can hold."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object or kind is str:
        return CANARY
    if origin in (typing.Union, UnionType):
        return planted(next(one for one in arguments if one is not type(None)))
    if origin is typing.Literal:
        return arguments[-1]
    if origin in (list, tuple):
        return origin([planted(arguments[0])])
    if origin and issubclass(origin, typing.Mapping):
        return {CANARY: planted(arguments[1])}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{one.name: planted(hints[one.name]) for one in dataclasses.fields(kind)})
    return {int: 7, float: 1.5, bool: True, Decimal: Decimal(1)}[kind]


class Caught(SpanExporter):
    """Keeps spans as they would be sent."""

    def __init__(self) -> None:
        self.sent = b""

    def export(self, spans) -> SpanExportResult:
        self.sent += encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def test_no_field_of_a_record_carries_a_secret_into_any_sink(tmp_path):
    """Every string of every field is the secret; only the policy's own names may stay."""
    record = planted(Record)
    record.id = record.policy_hash = record.mode = "ours"
    record.reasons, record.findings = [], []  # rule names and finding types: the policy's
    record.api = record.operation = record.price_source = "ours"
    log, metrics, caught = AuditLog(tmp_path), Metrics(), Caught()
    kept = Inventory(tmp_path / "inventory.json")
    recorder = Recorder([log, metrics, kept, Spans({}, exporter=caught)], scan=find_canary)
    recorder.record(record)
    recorder.close()
    assert not recorder.failures
    assert CANARY.encode() not in log.path.read_bytes()
    assert CANARY.encode() not in metrics.expose()
    assert CANARY.encode() not in (tmp_path / "inventory.json").read_bytes()
    assert caught.sent and CANARY.encode() not in caught.sent
    assert b"[secret.canary]" in log.path.read_bytes()


def test_content_is_dropped_without_any_scanner(record):
    mcp = McpCall(
        methods=["tools/call"],
        tool="search",
        arguments={"q": CANARY},
        result_text=CANARY,
        session_id=CANARY,
        resource_uri=f"file:///notes?key={CANARY}",
    )
    cleaned = clean(
        record(
            mcp=mcp,
            path=f"/v1/models?key={CANARY}",
            usage=Usage(input_tokens=1, raw={"note": CANARY}),
            failure_reason=f"ValueError: {CANARY}",
            error_type=f"bad_key: {CANARY}",
        )
    )
    assert CANARY not in repr(cleaned)
    assert cleaned.mcp.tool == "search" and cleaned.mcp.resource_uri == "file:///notes"
    assert (cleaned.failure_reason, cleaned.error_type) == ("ValueError", "bad_key")
    assert cleaned.path == "/v1/models"


def test_long_and_unprintable_names_become_short_and_printable(record):
    cleaned = clean(record(model="\x1b[2J" + "m" * 10_000, tool_calls=["t\n"] * 500))
    assert cleaned.model.startswith("?[2Jmm") and len(cleaned.model) == 200
    assert cleaned.tool_calls == ["t?"] * 100


def test_only_the_leading_word_of_an_error_text_is_kept():
    assert word("rate_limit_error") == "rate_limit_error"
    assert word("{json}") == "other"
    assert word(None) is None


def test_of_a_failure_its_place_and_kind_are_kept_and_no_text(record):
    kept = clean(record(failure_reason="response: ValueError"))
    assert kept.failure_reason == "response: ValueError"
    assert clean(record(failure_reason=f"response: {CANARY}")).failure_reason == "response"
    said = clean(record(failure_reason=f"response: ValueError {CANARY}"))
    assert said.failure_reason == "response"
