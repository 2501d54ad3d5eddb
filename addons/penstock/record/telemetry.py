"""Whether spans are exported, said by OpenTelemetry's own environment variables.

Without an endpoint nothing of OpenTelemetry is imported: that saves 30 MB and half a
second. The work is done in spans.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.record.attributes import SpanMode

if TYPE_CHECKING:
    from penstock.record.spans import Spans

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPAN_MODE = "PENSTOCK_SPAN_MODE"


def configured(environ: Mapping[str, str]) -> bool:
    """True when spans are to be exported. ValueError when they are, in a way not spoken here."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    if not any(environ.get(name) for name in ENDPOINTS):
        return False
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; only http/protobuf is spoken"
        )
    return True


def span_mode(environ: Mapping[str, str]) -> SpanMode:
    """``client``, or ``proxy`` for a workload that makes GenAI spans itself.

    Two GenAI spans for one call would double its tokens and cost in most back ends, and no
    header tells an instrumented application from another, so its owner says it.
    ValueError for any other word.
    """
    modes: dict[str, SpanMode] = {"client": "client", "proxy": "proxy"}
    stated = environ.get(SPAN_MODE, "client")
    if stated not in modes:
        raise ValueError(f"{SPAN_MODE} is {stated!r}; it is client or proxy")
    return modes[stated]


def telemetry(environ: Mapping[str, str], service: str | None) -> Spans | None:
    """The span exporter, None when none is configured. ``service`` names the workload."""
    if not configured(environ):
        return None
    from penstock.record.spans import Spans

    return Spans(environ, service=service, mode=span_mode(environ))
