"""Spans, as a real OTLP receiver gets them."""

from __future__ import annotations

import gzip
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from penstock.exchange import Destination, McpCall, Usage
from penstock.policy.decision import Reason
from penstock.record import attributes, spans
from penstock.record.spans import Spans
from penstock.record.telemetry import configured, span_mode, telemetry
from penstock.route.outcome import Attempt

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"


class Receiver(http.server.ThreadingHTTPServer):
    """An OTLP/HTTP receiver that keeps what it gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list:
        return [span for _, _, request in self.requests for resource in request.resource_spans
                for scope in resource.scope_spans for span in scope.spans]  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    """Takes POST /v1/traces."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        self.server.requests.append((self.path, dict(self.headers), request))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    yield server
    server.shutdown()
    server.server_close()


def values(attributes) -> dict:
    def plain(value):
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [plain(one) for one in value.array_value.values]
        return getattr(value, kind)

    return {one.key: plain(one.value) for one in attributes}


def sent(receiver: Receiver, *records, **options):
    sink = telemetry(os.environ, options.pop("service", None))
    for one in records:
        sink.record(one)
    sink.close()
    return sink


def test_a_call_is_one_client_span_with_the_conventions_names(receiver, record):
    sink = sent(receiver, record(parameters={"max_tokens": 64, "temperature": 0.5, "user": "x"}))
    (span,) = receiver.spans()
    assert (span.name, span.kind) == ("chat gpt-4o", span.SPAN_KIND_CLIENT)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert span.status.code == span.status.STATUS_CODE_UNSET
    assert values(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.4,
        "gen_ai.usage.input_tokens": 1200,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 1024,
        "gen_ai.usage.reasoning.output_tokens": 128,
        "gen_ai.usage.cost": 0.00472,
        "server.address": "api.openai.com",
        "server.port": 443,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": "/v1/chat/completions",
        "user_agent.original": "OpenAI/Python 3.52.0",
        "user.id": "mia",
        "penstock.call.id": "c-1",
        "penstock.outcome": "answered",
        "penstock.policy.hash": "abc123",
        "penstock.policy.mode": "enforce",
        "penstock.policy.verdict": "edit",
        "penstock.policy.rules": ["no-secrets-out"],
        "penstock.findings": ["pii.email"],
        "penstock.edits": 1,
        "penstock.restored": 1,
        "penstock.added_seconds": 0.0012,
        "penstock.check_seconds": 0.0007,
        "penstock.workload.name": "shop",
    }
    assert (sink.exported, sink.failed, sink.dropped) == (1, 0, 0)


def test_each_attempt_of_a_routed_call_is_a_span_below_it(receiver, record):
    """Who was asked, how it went, whether it may be billed; usage stands on the call alone."""
    rows = [
        Attempt("first.example:8443/v1", "openai", "gpt-5", None, "status_503", 503,
                began=1000.0, ended=1000.5),
        Attempt("second.example/v1", "anthropic", "claude", None, "answered", 200, "yes",
                translated="anthropic", began=1000.5, ended=1002.0),
    ]  # fmt: skip
    sink = Spans({})
    sink.record(record(usage=Usage(input_total=3, output_total=4), attempts=rows))
    sink.close()
    found = {span.name: span for span in receiver.spans()}
    first, second = found["attempt first.example:8443/v1"], found["attempt second.example/v1"]
    [call] = [span for name, span in found.items() if not name.startswith("attempt")]
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert first.end_time_unix_nano - first.start_time_unix_nano == 500_000_000
    told = values(first.attributes)
    assert told["error.type"] == "status_503" and told["server.address"] == "first.example"
    assert first.status.code == 2 and second.status.code == 0
    told = values(second.attributes)
    assert told["http.request.resend_count"] == 1 and "error.type" not in told
    assert told["penstock.attempt.translated"] == "anthropic"
    assert not [name for name in told if "usage" in name or "operation" in name]
    assert sink.exported == 3 and sink.dropped == 0


def test_the_resource_is_the_workload_and_the_scope_is_penstock(receiver, record, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=shop-1,k8s.namespace.name=prod")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=acme")
    sent(receiver, record(), service="shop")
    path, headers, request = receiver.requests[0]
    assert path == "/v1/traces" and headers["x-tenant"] == "acme"
    resource = values(request.resource_spans[0].resource.attributes)
    assert resource["service.name"] == "shop" and resource["k8s.pod.name"] == "shop-1"
    assert resource["telemetry.distro.name"] == "penstock"
    assert request.resource_spans[0].scope_spans[0].scope.name == "penstock"


def test_a_service_name_of_the_environment_is_kept(receiver, record, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "stated")
    sent(receiver, record(), service="shop")
    resource = receiver.requests[0][2].resource_spans[0].resource
    assert values(resource.attributes)["service.name"] == "stated"


def test_the_callers_trace_is_continued_and_its_sampling_honoured(receiver, record):
    sent(receiver, record(trace_parent=PARENT + "01"), record(trace_parent=PARENT + "00"), record())
    child, root = receiver.spans()
    assert child.trace_id.hex() == PARENT[3:35] and child.parent_span_id.hex() == PARENT[36:52]
    assert root.trace_id.hex() != PARENT[3:35] and root.parent_span_id == b""


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"status": 429, "error_type": "rate_limit_error"}, "rate_limit_error"),
        ({"status": 403, "outcome": "refused"}, "403"),
        ({"status": None, "outcome": "failed"}, "failed"),
        ({"outcome": "cut"}, "cut"),
        ({"outcome": "aborted"}, None),
    ],
)
def test_an_error_has_a_type_and_a_client_that_leaves_is_none(receiver, record, changes, error):
    sent(receiver, record(**changes))
    (span,) = receiver.spans()
    assert values(span.attributes).get("error.type") == error
    assert (span.status.code == span.status.STATUS_CODE_ERROR) is (error is not None)


def test_estimated_tokens_are_not_reported_as_usage(receiver, record):
    usage = Usage(input_total=10, output_total=5, estimated=True)
    sent(receiver, record(usage=usage, cost_usd=None))
    found = values(receiver.spans()[0].attributes)
    assert not [name for name in found if name.startswith("gen_ai.usage")]
    assert found["penstock.usage.estimated"] and found["penstock.usage.input_tokens"] == 10


def test_an_mcp_call_has_the_mcp_conventions_names(receiver, record):
    mcp = McpCall(methods=["tools/call"], ids=[7], tool="search", protocol_version="2025-06-18")
    sent(receiver, record(mcp=mcp, api="mcp.streamable_http", model=None, usage=Usage(),
                          cost_usd=None, destination=Destination("mcp.example", 443)))  # fmt: skip
    (span,) = receiver.spans()
    found = values(span.attributes)
    assert span.name == "tools/call search"
    assert found["mcp.method.name"] == "tools/call" and found["gen_ai.tool.name"] == "search"
    assert found["gen_ai.operation.name"] == "execute_tool"
    assert found["jsonrpc.request.id"] == "7" and found["network.transport"] == "tcp"
    assert "gen_ai.provider.name" not in found and "gen_ai.request.model" not in found


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"is_error": True}, "tool_error"), ({"rpc_error_code": -32602}, "-32602")],
)
def test_an_mcp_error_is_an_error_though_http_says_200(receiver, record, changes, error):
    sent(receiver, record(mcp=McpCall(methods=["tools/call"], tool="t", **changes)))
    assert values(receiver.spans()[0].attributes)["error.type"] == error


def test_shadow_rules_are_told_apart(receiver, record):
    reasons = [Reason("on", "deny", "deny", ""), Reason("later", "deny", "deny", "", False)]
    sent(receiver, record(reasons=reasons, verdict="deny"))
    found = values(receiver.spans()[0].attributes)
    assert found["penstock.policy.rules"] == ["on"]
    assert found["penstock.policy.shadow_rules"] == ["later"]


def test_in_proxy_mode_no_back_end_counts_the_call_twice(receiver, record, monkeypatch):
    monkeypatch.setenv("PENSTOCK_SPAN_MODE", "proxy")
    sent(receiver, record())
    (span,) = receiver.spans()
    found = values(span.attributes)
    assert (span.name, span.kind) == ("proxy chat gpt-4o", span.SPAN_KIND_INTERNAL)
    assert "gen_ai.operation.name" not in found
    assert not [name for name in found if name.startswith("gen_ai.usage")]
    assert found["penstock.usage.input_tokens"] == 1200


def test_the_exporter_ignores_the_proxy_variables(receiver, record, monkeypatch):
    """They point to penstock itself in the pod; spans about spans would follow."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sent(receiver, record())
    assert len(receiver.spans()) == 1


class Stuck(SpanExporter):
    """A collector that takes nothing for a while."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def export(self, spans) -> SpanExportResult:
        self.go.wait(10)
        return SpanExportResult.FAILURE


def test_a_full_queue_drops_and_counts_and_the_end_does_not_wait(record, monkeypatch):
    monkeypatch.setattr(spans, "CLOSE_SECONDS", 0.2)
    stuck = Stuck()
    sink = Spans({"OTEL_BSP_MAX_QUEUE_SIZE": "10"}, exporter=stuck)
    for _ in range(60):
        sink.record(record())
    assert sink.dropped >= 40
    sink.close()
    stuck.go.set()
    assert sink.dropped + sink._exporter.taken == 60


def test_a_collector_that_is_down_costs_spans_and_nothing_else(receiver, record, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    sink = sent(receiver, record())
    assert sink.exported == 0


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_usual_variables_turn_it_on_and_off(environ, wanted):
    assert configured(environ) is wanted


def test_what_is_not_spoken_is_refused_at_the_start():
    with pytest.raises(ValueError, match="grpc"):
        configured(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        )
    with pytest.raises(ValueError, match="both"):
        span_mode({"PENSTOCK_SPAN_MODE": "both"})


def test_without_an_endpoint_nothing_is_imported():
    code = (
        "import sys; from penstock.record.telemetry import telemetry;"
        "assert telemetry({}, None) is None;"
        "print([n for n in sys.modules if n.startswith(('opentelemetry', 'requests'))])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_names_are_those_of_the_conventions_package():
    """An upgrade that renames an attribute must show here, not in somebody's dashboard."""
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")
             and isinstance(value, str)}  # fmt: skip
    ours = set(attributes.PARAMETERS.values()) | {
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.id",
        "gen_ai.response.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.tool.name",
    }
    assert ours - known == set()
