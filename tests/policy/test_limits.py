"""The limit rule's words: bursts, calls at once, zones, exceptions, and what happens beyond."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from making import NOON, State, call, policy_of, problems_of

from penstock.exchange import Message, Part
from penstock.policy.call import Call
from penstock.policy.decide import decide
from penstock.policy.decision import Decision
from penstock.policy.offline.dry_state import DryState
from penstock.policy.policy import Policy
from penstock.policy.state import Estimate
from penstock.wire.edits import apply


def limited(folder: Path, limit: str, more: str = "") -> Policy:
    return policy_of(folder, f"  - {{id: r, limit: {{{limit}}}}}\n{more}")


def verdicts(policy: Policy, users: str, state: State | None = None, now: float = NOON) -> str:
    state = state or State(policy)
    letters = {"allow": "a", "deny": "d", "edit": "e"}
    return "".join(letters[decide(policy, call(user=u), state, now).verdict] for u in users)


def test_burst_at_once_then_steadily(tmp_path: Path) -> None:
    policy = limited(tmp_path, "requests: 60, every: 1m, burst: 3")
    state = State(policy)
    assert verdicts(policy, "xxxx", state) == "aaad"
    assert verdicts(policy, "xx", state, NOON + 1.01) == "ad"
    message = decide(policy, call(), state, NOON + 1.01).reasons[0].message
    assert "the limit of 3 requests at once is used up" in message


def test_only_limits_that_ask_get_exact_counts(tmp_path: Path) -> None:
    """Both kinds side by side; the state is asked once for each."""
    exact = "  - {id: b, limit: {tokens: 9000, every: 1h, estimate: tiktoken}}\n"
    policy = limited(
        tmp_path,
        "tokens: 9000, every: 1h",
        exact + exact.replace("id: b", "id: c").replace("9000", "8000"),
    )
    asked: list[bool] = []

    class Watched(State):
        def estimate(self, call: Call, exact: bool = False) -> Estimate:
            asked.append(exact)
            return Estimate(7 if exact else 8, 0)

    decision = decide(policy, call(), Watched(policy), NOON)
    held = {c.rule: c.reserve for r in decision.reservations for c in r.claims}
    assert held == {"r": 8, "b": 7, "c": 7}
    assert sorted(asked) == [False, True]
    assert policy.counts_tokens and not limited(tmp_path, "tokens: 5, every: 1h").counts_tokens


def test_policy_tests_count_as_the_proxy_does(tmp_path: Path) -> None:
    policy = limited(tmp_path, "input_tokens: 9000, every: 1h, estimate: tiktoken")
    one = call()
    one.exchange.messages.append(Message("user", [Part("text", text="word " * 1000)]))
    decision = decide(policy, one, DryState(policy), NOON)
    assert decision.reservations[0].claims[0].reserve == 1000 + 7


def test_parallel_calls(tmp_path: Path) -> None:
    policy = limited(tmp_path, "parallel: 2, per: [user]")
    state = State(policy)
    first = decide(policy, call(user="x"), state, NOON)
    assert verdicts(policy, "xxy", state) == "ada"
    refusal = decide(policy, call(user="x"), state, NOON).refusal
    assert refusal is not None and (refusal.status, refusal.code) == (429, "rate_limit_exceeded")
    state.quotas.settle(NOON + 1, first.reservations[0], {"requests": 1})
    assert verdicts(policy, "x", state) == "a"


def test_day_of_the_zone(tmp_path: Path) -> None:
    """In Auckland the day ends at another hour."""
    policy = limited(tmp_path, "requests: 1, every: 1d, zone: Pacific/Auckland")
    state = State(policy)
    first = decide(policy, call(), state, NOON)
    state.quotas.settle(NOON, first.reservations[0], {})
    waits = decide(policy, call(), state, NOON).refusal
    assert waits is not None and waits.retry_after_seconds is not None
    assert waits.retry_after_seconds == 23 * 3600  # 12:00 UTC is 01:00 there in January


def test_overrides_most_specific_then_smallest(tmp_path: Path) -> None:
    policy = limited(
        tmp_path,
        "requests: 2, every: 1h, per: [user, model], overrides: ["
        "{user: mia, requests: 4}, {model: GPT-5-mini, requests: 3},"
        "{user: noa, model: gpt-5-mini, requests: 1}]",
    )
    state = State(policy)
    assert verdicts(policy, "mmmm", state) == "aaad"  # by model
    assert [decide(policy, call(user="mia"), state, NOON).verdict for _ in range(4)] == [
        "allow", "allow", "allow", "deny",
    ]  # fmt: skip
    assert [decide(policy, call(user="noa"), state, NOON).verdict for _ in range(2)] == [
        "allow", "deny",
    ]  # fmt: skip
    other = [decide(policy, call(user="mia", model="o3"), state, NOON).verdict for _ in range(5)]
    assert other == ["allow"] * 4 + ["deny"]


def test_warn_lets_through_and_keeps_the_debt(tmp_path: Path) -> None:
    policy = limited(tmp_path, "requests: 1, every: 1h, on_exceed: warn")
    state = State(policy)
    assert verdicts(policy, "xxx", state) == "aaa"
    decision = decide(policy, call(), state, NOON)
    assert "the call goes through" in decision.reasons[0].message
    assert decision.refusal is None and len(decision.reservations) == 1
    standing = state.quotas.remaining(NOON, decision.reservations[0].claims)
    assert standing[0].remaining == -3


def test_warn_beside_a_limit_that_refuses_takes_nothing(tmp_path: Path) -> None:
    policy = limited(
        tmp_path,
        "requests: 1, every: 1h, on_exceed: warn",
        "  - {id: hard, limit: {requests: 2, every: 1d}}",
    )
    state = State(policy)
    assert verdicts(policy, "xxxx", state) == "aadd"
    assert state.quotas.open_reservations == 3  # the second call holds a strict and a lenient one


DOWNGRADE = "usd: 1, every: 1d, on_exceed: {downgrade: {model: gpt-5-nano}}"


def asked(state: State, policy: Policy, body: bytes, document: object) -> Decision:
    state.expected = Estimate(10, 10, Decimal("0.6"))
    return decide(policy, call(document=document), state, NOON)


def test_downgrade_sends_another_model_and_moves_no_other_byte(tmp_path: Path) -> None:
    policy = limited(tmp_path, DOWNGRADE)
    state = State(policy)
    body = b'{"messages": [], "model" : "gpt-5-mini", "n": 1}'
    document = {"messages": [], "model": "gpt-5-mini", "n": 1}
    assert asked(state, policy, body, document).verdict == "allow"
    decision = asked(state, policy, body, document)
    assert (decision.verdict, decision.model) == ("edit", "gpt-5-nano")
    assert apply(body, decision.edits) == body.replace(b"gpt-5-mini", b"gpt-5-nano")
    assert "the model is gpt-5-nano instead" in decision.reasons[0].message
    assert len(decision.reservations) == 1


def test_downgrade_to_a_model_that_is_denied_is_denied(tmp_path: Path) -> None:
    policy = limited(tmp_path, DOWNGRADE, "  - {id: no, deny: {models: [gpt-5-nano]}}")
    state = State(policy)
    document = {"model": "gpt-5-mini"}
    asked(state, policy, b"", document)
    decision = asked(state, policy, b"", document)
    assert decision.verdict == "deny" and decision.refusal is not None
    assert decision.reservations == [] and decision.edits == []


def test_downgrade_holds_the_other_models_limits(tmp_path: Path) -> None:
    policy = limited(
        tmp_path, DOWNGRADE, "  - {id: nano, limit: {requests: 1, every: 1h, per: [model]}}"
    )
    state = State(policy)
    document = {"model": "gpt-5-mini"}
    results = [asked(state, policy, b"", document).verdict for _ in range(3)]
    assert results == ["allow", "edit", "deny"]


@pytest.mark.parametrize("document", [{}, None, {"model": "gpt-5-nano"}, {"model": ["x"]}])
def test_downgrade_that_cannot_be_made_is_a_refusal(tmp_path: Path, document: object) -> None:
    """The model stands in the path, or is the smaller one already."""
    policy = limited(tmp_path, DOWNGRADE)
    state = State(policy)
    asked(state, policy, b"", document)
    decision = asked(state, policy, b"", document)
    assert decision.refusal is not None and decision.refusal.status == 429


def test_shadow_downgrade_changes_nothing(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, f"  - {{id: r, mode: shadow, limit: {{{DOWNGRADE}}}}}")
    state = State(policy)
    for _ in range(3):
        decision = asked(state, policy, b"", {"model": "gpt-5-mini"})
        assert (decision.verdict, decision.edits, decision.model) == ("allow", [], None)
    assert decision.would == "deny"


def test_team_is_a_scope(tmp_path: Path) -> None:
    policy = limited(tmp_path, "requests: 1, every: 1h, per: [team]")
    state, one, other = State(policy), call(), call()
    one.caller.workload.labels["team"] = "pay"
    other.caller = replace(other.caller, claims={"team": "ads"})
    first = decide(policy, one, state, NOON)
    assert first.reservations[0].claims[0].scope == (("team", "pay"),)
    assert decide(policy, other, state, NOON).verdict == "allow"
    assert decide(policy, one, state, NOON).verdict == "deny"


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("requests: 5", "'every' is missing"),
        ("parallel: 5, every: 1h", "leave 'every' out"),
        ("parallel: 5, burst: 2", "burst belongs to a limit whose"),
        ("requests: 5, every: 1d, burst: 2", "burst belongs to a limit whose"),
        ("requests: 5, every: 1h, burst: 6", "limits nothing"),
        ("requests: 5, every: 1h, burst: 2.5", "whole numbers"),
        ("requests: 5, every: 1h, zone: Europe/Berlin", "belongs to a calendar window"),
        ("requests: 5, every: 1d, zone: Mars/Olympus", "there is no time zone"),
        ("requests: 5, every: 1h, on_exceed: cut", "cut ends an answer that grows"),
        ("requests: 5, every: 1h, estimate: tiktoken", "estimate is how the input"),
        ("output_tokens: 5, every: 1h, estimate: tiktoken", "estimate is how the input"),
        ("tokens: 5, every: 1h, estimate: exact", "'exact' is not known"),
        ("tokens: 5, every: 1h, on_exceed: stop", "'stop' is not known"),
        ("tokens: 5, every: 1h, on_exceed: {downgrade: {}}", "'model' is missing"),
        ("tokens: 5, every: 1h, on_exceed: {}", "'downgrade' is missing"),
        ("tokens: 5, every: 1h, overrides: [{user: x, tokens: 6}]", "'per' does not name it"),
        ("tokens: 5, every: 1h, per: [user], overrides: [{user: x}]", "'tokens' is missing"),
        ("tokens: 5, every: 1h, per: [user], overrides: [{tokens: 6}]", "names a value"),
        ("tokens: 5, every: 1h, per: [user], overrides: [{user: x, usd: 6}]", "is of tokens"),
        (
            "tokens: 5, every: 1h, per: [user], overrides: [{user: x, tokens: 6}, "
            "{user: x, tokens: 7}]",
            "names the same",
        ),
    ],
)
def test_keys_that_do_not_fit_together_are_said(tmp_path: Path, limit: str, says: str) -> None:
    found = problems_of(tmp_path, f"version: 1\nrules:\n  - {{id: r, limit: {{{limit}}}}}\n")
    assert any(says in problem.message for problem in found), found
    assert all(problem.line == 3 for problem in found)
