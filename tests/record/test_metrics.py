"""Metrics: what is counted, that nothing grows without bound, that Prometheus accepts it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.exchange import Destination, Finding, McpCall, Usage
from penstock.policy.decision import Located, Reason
from penstock.record.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.expose().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset(labels.items())]


def test_one_call_is_counted_in_every_way(record):
    metrics = Metrics()
    metrics.record(record())
    call = {"provider": "openai", "model": "gpt-4o"}
    assert value(metrics, "penstock_calls_total", api="openai.chat_completions", provider="openai",
                 verdict="edit", outcome="answered") == 1  # fmt: skip
    assert value(metrics, "penstock_tokens_total", **call, type="input", estimated="false") == 1200
    assert value(metrics, "penstock_tokens_total", **call, type="reasoning",
                 estimated="false") == 128  # fmt: skip
    assert value(metrics, "penstock_cost_usd_total", **call) == pytest.approx(0.00472)
    assert value(metrics, "penstock_redactions_total", type="pii.email", direction="request") == 1
    assert value(metrics, "penstock_policy_decisions_total", rule="no-secrets-out", verb="redact",
                 verdict="edit", mode="enforce") == 1  # fmt: skip
    assert value(metrics, "penstock_added_seconds_sum", checks="included") == 0.0012
    assert value(metrics, "penstock_added_seconds_sum", checks="excluded") == pytest.approx(0.0005)
    assert value(metrics, "gen_ai_client_token_usage_sum", gen_ai_operation_name="chat",
                 gen_ai_provider_name="openai", gen_ai_request_model="gpt-4o",
                 gen_ai_token_type="output") == 300  # fmt: skip


def test_a_shadow_rule_is_told_apart_from_an_enforced_one(record):
    metrics = Metrics()
    metrics.record(record(reasons=[Reason("later", "deny", "deny", "no", enforced=False)]))
    assert value(metrics, "penstock_policy_decisions_total", rule="later", verb="deny",
                 verdict="deny", mode="shadow") == 1  # fmt: skip


def test_a_call_without_a_price_is_a_miss_and_costs_not_zero(record):
    metrics = Metrics()
    metrics.record(record(cost_usd=None, price_source="model_unknown"))
    assert value(metrics, "penstock_price_lookup_misses_total", provider="openai",
                 reason="model_unknown") == 1  # fmt: skip
    assert not [key for key in samples(metrics) if key[0] == "penstock_cost_usd_total"]


def test_estimated_tokens_are_not_reported_as_the_providers(record):
    metrics = Metrics()
    metrics.record(record(usage=Usage(input_total=7, estimated=True)))
    assert value(metrics, "penstock_tokens_total", provider="openai", model="gpt-4o",
                 type="input", estimated="true") == 7  # fmt: skip
    assert not [key for key in samples(metrics) if key[0] == "gen_ai_client_token_usage_sum"]


def test_ten_thousand_hostile_names_make_a_bounded_number_of_series(record):
    metrics = Metrics()
    for number in range(10_000):
        metrics.record(
            record(
                model=f"model-{number}",
                destination=Destination(f"h{number}.example", 443, f"provider-{number}"),
                error_type=f"error{number}",
                reasons=[Reason(f"rule-{number}", "deny", "deny", "")],
            )
        )
        metrics.record(
            record(
                mcp=McpCall(methods=[f"m/{number}"], tool=f"tool-{number}"),
                destination=Destination(f"h{number}.example", 443),
            )
        )
    assert len(metrics._models._known) == 100
    assert metrics.expose().count(b"\n") < 60_000
    assert b"model-9999" not in metrics.expose()


def test_a_model_no_provider_answered_for_is_not_a_label(record):
    """A client cannot fill the table of models by asking for models that do not exist."""
    metrics = Metrics()
    for number in range(200):
        metrics.record(record(model=f"no-{number}", status=404, usage=Usage(), cost_usd=None))
    metrics.record(record())
    assert b"no-1" not in metrics.expose()
    assert b'gen_ai_request_model="gpt-4o"' in metrics.expose()


def test_failures_open_and_closed_are_counted_with_their_kind(record):
    metrics = Metrics()
    metrics.record(record(failure="failed_closed", failure_reason="ValueError"))
    assert value(metrics, "penstock_failures_total", result="failed_closed",
                 reason="ValueError") == 1  # fmt: skip


def test_an_mcp_call_is_counted_by_server_tool_and_verdict(record):
    metrics = Metrics()
    mcp = McpCall(methods=["tools/call"], tool="get_issue")
    metrics.record(record(mcp=mcp, destination=Destination("mcp.example", 443), verdict="allow"))
    assert value(metrics, "penstock_mcp_calls_total", server="mcp.example", method="tools/call",
                 tool="get_issue", verdict="allow") == 1  # fmt: skip


def test_a_refused_policy_leaves_the_old_hash_and_shows(record):
    metrics = Metrics()
    metrics.policy_loaded("aaa", "enforce", 100.0)
    metrics.policy_loaded("bbb", "enforce", 200.0)
    metrics.policy_refused()
    assert value(metrics, "penstock_config_info", hash="bbb", mode="enforce") == 1
    assert not [key for key in samples(metrics) if ("hash", "aaa") in key[1]]
    assert value(metrics, "penstock_config_last_reload_successful") == 0
    assert value(metrics, "penstock_config_reload_success_timestamp_seconds") == 200
    assert value(metrics, "penstock_config_reloads_total", result="failure") == 1


def test_numbers_kept_elsewhere_are_read_when_asked(record):
    metrics, lines = Metrics(), [3]
    metrics.watch("penstock_audit_records", "Audit lines.", "counter", lambda: float(lines[0]))
    lines[0] = 4
    assert value(metrics, "penstock_audit_records_total") == 4


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing_to_say(record):
    metrics = Metrics()
    metrics.policy_loaded("aaa", "enforce", 100.0)
    finding = Located(Finding("secret.jwt", 0, 1, 1.0, "jwt"), "user", (), "response", "none")
    metrics.record(record(findings=[finding], failure="failed_open", failure_reason="KeyError"))
    metrics.record(record(mcp=McpCall(methods=["tools/call"], tool="get_issue")))
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.expose(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
