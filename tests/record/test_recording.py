"""Everything opened together: what it counts, and that two processes share no file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from penstock.exchange import Finding, McpCall
from penstock.meter.quotas import Claim, Quotas
from penstock.policy.decision import Located
from penstock.record.metrics import Metrics
from penstock.record.recording import (
    Recording,
    start_recording,
    watch_proxy,
    watch_quotas,
    watch_routes,
    watch_second_look,
)
from penstock.route.budget import RetryBudget

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "deploy/prometheus/penstock.rules.yaml"
DASHBOARD = REPOSITORY / "deploy/grafana/penstock.json"
DOCUMENT = REPOSITORY / "docs/telemetry.md"
METRIC = re.compile(r"\b(?:penstock|gen_ai_client|mcp_client|process)_[a-z0-9_]+")


@pytest.fixture
def recording(tmp_path):
    opened = start_recording(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    watch_quotas(opened.metrics, Quotas())
    watch_proxy(opened.metrics, refused=float, errors=float, contained=float)
    watch_routes(opened.metrics, RetryBudget())
    watch_second_look(opened.metrics, lambda: None)
    yield opened
    opened.recorder.close()


def shown(recording: Recording) -> set[str]:
    """Every series name that can appear, histograms' three included."""
    names = set()
    for line in recording.metrics.expose().decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            names |= {name} if kind != "histogram" else {f"{name}_{end}" for end in
                                                         ("bucket", "sum", "count")}  # fmt: skip
    return names


def test_one_record_reaches_every_part(tmp_path, record):
    opened = start_recording(tmp_path, {})
    opened.recorder.record(record())
    assert opened.status()["audit"]["written"] == 1
    assert b"penstock_audit_records_total 1.0" in opened.metrics.expose()
    opened.recorder.close()
    assert {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")} == {
        "audit.jsonl",
        "audit.head.json",
        "audit.checkpoint",
        "audit.key",
        "inventory.json",
    }


def test_two_on_one_directory_share_no_file(tmp_path, record):
    first, second = start_recording(tmp_path, {}), start_recording(tmp_path, {})
    for opened in (first, second):
        opened.recorder.record(record())
        opened.recorder.close()
    assert (tmp_path / "inventory-2.json").exists() and (tmp_path / "audit-2.jsonl").exists()


def test_limits_are_shown(tmp_path):
    metrics, quotas = Metrics(), Quotas()
    watch_quotas(metrics, quotas)
    quotas.reserve(0.0, [Claim("r", "requests", 5, 60, (), 1)])
    assert b"penstock_open_reservations 1.0" in metrics.expose()


def test_rules_and_dashboard_use_only_metrics_that_exist(recording):
    rules = yaml.safe_load(RULES.read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads(DASHBOARD.read_text())
    expressions += [target["expr"] for panel in dashboard["panels"]
                    for target in panel.get("targets", ())]  # fmt: skip
    used = {name for text in expressions for name in METRIC.findall(text)}
    recorded = {rule["record"].partition(":")[0] for group in rules["groups"]
                for rule in group["rules"] if "record" in rule}  # fmt: skip
    assert len(used) > 15
    assert used - shown(recording) - recorded == set()


def test_every_metric_is_documented_and_no_other(recording):
    documented = set(METRIC.findall(DOCUMENT.read_text()))
    ours = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in shown(recording)
        if not name.startswith("process_")
    }
    assert ours - documented == set()
    assert {name for name in documented if not name.startswith("process_")} - ours == set()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_accepts_the_rules_and_the_metrics(recording, record):
    finding = Located(Finding("secret.jwt", 0, 1, 1.0, "jwt"), "user", (), "response", "none")
    recording.metrics.policy_loaded("aaa", "enforce", 100.0)
    recording.recorder.record(record(findings=[finding], failure="failed_open"))
    recording.recorder.record(record(mcp=McpCall(methods=["tools/call"], tool="t"), cost_usd=None))
    for arguments, content in (
        (["check", "rules", str(RULES)], b""),
        (["check", "metrics"], recording.metrics.expose()),
    ):
        ran = subprocess.run(
            ["promtool", *arguments], input=content, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
