"""One OpenTelemetry span per call, sent over OTLP/HTTP. Imported only when configured.

A span is the child of the caller's traceparent and follows its sampling decision; audit
and metrics never do. Spans wait in a bounded queue and leave from a thread; what finds the
queue full is dropped and counted. The exporter reads no proxy variables: its traffic must
not come through the proxy it reports on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from penstock import __version__
from penstock.record.attributes import (
    ATTEMPT_FINE,
    SpanMode,
    attempt_attributes,
    end_attributes,
    error_type,
    span_name,
    start_attributes,
)
from penstock.record.record import Record

# The SDK's default; 2048 spans of 2 KB are 4 MB. OTEL_BSP_MAX_QUEUE_SIZE changes it.
QUEUE_MAX = 2048
BATCH_MAX = 512  # the SDK's default; may not be larger than the queue
# A drain has 25 seconds and Kubernetes five more: telemetry gets a part of these.
CLOSE_SECONDS = 4.0


class Spans:
    """Makes and exports spans; a sink of the Recorder. ``dropped`` counts spans not sent."""

    name = "telemetry"

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        service: str | None = None,
        mode: SpanMode = "client",
        exporter: SpanExporter | None = None,
    ) -> None:
        """``service`` names the workload where ``environ`` does not.

        Endpoint, headers, timeouts, sampler and resource are read by the SDK itself from the
        process's environment.
        """
        self._mode: SpanMode = mode
        self._queue_max = int(environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or QUEUE_MAX)
        self._ended = 0
        self.dropped = 0
        self._exporter = CountingExporter(exporter or _otlp_exporter())
        self._provider = TracerProvider(
            resource=_resource(environ, service), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=self._queue_max,
                max_export_batch_size=min(BATCH_MAX, self._queue_max),
            )
        )
        self._tracer = self._provider.get_tracer("penstock", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @property
    def exported(self) -> int:
        """Spans a collector took."""
        return self._exporter.exported

    @property
    def failed(self) -> int:
        """Spans no collector took, after the exporter's own retries."""
        return self._exporter.failed

    def record(self, record: Record) -> None:
        """Make the span of one call. Traffic that was not read has none."""
        if not record.api and not record.mcp:
            return
        if self._ended - self._exporter.taken >= self._queue_max:
            self.dropped += 1
            return
        start = int(record.time * 1e9)
        span = self._tracer.start_span(
            span_name(record, self._mode),
            context=self._parent(record.trace_parent),
            kind=SpanKind.CLIENT if self._mode == "client" else SpanKind.INTERNAL,
            attributes=start_attributes(record, self._mode),
            start_time=start,
        )
        if span.is_recording():
            span.set_attributes(end_attributes(record, self._mode))
            if error_type(record):
                span.set_status(Status(StatusCode.ERROR))
        if record.attempts and span.is_recording():
            self._attempts(span, record)
        self._ended += span.get_span_context().trace_flags.sampled
        span.end(start + int(record.duration_seconds * 1e9))

    def _attempts(self, span: Span, record: Record) -> None:
        """A span for each target that was asked, below the call's."""
        parent = set_span_in_context(span, Context())
        for number, attempt in enumerate(record.attempts):
            made = self._tracer.start_span(
                f"attempt {attempt.target}",
                context=parent,
                kind=SpanKind.CLIENT,
                attributes=attempt_attributes(attempt, number),
                start_time=int(attempt.began * 1e9),
            )
            if attempt.outcome not in ATTEMPT_FINE:
                made.set_status(Status(StatusCode.ERROR))
            self._ended += 1
            made.end(int(max(attempt.ended, attempt.began) * 1e9))

    def flush(self) -> None:
        """The exporter's own thread sends; nothing to do."""

    def close(self) -> None:
        """Send what waits, for CLOSE_SECONDS at most; the rest is counted as dropped."""
        sender = threading.Thread(target=self._provider.shutdown, daemon=True)
        sender.start()
        sender.join(CLOSE_SECONDS)
        self.dropped += self._ended - self._exporter.taken

    def _parent(self, trace_parent: str | None) -> Context:
        """The caller's span as a context; an empty one when there is none."""
        if not trace_parent:
            return Context()
        return self._propagator.extract({"traceparent": trace_parent}, Context())


class CountingExporter(SpanExporter):
    """Passes spans on and counts what became of them."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.taken = 0  # out of the queue
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch. Runs in the exporter's thread; a failure is counted, not raised."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Close the connection to the collector."""
        self._inner.shutdown()


def _resource(environ: Mapping[str, str], service: str | None) -> Resource:
    """What the environment says, our name as the distribution, ``service`` where none is set."""
    attributes = {"telemetry.distro.name": "penstock", "telemetry.distro.version": __version__}
    stated = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in stated:
        attributes["service.name"] = service or "penstock"
    return Resource.create(attributes)


def _otlp_exporter() -> SpanExporter:
    """The OTLP/HTTP exporter on a session that reads no proxy variable and no .netrc."""
    session = requests.Session()
    session.trust_env = False
    return OTLPSpanExporter(session=session)
