"""``penstock test``: cases that pass, fail with expected and got, or cannot be run."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.exchange import Destination
from penstock.policy.offline.recorded import call_of
from penstock.policy.offline.shorthand import CHAT_ENDPOINTS, caller_from, request_from
from penstock.policy.offline.testing import Outcome, run_tests
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


def recorded(tmp_path: Path, name: str, **request: Any) -> str:
    """A recording of one exchange, its file's name."""
    described = {
        "method": "POST",
        "url": "https://api.anthropic.com/v1/messages",
        "headers": {"content-type": "application/json"},
        **request,
    }
    (tmp_path / name).write_text(json.dumps({"request": described}) + "\n")
    return name


def document(raw: bytes) -> str:
    """A call that carries a PDF."""
    data = base64.b64encode(raw).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    said = [{"type": "document", "source": source}, {"type": "text", "text": "Read!"}]
    return json.dumps({"model": "gpt-m", "messages": [{"role": "user", "content": said}]})


@pytest.mark.parametrize(
    ("request_part", "message"),
    [
        ({"body": document(b"%PDF-1.7 and no more of it")}, "a file in it cannot be read"),
        ({"body": '{"model": "gpt-a", "model": "gpt-b"}'}, "is ambiguous"),
        (
            {"body": "no gzip", "headers": {"content-encoding": "gzip"}},
            "cannot be inspected: ",
        ),
    ],
)
def test_recorded_call_that_cannot_be_read_is_refused_as_in_the_proxy(
    tmp_path: Path, request_part: dict[str, Any], message: str
) -> None:
    """A file, a body or a coding nobody can read: a refusal where rules look into content."""
    (tmp_path / "files.yaml").write_text(
        "version: 1\nrules:\n  - {id: f, deny: {find: [secret], in: [request, document]}}\n"
    )
    refusal = {"rule": "penstock.unreadable", "message": message, "status": 403}
    wanted = {"verdict": "deny", "rules": ["penstock.unreadable"], "refusal": refusal}
    case = {"policy": "files.yaml", "file": recorded(tmp_path, "r.jsonl", **request_part)}
    first, second = run(
        tmp_path, {**case, "expect": wanted}, {**case, "expect": {"verdict": "allow"}}
    )
    assert first.passed, first
    assert second.wrong and "penstock.unreadable" in second.wrong[0]


def test_unreadable_call_passes_where_no_rule_looks_into_it(tmp_path: Path) -> None:
    """As in the proxy: a rule about hosts needs no body."""
    (tmp_path / "hosts.yaml").write_text(
        "version: 1\nrules:\n  - {id: never, deny: {hosts: [never.example]}}\n"
    )
    name = recorded(tmp_path, "r.jsonl", body="x", headers={"content-encoding": "gzip"})
    case = {"policy": "hosts.yaml", "file": name, "expect": {"verdict": "allow", "rules": []}}
    (outcome,) = run(tmp_path, case)
    assert outcome.passed, outcome


def test_what_is_no_ai_is_judged_by_its_place_alone(tmp_path: Path) -> None:
    """As in the proxy: nobody reads what is sent to any other site, unless a rule names it."""
    (tmp_path / "other.yaml").write_text(
        "version: 1\nintercept: all\nrules:\n  - {id: s, deny: {find: [secret, pii.email]}}\n"
        "  - {id: named, deny: {find: [pii.email], hosts: [named.example.org]}}\n"
    )
    call = {"host": "paste.example.org", "path": "/upload", "body": "jane.roe@acme-widgets.com"}
    (first, second) = run(
        tmp_path,
        {"policy": "other.yaml", "call": call, "expect": {"verdict": "allow", "rules": []}},
        {
            "policy": "other.yaml",
            "call": {**call, "host": "named.example.org"},
            "expect": {"verdict": "deny", "rules": ["penstock.unreadable"]},
        },
    )
    assert first.passed, first
    assert second.passed, second


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "r.jsonl:1 is no recorded exchange"),
        ("[]", "r.jsonl:1 is no recorded exchange: it has no 'request'"),
        ('{"response": {}}', "r.jsonl:1 is no recorded exchange: it has no 'request'"),
        ('{"request": "GET /"}', "a request is a mapping"),
        ('{"request": {"url": "https://a.example", "headers": ["x"]}}', "a request is a mapping"),
        ('{"request": {"url": "ftp://a.example"}}', "'url' must be an http or https URL"),
        ('{"request": {"url": "https://a.example:port"}}', "r.jsonl:1 is no recorded exchange"),
        (
            '{"request": {"url": "https://a.example", "body": "%", "encoding": "base64"}}',
            "the body is not base64",
        ),
        ("\ud800", "r.jsonl"),
    ],
)
def test_line_that_is_no_exchange_is_an_error_that_names_its_place(
    tmp_path: Path, line: str, error: str
) -> None:
    """Whatever stands in a recording: the case fails with file, line and reason."""
    (tmp_path / "r.jsonl").write_bytes(line.encode("utf-8", "surrogatepass"))
    (outcome,) = run(tmp_path, {"file": "r.jsonl", "expect": {"verdict": "allow"}})
    assert not outcome.passed and error in outcome.error


def test_gzipped_recording_is_read(tmp_path: Path) -> None:
    """As ``penstock replay`` reads it; one that is broken is an error."""
    body = json.dumps({"model": "o4-mini", "messages": []})
    name = recorded(tmp_path, "r.jsonl", body=body, url="https://api.openai.com/v1/responses")
    packed = gzip.compress((tmp_path / name).read_bytes())
    (tmp_path / "r.jsonl.gz").write_bytes(packed)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-12])
    expect = {"verdict": "deny", "rules": ["models"]}
    good, cut = run(
        tmp_path,
        {"file": "r.jsonl.gz", "expect": expect},
        {"file": "cut.jsonl.gz", "expect": expect},
    )
    assert good.passed, good
    assert "cut.jsonl.gz cannot be read" in cut.error


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
