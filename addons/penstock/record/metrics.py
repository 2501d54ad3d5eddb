"""Records counted for Prometheus, in a registry of our own.

Every label has a bounded number of values (names.py). Children of labelled instruments
are looked up once per combination and kept, since the lookup costs more than the count.
Names and help texts are in instruments.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock import __version__
from penstock.detect.hindsight.second_look import Late
from penstock.record.attributes import error_type, provider_name
from penstock.record.instruments import Instruments
from penstock.record.names import NONE, Names
from penstock.record.record import Record
from penstock.record.spread import Child, Spread

# Label values kept per kind. A model costs about 100 series (three histograms), a tool three.
MODELS_MAX = 100
PROVIDERS_MAX = 100
HOSTS_MAX = 100
TOOLS_MAX = 300
RULES_MAX = 500
WORDS_MAX = 50  # error types, failure reasons, MCP methods

# Kept children per instrument. All labels are bounded; their product is what this bounds.
CHILDREN_MAX = 5000

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True, frozen=True)
class Reading(Collector):
    """A number another room keeps, read when metrics are asked for."""

    name: str
    text: str
    kind: Literal["counter", "gauge"]
    read: Callable[[], float]

    def collect(self) -> Iterator[Metric]:
        """The metric, for the registry."""
        if self.kind == "counter":
            yield CounterMetricFamily(self.name, self.text, value=self.read())
        else:
            yield GaugeMetricFamily(self.name, self.text, value=self.read())


class Metrics:
    """The metrics of one process; a sink of the Recorder."""

    name = "metrics"

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no annotation
        self._to = Instruments()
        self._models = Names(MODELS_MAX)
        self._providers = Names(PROVIDERS_MAX)
        self._hosts = Names(HOSTS_MAX)
        self._tools = Names(TOOLS_MAX)
        self._rules = Names(RULES_MAX)
        self._words = Names(WORDS_MAX)
        self._counters: dict[tuple[object, ...], Counter] = {}
        self._histograms: dict[tuple[object, ...], Child] = {}
        self._to.build.labels(__version__).set(1)
        self._with_checks = self._to.added.labels("included")
        self._without_checks = self._to.added.labels("excluded")
        self._sent = self._to.bytes.labels("request")
        self._received = self._to.bytes.labels("answer")
        self.watch(
            "penstock_label_values_refused",
            "Label values counted as _other because their table was full or they proved unreal.",
            "counter",
            lambda: float(sum(table.refused for table in self._tables())),
        )

    def watch(
        self, name: str, text: str, kind: Literal["counter", "gauge"], read: Callable[[], float]
    ) -> None:
        """Show a number that is kept elsewhere (a counter's name without ``_total``)."""
        self._to.registry.register(Reading(name, text, kind, read))

    def policy_loaded(self, policy_hash: str, mode: str, now: float) -> None:
        """A policy came into force at ``now`` (epoch seconds)."""
        self._to.config.clear()
        self._to.config.labels(policy_hash, mode).set(1)
        self._to.reloads.labels("success").inc()
        self._to.reload_ok.set(1)
        self._to.reload_time.set(now)

    def policy_refused(self) -> None:
        """A changed policy could not be loaded; the old one stays in force."""
        self._to.reloads.labels("failure").inc()
        self._to.reload_ok.set(0)

    def expose(self) -> bytes:
        """All metrics in the Prometheus text format (CONTENT_TYPE)."""
        return generate_latest(self._to.registry)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Nothing is held."""

    def record(self, record: Record) -> None:
        """Count one call."""
        provider = self._providers.label(record.destination.provider)
        answered = record.outcome == "answered" and 200 <= (record.status or 0) < 300
        self._count(self._to.calls, 1, record.api or NONE, provider, record.verdict, record.outcome)
        self._sent.inc(record.request_bytes)
        self._received.inc(record.answer_bytes)
        if record.outcome != "tunnelled":
            self._with_checks.observe(record.own_seconds)
            self._without_checks.observe(max(0.0, record.own_seconds - record.check_seconds))
        if record.mcp:
            self._mcp(record, answered)
        elif record.api:
            self._model_call(record, provider, answered)
        self._policy(record)

    def late(self, found: Late) -> None:
        """Count what was found too late."""
        self._count(self._to.late, 1, found.detector)

    def _policy(self, record: Record) -> None:
        for reason in record.reasons:
            mode = record.mode if reason.enforced or record.mode != "enforce" else "shadow"
            rule = self._rules.label(reason.rule)
            self._count(self._to.decisions, 1, rule, reason.verb, reason.verdict, mode)
        for one in record.findings:
            self._count(self._to.findings, 1, one.finding.type, one.direction)
            if one.action == "redact":
                self._count(self._to.redactions, 1, one.finding.type, one.direction)
        if record.restored:
            self._to.restored.inc(record.restored)
        if record.failure:
            reason_word = self._words.label(record.failure_reason)
            self._count(self._to.failures, 1, record.failure, reason_word)

    def _model_call(self, record: Record, provider: str, answered: bool) -> None:
        model = self._models.label(record.model, real=answered)
        common = (record.operation or NONE, self._providers.label(provider_name(record)), model)
        error = self._words.label(error_type(record))
        if record.outcome not in ("refused", "passed", "tunnelled"):
            self._observe(self._to.duration, record.duration_seconds, *common, error)
            if record.first_byte_seconds is not None:
                self._observe(self._to.first_chunk, record.first_byte_seconds, *common)
        usage = record.usage
        counted = (
            ("input", _known(usage.input_total, usage.input_tokens)),
            ("output", _known(usage.output_total, usage.output_tokens)),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
            ("reasoning", usage.reasoning_tokens),
        )
        estimated = "true" if usage.estimated else "false"
        for kind, tokens in counted:
            if tokens:
                self._count(self._to.tokens, tokens, provider, model, kind, estimated)
                if kind in ("input", "output") and not usage.estimated:
                    self._observe(self._to.token_usage, tokens, *common, kind)
        if record.cost_usd is not None:
            self._count(self._to.cost, float(record.cost_usd), provider, model)
        elif counted[0][1] or counted[1][1]:
            reason = self._words.label(record.price_source)
            self._count(self._to.unpriced, 1, provider, reason)

    def _mcp(self, record: Record, answered: bool) -> None:
        mcp = record.mcp
        if not mcp:
            return
        server = self._hosts.label(record.destination.host, real=answered)
        method = self._words.label(mcp.methods[0] if mcp.methods else None, real=answered)
        tool = self._tools.label(mcp.tool, real=answered and not mcp.is_error)
        self._count(self._to.mcp_calls, 1, server, method, tool, record.verdict)
        error = self._words.label(error_type(record))
        self._observe(self._to.mcp_duration, record.duration_seconds, method, error)

    def _count(self, counter: Counter, amount: float, *labels: str) -> None:
        key = (counter, *labels)
        child = self._counters.get(key)
        if child is None:
            child = counter.labels(*labels)
            if len(self._counters) < CHILDREN_MAX:
                self._counters[key] = child
        child.inc(amount)

    def _observe(self, histogram: Spread, value: float, *labels: str) -> None:
        key = (histogram, *labels)
        child = self._histograms.get(key)
        if child is None:
            child = histogram.labels(*labels)
            if len(self._histograms) < CHILDREN_MAX:
                self._histograms[key] = child
        child.observe(value)

    def _tables(self) -> Iterable[Names]:
        return (
            self._models, self._providers, self._hosts, self._tools, self._rules, self._words
        )  # fmt: skip


def _known(total: int | None, reported: int | None) -> int | None:
    return reported if total is None else total
