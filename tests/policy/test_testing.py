"""``penstock test``: cases that pass, fail with expected and got, or cannot be run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.exchange import Destination
from penstock.policy.recorded import call_of
from penstock.policy.shorthand import CHAT_ENDPOINTS, caller_from, request_from
from penstock.policy.testing import Outcome, run_tests
from penstock.wire import read_request

EXAMPLES = Path(__file__).parent / "examples"
POLICY = """
version: 1
rules:
  - {id: models, allow: {models: [gpt-*]}}
  - {id: mails, redact: {find: [pii.email], in: [both]}}
  - {id: rate, limit: {requests: 1, every: 1h}}
  - {id: never, deny: {hosts: [never.example]}}
"""
CALL = {"provider": "openai", "model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


def run(tmp_path: Path, *cases: dict[str, Any]) -> list[Outcome]:
    """The outcomes of cases for POLICY."""
    (tmp_path / "p.yaml").write_text(POLICY)
    full = [{"name": "case", "policy": "p.yaml", **case} for case in cases]
    (tmp_path / "p_test.yaml").write_text(yaml.safe_dump(full, sort_keys=False))
    return run_tests([tmp_path]).outcomes


def test_shipped_and_example_policies_pass_their_tests() -> None:
    """Every case beside a policy passes, and every rule is reached by one."""
    report = run_tests([EXAMPLES, Path(__file__).parents[2] / "policies"])
    assert [one for one in report.outcomes if not one.passed] == []
    assert report.unreached() == []
    assert len(report.outcomes) >= 20


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [
        ({"verdict": "deny"}, "verdict: expected deny, got allow"),
        ({"would": "edit"}, "would: expected edit, got allow"),
        ({"rules": ["models"]}, "rules: expected ['models'], got []"),
        ({"edits": 3}, "edits: expected 3, got 0"),
        ({"findings": ["pii.email"]}, "findings: expected ['pii.email'], got []"),
        ({"refusal": {"status": 403}}, "refusal.status: expected 403, got None"),
        ({"body_contains": "hello"}, "body_contains: 'hello' is not in the body"),
        ({"body_lacks": "hi"}, "body_lacks: 'hi' is in the body"),
    ],
)
def test_failing_case_shows_expected_and_got(
    tmp_path: Path, expect: dict[str, Any], wrong: str
) -> None:
    """A failing test says what was expected, what came, and where the case stands."""
    (outcome,) = run(tmp_path, {"call": CALL, "expect": expect})
    assert not outcome.passed and outcome.line == 1
    assert outcome.wrong[0].startswith(wrong)


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ({"call": CALL}, "'expect' is a mapping"),
        ({"call": CALL, "expect": {}}, "'expect' is a mapping"),
        ({"call": CALL, "expect": {"verdit": "deny"}}, "unknown key 'verdit' in expect"),
        ({"call": {"providr": "openai"}, "expect": {"edits": 0}}, "unknown key 'providr'"),
        ({"call": {"provider": "nobody"}, "expect": {"edits": 0}}, "name a 'host'"),
        ({"call": CALL | {"caller": {"usr": "a"}}, "expect": {"edits": 0}}, "unknown key 'usr'"),
        ({"call": {"mcp": {"tool": "x"}}, "expect": {"edits": 0}}, "'server'"),
        ({"call": CALL, "expect": {"edits": 0}, "uses": {"euro": 1}}, "'uses' is a mapping"),
        ({"call": CALL, "expct": {}}, "unknown key 'expct'"),
        ({"calls": [], "expect": {}}, "'calls' is a list of steps"),
        ({"calls": [{"call": CALL, "exp": 1}]}, "unknown key 'exp'"),
        ({"expect": {"edits": 0}}, "a case needs 'call'"),
        ({"file": "none.jsonl", "expect": {"edits": 0}}, "none.jsonl"),
        ({"policy": "none.yaml", "call": CALL, "expect": {"edits": 0}}, "no such file"),
    ],
)
def test_case_that_cannot_run_is_a_failure_with_its_reason(
    tmp_path: Path, case: dict[str, Any], error: str
) -> None:
    """A mistyped case never passes in silence."""
    (outcome,) = run(tmp_path, case)
    assert not outcome.passed and error in outcome.error


@pytest.mark.parametrize("content", ["", "{}", "- a\n- [", "- 1", "\x00"])
def test_broken_test_file_is_a_failure(tmp_path: Path, content: str) -> None:
    """A file without cases, or that is no YAML, does not count as passed."""
    (tmp_path / "x_test.yaml").write_text(content)
    (outcome,) = run_tests([tmp_path]).outcomes
    assert outcome.error


def test_sequence_shares_limits_and_time(tmp_path: Path) -> None:
    """Steps spend from the same limits; ``at`` moves the clock; the step's number is told."""
    steps = [
        {"call": CALL, "expect": {"verdict": "allow"}},
        {"call": CALL, "at": 10, "expect": {"verdict": "allow"}},
        {"call": CALL, "at": 7300, "expect": {"verdict": "allow"}},
    ]
    (outcome,) = run(tmp_path, {"calls": steps})
    assert len(outcome.wrong) == 1 and outcome.wrong[0].startswith("call 2: verdict: expected")


def test_answer_of_a_case_is_judged(tmp_path: Path) -> None:
    """Response rules are testable without a provider."""
    case = {"call": CALL, "answer": "write to jane.roe@acme-widgets.com"}
    good = {"answer_verdict": "edit", "answer_lacks": "jane.roe", "answer_contains": "write to"}
    bad = {"answer_verdict": "allow", "answer_contains": "jane.roe"}
    first, second = run(tmp_path, {**case, "expect": good}, {**case, "expect": bad})
    assert first.passed, first
    assert [text.split(":")[0] for text in second.wrong] == ["answer_verdict", "answer_contains"]


def test_recorded_line_is_a_call(tmp_path: Path) -> None:
    """``file`` and ``line`` take a recorded exchange in place of short-hand."""
    request = {
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"model": "o4-mini", "messages": [{"role": "user", "content": "x"}]}),
    }
    (tmp_path / "r.jsonl").write_text("{}\n" + json.dumps({"request": request}) + "\n")
    (outcome,) = run(
        tmp_path,
        {"file": "r.jsonl", "line": 2, "expect": {"verdict": "deny", "rules": ["models"]}},
    )
    assert outcome.passed, outcome


def test_coverage_names_rules_no_case_reached(tmp_path: Path) -> None:
    """A rule nobody tested is said by name."""
    run(tmp_path, {"call": CALL, "expect": {"verdict": "allow"}})
    unreached = [rule for _, rule in run_tests([tmp_path]).unreached()]
    assert unreached == ["mails", "never"]


@pytest.mark.parametrize("provider", sorted(CHAT_ENDPOINTS))
def test_short_hand_is_read_as_the_provider_it_names(provider: str) -> None:
    """Short-hand becomes the provider's own bytes and is read back by the production path."""
    described = {
        "provider": provider,
        "model": "a-model",
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": "Three?"},
        ],
    }
    call = call_of(request_from(described), caller_from(described), "x")
    assert call.destination.known and call.destination.category != "other"
    assert call.exchange.problem is None and not call.exchange.api.startswith("unknown")
    assert call.exchange.model == "a-model"
    texts = [(message.role, message.text()) for message in call.exchange.messages]
    assert texts == [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "Two."),
        ("user", "Three?"),
    ]


def test_short_hand_for_tools_parameters_and_mcp() -> None:
    """Tools by name, parameters, streaming; a tools/call with its arguments."""
    request = request_from({**CALL, "tools": ["shell"], "stream": True, "parameters": {"n": 2}})
    exchange = read_request(request, Destination(request.host, 443))
    assert [tool.name for tool in exchange.tools] == ["shell"]
    assert exchange.stream and exchange.parameters["n"] == 2
    mcp = {"server": "https://mcp.example.com/mcp", "tool": "get", "arguments": {"id": 7}}
    request = request_from({"mcp": mcp})
    found = read_request(request, Destination(request.host, 443)).mcp
    assert found is not None and (found.tool, found.arguments) == ("get", {"id": 7})
