"""Everything that records, opened in one step: audit, metrics, inventory, telemetry.

The files of a second process on one state directory get the number its audit log got, so
that no two processes write one file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from penstock.detect.hindsight.second_look import SecondLook
from penstock.meter.quotas import Quotas
from penstock.meter.store import Store
from penstock.record.audit import AuditLog
from penstock.record.inventory import Inventory
from penstock.record.metrics import Metrics
from penstock.record.recorder import Recorder, Sink
from penstock.record.search import Scan
from penstock.record.telemetry import telemetry
from penstock.route.budget import RetryBudget

if TYPE_CHECKING:
    from penstock.record.spans import Spans


@dataclass(slots=True)
class Recording:
    """The recorder, and the parts of it that others ask."""

    recorder: Recorder
    metrics: Metrics
    audit: AuditLog
    spans: Spans | None

    def status(self) -> dict[str, object]:
        """For the status page: counts and names only."""
        status: dict[str, object] = {
            "audit": self.audit.status(),
            "failures": dict(self.recorder.failures),
            "failure": dict(self.recorder.failure),
        }
        if self.spans:
            status["telemetry"] = {
                "exported": self.spans.exported,
                "failed": self.spans.failed,
                "dropped": self.spans.dropped,
            }
        return status


def start_recording(
    state: Path,
    environ: Mapping[str, str],
    *,
    service: str | None = None,
    scan: Scan | None = None,
    checkpointed: Callable[[str], None] | None = None,
) -> Recording:
    """Open everything in ``state``. OSError or ValueError say what cannot be used.

    ``service`` names the workload in telemetry; ``scan`` finds secrets in a text;
    ``checkpointed`` is given each signed checkpoint of the audit log.
    """
    metrics = Metrics()
    spans = telemetry(environ, service)
    audit = AuditLog(state, checkpointed=checkpointed)
    sinks: list[Sink] = [audit, metrics, Inventory(state / f"inventory{audit.suffix}.json")]
    if spans:
        sinks.append(spans)
    recording = Recording(Recorder(sinks, scan), metrics, audit, spans)
    _watch(recording)
    return recording


def watch_quotas(metrics: Metrics, quotas: Quotas) -> None:
    """Show how the limits' memory stands."""
    metrics.watch(
        "penstock_open_reservations",
        "Calls that hold room in a limit now.",
        "gauge",
        lambda: float(quotas.open_reservations),
    )
    metrics.watch(
        "penstock_quota_scopes_evicted",
        "Scopes of limits forgotten because a rule had too many.",
        "counter",
        lambda: float(quotas.evicted),
    )


def watch_proxy(
    metrics: Metrics,
    refused: Callable[[], float],
    errors: Callable[[], float],
    contained: Callable[[], float],
) -> None:
    """Show what the proxy counts of what has no Record, and whether it is contained."""
    metrics.watch(
        "penstock_contained",
        "1 while an order to contain is in force here.",
        "gauge",
        contained,
    )
    metrics.watch(
        "penstock_connections_refused",
        "Connections refused before there was a call.",
        "counter",
        refused,
    )
    metrics.watch(
        "penstock_check_errors",
        "Checks that raised, with or without a call's record to say so.",
        "counter",
        errors,
    )


def watch_routes(metrics: Metrics, retries: RetryBudget) -> None:
    """Show how often a further target was asked, and how often that was one too many."""
    metrics.watch(
        "penstock_route_retries",
        "Further targets asked for a call.",
        "counter",
        lambda: float(retries.spent),
    )
    metrics.watch(
        "penstock_route_retries_refused",
        "Further targets not asked because the retry budget was spent.",
        "counter",
        lambda: float(retries.refused),
    )


def watch_second_look(metrics: Metrics, look: Callable[[], SecondLook | None]) -> None:
    """Show how looking at texts that have left gets on, while a policy wants it."""

    def show(name: str, text: str, read: Callable[[SecondLook], int]) -> None:
        kind: Literal["gauge", "counter"] = "gauge" if name == "waiting" else "counter"

        def value() -> float:
            now = look()
            return float(read(now)) if now is not None else 0.0

        metrics.watch(f"penstock_second_look_{name}", text, kind, value)

    show("texts", "Texts that were looked at after they had left.", lambda it: it.looked_at)
    show("left_out", "Calls too many to be looked at.", lambda it: it.left_out)
    show("failed", "Texts that could not be looked at.", lambda it: it.failed)
    show("waiting", "Calls that wait to be looked at.", lambda it: it.waiting)


def watch_store(metrics: Metrics, store: Store) -> None:
    """Show how the store of shared limits answers."""

    def show(name: str, text: str, read: Callable[[], float]) -> None:
        kind: Literal["gauge", "counter"] = "gauge" if name == "up" else "counter"
        metrics.watch(f"penstock_store_{name}", text, kind, read)

    show("up", "1 while the store of shared limits answers.", lambda: store.problem is None)
    show("messages", "Messages to the store.", lambda: store.messages)
    show("errors", "Messages the store did not answer.", lambda: store.failures)
    show("asks", "Calls that waited for the store.", lambda: store.asked)
    show("denied", "Calls refused without it.", lambda: store.decided["deny"])
    show("shared_out", "Calls let through without it, of this proxy's even part.",
         lambda: store.decided["local_share"])  # fmt: skip
    show("allowed", "Calls let through without it, unlimited.", lambda: store.decided["allow"])


def _watch(recording: Recording) -> None:
    audit, recorder, spans = recording.audit, recording.recorder, recording.spans
    watch = recording.metrics.watch
    watch("penstock_audit_records", "Audit lines written.", "counter", lambda: audit.written)
    watch(
        "penstock_audit_dropped",
        "Audit lines that could not be written.",
        "counter",
        lambda: audit.dropped,
    )
    watch(
        "penstock_record_failures",
        "Times a part of recording failed.",
        "counter",
        lambda: sum(recorder.failures.values()),
    )
    if spans:
        watch("penstock_telemetry_exported", "Spans exported.", "counter", lambda: spans.exported)
        watch(
            "penstock_telemetry_failed",
            "Spans no collector took.",
            "counter",
            lambda: spans.failed,
        )
        watch(
            "penstock_telemetry_dropped",
            "Spans dropped because the queue was full.",
            "counter",
            lambda: spans.dropped,
        )
