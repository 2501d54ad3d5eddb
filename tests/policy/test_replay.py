"""Recorded calls decided again: what changes, counted by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from making import policy_of

from penstock.exchange import Caller
from penstock.policy.decide import decide, decide_answer
from penstock.policy.language.load import load
from penstock.policy.language.shipped import NAMES, shipped
from penstock.policy.offline.dry_state import DryState
from penstock.policy.offline.recorded import call_of, request_of
from penstock.policy.offline.replay import Summary, replay
from penstock.wire import edits, family_of
from penstock.wire.inspect import recorded_answer


def line(model: str, text: str = "hello") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    request = {
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }
    return json.dumps({"id": model, "request": request})


def test_summary_says_how_many_calls_a_rule_would_have_denied(tmp_path: Path) -> None:
    """The sentence one wants to read before a rule goes live, in shadow mode too."""
    for mode in ("enforce", "shadow"):
        rules = f"  - {{id: ours, allow: {{models: [gpt-*]}}, mode: {mode}}}"
        new, summary = policy_of(tmp_path, rules), Summary()
        rows = list(replay([line("gpt-5"), line("o4"), line("o3")], new, None, summary))
        assert (summary.calls, summary.changed, summary.denied_by["ours"]) == (3, 2, 2), mode
        assert [row.new.verdict for row in rows] == ["allow", "deny", "deny"]


def test_only_differences_count_against_another_policy(tmp_path: Path) -> None:
    """What both policies do alike is no difference."""
    old = policy_of(tmp_path, "  - {id: ours, allow: {models: [gpt-*]}}")
    new = policy_of(tmp_path, "  - {id: ours, allow: {models: [gpt-*, o4]}}")
    summary = Summary()
    rows = list(replay([line("gpt-5"), line("o4"), line("o3")], new, old, summary))
    assert [row.id for row in rows if row.changed] == ["o4"]
    assert summary.changed == 1


def test_limits_are_replayed_with_what_calls_really_used(tmp_path: Path) -> None:
    """Recorded usage is the truth a token limit is tried on."""
    usage = {"prompt_tokens": 900, "completion_tokens": 50, "total_tokens": 950}
    answer = {"status": 200, "headers": {}, "body": json.dumps({"choices": [], "usage": usage})}
    lines = [json.dumps({**json.loads(line("gpt-5")), "response": answer})] * 3
    policy = policy_of(tmp_path, "  - {id: t, limit: {tokens: 2_000, every: 1h}}")
    rows = list(replay(lines, policy, None, Summary()))
    assert [row.new.verdict for row in rows] == ["allow", "allow", "deny"]


def test_unreadable_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    """One broken line does not end a replay of a day."""
    policy, summary = policy_of(tmp_path, "  []"), Summary()
    lines = ["{", "[]", "{}", '{"request": {"url": "ftp://x"}}', line("gpt-5")]
    assert len(list(replay(lines, policy, None, summary))) == 1
    assert summary.unreadable == 4


def test_call_whose_body_cannot_be_read_counts_as_refused(tmp_path: Path) -> None:
    """What the proxy would refuse before any rule is no allowed call, and no broken line."""
    broken = json.loads(line("gpt-5"))
    broken["request"]["headers"]["content-encoding"] = "gzip"
    policy = policy_of(tmp_path, "  - {id: s, deny: {find: [secret]}}")
    summary = Summary()
    rows = list(replay([json.dumps(broken), line("gpt-5")], policy, None, summary))
    assert [(row.new.verdict, row.new.rules) for row in rows] == [
        ("deny", ("penstock.unreadable",)),
        ("allow", ()),
    ]
    assert summary.unreadable == 0 and summary.denied_by["penstock.unreadable"] == 1


def test_every_recording_is_decided_under_every_shipped_policy(
    recordings: list[dict[str, Any]],
) -> None:
    """Real traffic: no rule fails, edits fit the body they are for, observing changes nothing."""
    policies = {name: load([shipped(name)]) for name in NAMES}
    for number, recorded in enumerate(recordings):
        try:
            request = request_of(recorded["request"])
        except ValueError:
            continue  # a body whose coding is broken, which the proxy refuses before policy
        for name, policy in policies.items():
            state = DryState(policy)
            call = call_of(request, Caller(), "x")
            decision = decide(policy, call, state, number)
            assert decision.failures == [], (recorded["id"], name)
            if decision.edits:
                assert edits.apply(request.body, decision.edits) != request.body
            if name == "observe":
                assert decision.verdict == "allow" and decision.edits == []
            if name == "strict":
                assert decision.verdict == "deny"


def test_recorded_answers_are_judged(recordings: list[dict[str, Any]]) -> None:
    """Plain answers of every family: response rules read them and their edits fit."""
    policy = load([shipped("observe")]).with_mode("enforce")
    edited = 0
    for recorded in recordings:
        try:
            call = call_of(request_of(recorded["request"]), Caller(), "x")
            answer = recorded_answer(recorded["response"])
        except ValueError:
            continue
        family = family_of(call.exchange.api)
        if family.framing(call.exchange, answer, answer.body[:1024]) != "none":
            continue
        leaves = family.read_answer(call.exchange, answer)
        decision = decide_answer(policy, call, leaves, DryState(policy), 0)
        assert decision.failures == [], recorded["id"]
        if decision.edits:
            edited += 1
            assert edits.apply(answer.body, decision.edits) != answer.body, recorded["id"]
    assert edited > 0
