"""The summary of a run, from audit lines."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from penstock.cli.run_summary import Summary, audit_sizes, new_lines, render, summarise


def call(**fields: Any) -> dict[str, Any]:
    return {
        "type": "call",
        "destination": {"host": "api.anthropic.com"},
        "outcome": "answered",
        **fields,
    }


LINES = [
    {"type": "start"},
    call(usage={"input": 100, "output": 20}, cost_usd="0.0012", restored=2),
    call(
        usage={"input": 50},
        findings=[
            {"type": "secret.github_token", "action": "redact", "count": 2},
            {"type": "pii.email", "action": "none", "count": 9},
        ],
    ),
    call(
        outcome="refused",
        rules=[
            {"rule": "no-chat", "verdict": "deny", "enforced": True},
            {"rule": "tried", "verdict": "deny", "enforced": False},
        ],
    ),
    call(outcome="failed"),
    {"type": "call", "outcome": "tunnelled", "destination": {"host": "example.com"}},
]


def test_calls_tokens_cost_and_secrets_are_counted() -> None:
    assert summarise(LINES) == Summary(
        calls=4,
        refused=1,
        failed=1,
        tunnelled=1,
        hosts={"api.anthropic.com": 4},  # type: ignore[arg-type]  # a Counter equals a dict
        rules={"no-chat": 1},  # type: ignore[arg-type]
        input_tokens=150,
        output_tokens=20,
        cost_usd=Decimal("0.0012"),
        unpriced=1,
        redacted={"secret.github_token": 2},  # type: ignore[arg-type]
        restored=2,
    )


def test_the_text_says_all_of_it() -> None:
    assert render(summarise(LINES)) == [
        "4 calls (api.anthropic.com 4), 1 refused by no-chat, 1 failed",
        "150 tokens in, 20 out, $0.0012 and 1 call without a known price",
        "2 kept from leaving: secret.github_token 2, 2 put back into answers",
        "1 connection passed through unread",
    ]


def test_what_was_turned_away_is_no_refused_call() -> None:
    """The application asked for something that is no AI; it is told apart, with where to."""
    rules = [{"rule": "other_traffic", "verdict": "deny", "enforced": True}]
    away = call(outcome="refused", rules=rules, destination={"host": "example.com"})
    summary = summarise([call(), away, away])
    assert (summary.calls, summary.refused) == (1, 0)
    assert summary.as_json()["turned_away"] == {"example.com": 2}
    said = "2 connections to other hosts turned away by other_traffic: example.com 2"
    assert render(summary)[-1] == said


def test_a_run_without_a_call_says_what_that_may_mean() -> None:
    (line,) = render(summarise([]))
    assert "ignores HTTPS_PROXY" in line


def test_what_was_found_too_late_is_said() -> None:
    """By who found it; which calls they were is the audit log's to say."""
    found = {"type": "secret.candidate", "detector": "detect-secrets:KeywordDetector", "count": 1}
    late = {"type": "late", "id": "c0ffee", "findings": [found]}
    summary = summarise([call(), late, late])
    assert summary.as_json()["found_late"] == {"detect-secrets:KeywordDetector": 2}
    assert render(summary)[-1] == (
        "2 found when it had left: detect-secrets:KeywordDetector 2; "
        "`penstock audit show` says of which calls"
    )


def test_json_is_readable_back() -> None:
    data = json.loads(json.dumps(summarise(LINES).as_json()))
    assert data["cost_usd"] == "0.0012"
    assert data["tokens"] == {"input": 150, "output": 20}


def test_only_lines_written_since_are_read_over_a_rotation(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    audit.write_text('{"n": 1}\n')
    other = tmp_path / "audit-2.jsonl"
    other.write_text('{"n": 9}\n')
    before = audit_sizes(tmp_path)
    with audit.open("a") as stream:
        stream.write('{"n": 2}\n')
    audit.rename(tmp_path / "audit.000000000000.jsonl")
    audit.write_text('{"n": 3}\n')
    with other.open("a") as stream:
        stream.write('{"n": 10}\n')
    assert [line["n"] for line in new_lines(audit, before)] == [2, 3]


def test_a_torn_or_missing_log_is_no_error(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    assert list(new_lines(audit, {})) == []
    audit.write_text('{"n": 1}\n{"n": ')
    assert [line["n"] for line in new_lines(audit, {})] == [1]
