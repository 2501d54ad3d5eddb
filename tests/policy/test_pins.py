"""Key pinning: only the organisation's own keys, whatever else is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from making import NOON, State, call, policy_of, problems_of

from penstock.exchange import Destination
from penstock.policy.call import Call
from penstock.policy.decide import decide
from penstock.policy.decision import Decision

OURS, SECOND, THEIRS = "00112233aabbccdd", "1111111111111111", "ffffffffffffffff"
PIN = f"  - {{id: our-keys, allow: {{credentials: ['{OURS}', '{SECOND}']}}}}\n"
MODELS = "  - {id: models, allow: {providers: [openai], models: [gpt-*]}}\n"


def keyed(*fingerprints: str, made: Call | None = None) -> Call:
    """A call that carries keys with these fingerprints."""
    one = made or call("hello")
    first = fingerprints[0] if fingerprints else None
    return replace(one, caller=replace(one.caller, credential=first, credentials=fingerprints))


def verdict(folder: Path, rules: str, made: Call) -> Decision:
    policy = policy_of(folder, rules)
    return decide(policy, made, State(policy), NOON)


@pytest.mark.parametrize("rules", [PIN, PIN + MODELS])
def test_only_listed_keys_pass(tmp_path: Path, rules: str) -> None:
    """One of ours passes; a personal key, none, or ours beside another one is refused."""
    assert verdict(tmp_path, rules, keyed(OURS)).verdict == "allow"
    assert verdict(tmp_path, rules, keyed(SECOND)).verdict == "allow"
    for keys in ((THEIRS,), (), (OURS, THEIRS), ("overlong",)):
        decision = verdict(tmp_path, rules, keyed(*keys))
        assert decision.verdict == "deny" and decision.reasons[0].rule == "our-keys"
        assert THEIRS not in (decision.refusal.message if decision.refusal else THEIRS)


def test_a_pin_opens_no_destination(tmp_path: Path) -> None:
    """Our key does not admit a model that no rule allows."""
    decision = verdict(tmp_path, PIN + MODELS, keyed(OURS, made=call("x", model="davinci")))
    assert [reason.rule for reason in decision.reasons] == ["models"]


def test_a_pin_speaks_of_its_own_destinations_only(tmp_path: Path) -> None:
    """A list for OpenAI says nothing about Anthropic, and two lists for one place add up."""
    rules = f"  - {{id: openai, allow: {{providers: [openai], credentials: ['{OURS}']}}}}\n" + (
        f"  - {{id: more, allow: {{providers: [openai], credentials: ['{SECOND}']}}}}\n"
        "  - {id: anthropic, allow: {providers: [anthropic]}}\n"
    )
    anthropic = Destination("api.anthropic.com", 443, "anthropic", "llm_api", known=True)
    other = call("x", api="anthropic.messages", model="claude-x", destination=anthropic)
    assert verdict(tmp_path, rules, keyed(THEIRS, made=other)).verdict == "allow"
    assert verdict(tmp_path, rules, keyed(SECOND)).verdict == "allow"
    assert verdict(tmp_path, rules, keyed(THEIRS)).verdict == "deny"


def test_a_pin_alone_leaves_what_is_no_model_alone(tmp_path: Path) -> None:
    """MCP servers have tokens per person; they are pinned by naming them."""
    place = Destination("m.example", 443, category="mcp")
    mcp = call("x", api="mcp.streamable_http", model=None, destination=place)
    assert verdict(tmp_path, PIN, keyed(THEIRS, made=mcp)).verdict == "allow"
    named = f"  - {{id: mcp, allow: {{hosts: [m.example], credentials: ['{OURS}']}}}}\n"
    assert verdict(tmp_path, named, keyed(THEIRS, made=mcp)).verdict == "deny"


def test_a_watching_pin_reports(tmp_path: Path) -> None:
    """In shadow mode the verdict stays, and says what it would have been."""
    rules = PIN.replace("allow:", "mode: shadow, allow:")
    decision = verdict(tmp_path, rules, keyed(THEIRS))
    assert (decision.verdict, decision.would) == ("allow", "deny")


def test_a_key_in_place_of_its_fingerprint_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """The mistake one makes once must not end in a log."""
    key = "sk-proj-this-is-a-real-key"
    rules = f"rules:\n  - {{id: a, allow: {{credentials: [{key}]}}}}"
    (problem,) = problems_of(tmp_path, "version: 1\n" + rules)
    assert "penstock keys fingerprint" in problem.message and key not in str(problem)
