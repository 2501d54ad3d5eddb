"""The metrics: every name, help text, label and bucket in one place.

Names of the OpenTelemetry GenAI conventions (semantic-conventions v1.41, translated to
Prometheus: dots to underscores, unit seconds as suffix) stand next to penstock's own.
docs/telemetry.md lists the same names; a test holds the two together.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from penstock.record.spread import Spread

# semantic-conventions v1.41, gen-ai-metrics.md: advised boundaries.
TOKEN_BUCKETS = tuple(4**power for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))
# semantic-conventions v1.41, mcp.md.
MCP_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
# What penstock adds is a fraction of a millisecond; above 50 ms something is wrong.
ADDED_BUCKETS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1,
)  # fmt: skip

MODEL_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class Instruments:
    """All instruments, registered with a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._calls()
        self._use()
        self._policy()
        self._own()

    def _calls(self) -> None:
        self.duration = self._histogram(
            "gen_ai_client_operation_duration_seconds",
            "Duration of a model call, to the last byte of its answer.",
            DURATION_BUCKETS, *MODEL_LABELS, "error_type",
        )  # fmt: skip
        self.first_chunk = self._histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time from the request to the first byte of its answer.",
            DURATION_BUCKETS, *MODEL_LABELS,
        )  # fmt: skip
        self.token_usage = self._histogram(
            "gen_ai_client_token_usage",
            "Tokens of a call as the provider reported them.",
            TOKEN_BUCKETS, *MODEL_LABELS, "gen_ai_token_type",
        )  # fmt: skip
        self.mcp_duration = self._histogram(
            "mcp_client_operation_duration_seconds",
            "Duration of an MCP call.",
            MCP_BUCKETS, "mcp_method_name", "error_type",
        )  # fmt: skip
        self.added = self._histogram(
            "penstock_added_seconds",
            "Time a call spent in penstock, with and without detection and policy.",
            ADDED_BUCKETS, "checks",
        )  # fmt: skip

        self.calls = self._counter(
            "penstock_calls_total", "Calls by how they ended.",
            "api", "provider", "verdict", "outcome",
        )  # fmt: skip
        self.mcp_calls = self._counter(
            "penstock_mcp_calls_total", "MCP calls.", "server", "method", "tool", "verdict"
        )
        self.bytes = self._counter("penstock_body_bytes_total", "Body bytes of calls.", "direction")

    def _use(self) -> None:
        self.tokens = self._counter(
            "penstock_tokens_total", "Tokens by type; estimated where no provider reported them.",
            "provider", "model", "type", "estimated",
        )  # fmt: skip
        self.cost = self._counter(
            "penstock_cost_usd_total", "Cost of priced calls in US dollars.", "provider", "model"
        )
        self.unpriced = self._counter(
            "penstock_price_lookup_misses_total",
            "Calls that used tokens and could not be priced.",
            "provider", "reason",
        )  # fmt: skip

    def _policy(self) -> None:
        self.decisions = self._counter(
            "penstock_policy_decisions_total", "What each rule said of a call.",
            "rule", "verb", "verdict", "mode",
        )  # fmt: skip
        self.findings = self._counter(
            "penstock_findings_total", "What detectors found.", "type", "direction"
        )
        self.late = self._counter(
            "penstock_late_findings_total",
            "What was found in texts after they had left.",
            "detector",
        )
        self.redactions = self._counter(
            "penstock_redactions_total", "Findings that were replaced.", "type", "direction"
        )
        self.restored = self._counter(
            "penstock_restored_placeholders_total", "Placeholders put back into answers."
        )
        self.failures = self._counter(
            "penstock_failures_total",
            "Calls on which a check raised, by what on_error made of them.",
            "result", "reason",
        )  # fmt: skip
        self.config = self._gauge("penstock_config_info", "The loaded policy.", "hash", "mode")
        self.reloads = self._counter("penstock_config_reloads_total", "Policy reloads.", "result")
        self.reload_ok = self._gauge(
            "penstock_config_last_reload_successful",
            "1 when the policy in force is the newest one seen, 0 when that was refused.",
        )
        self.reload_time = self._gauge(
            "penstock_config_reload_success_timestamp_seconds",
            "When the policy in force was loaded.",
        )

    def _own(self) -> None:
        self.build = self._gauge("penstock_build_info", "The version running.", "version")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Spread:
        return Spread(name, text, labels, buckets, self.registry)
