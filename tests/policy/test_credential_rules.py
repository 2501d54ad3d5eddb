"""Credential rules: one source, named destinations, at most one key per call."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from making import NOON, State, call, policy_of, problems_of

from penstock.exchange import Destination
from penstock.policy.call import Call
from penstock.policy.decide import decide
from penstock.policy.decision import Decision

OPENAI = "  - {id: key, credential: {providers: [openai], from: {file: /run/openai}}}\n"


def decided(folder: Path, rules: str, made: Call | None = None, settings: str = "") -> Decision:
    policy = policy_of(folder, rules, settings)
    return decide(policy, made or call("hello"), State(policy), NOON)


def test_the_decision_names_the_source_and_no_key(tmp_path: Path) -> None:
    """Deciding is pure: which file, not what is in it."""
    decision = decided(tmp_path, OPENAI)
    assert decision.verdict == "allow" and decision.credential is not None
    assert decision.credential.spec.get("path") == "/run/openai"
    assert [(r.rule, r.verb, r.verdict) for r in decision.reasons] == [
        ("key", "credential", "allow")
    ]


@pytest.mark.parametrize(
    "destination",
    [
        Destination("api.anthropic.com", 443, "anthropic", "llm_api", known=True),
        Destination("evil.example", 443, "openai", "llm_api", known=False),  # by its shape only
    ],
)
def test_a_key_goes_to_known_hosts_of_its_provider_only(
    tmp_path: Path, destination: Destination
) -> None:
    """A host that merely speaks the format gets nothing."""
    assert decided(tmp_path, OPENAI, call("x", destination=destination)).credential is None


def test_no_key_in_clear(tmp_path: Path) -> None:
    """Over http only to a host the rule names itself."""
    plain = replace(call("x"), scheme="http")
    assert decided(tmp_path, OPENAI, plain).verdict == "deny"
    named = OPENAI.replace("providers: [openai]", "hosts: [api.openai.com]")
    assert decided(tmp_path, named, plain).credential is not None


def test_two_rules_for_one_call_are_refused_unless_told_apart(tmp_path: Path) -> None:
    """Which key is used never depends on the order of rules."""
    other = OPENAI.replace("id: key", "id: other").replace("/run/openai", "/run/other")
    decision = decided(tmp_path, OPENAI + other)
    assert decision.verdict == "deny" and "'other'" in decision.reasons[0].message
    when = "when: caller.workload.namespace == 'prod', "
    apart = OPENAI.replace("credential:", f"{when.replace('==', '!=')}credential:") + other.replace(
        "credential:", f"{when}credential:"
    )
    decision = decided(tmp_path, apart, call("x", namespace="prod"))
    assert decision.credential is not None and decision.credential.rule == "other"


def test_a_watching_rule_gives_no_key(tmp_path: Path) -> None:
    """Shadow and observe change nothing."""
    for settings in ("mode: shadow", "mode: observe"):
        decision = decided(tmp_path, OPENAI, settings=settings)
        assert decision.credential is None and decision.reasons[0].enforced is False


def test_a_pinned_destination_takes_a_key_of_ours(tmp_path: Path) -> None:
    """The worthless token is on no list; the key that replaces it is the organisation's."""
    pin = "  - {id: pin, allow: {credentials: ['0011223344556677']}}\n"
    carrying = replace(call("x"), caller=replace(call("x").caller, credentials=("f" * 16,)))
    assert decided(tmp_path, pin, carrying).verdict == "deny"
    assert decided(tmp_path, pin + OPENAI, carrying).verdict == "allow"


GOOD = [
    "{providers: [openai], from: {environment: KEY}}",
    "{hosts: [a.example], from: {command: [pass, openai]}, every: 5m, as: x-api-key}",
    "{hosts: [a.example], from: {vault: {address: 'https://v', path: p, token_file: /t}}}",
    "{hosts: [a.example], from: {vault: {address: 'http://127.0.0.1:8100', path: p, role: r}}}",
    "{providers: [bedrock], from: {aws: {}}}",
    "{providers: [azure], from: {azure: {}}}",
    "{hosts: [a.example], from: {google: {audience: //iam, token_file: /t}}}",
    "{hosts: [a.example], from: {oauth: {token_url: 'https://t', client_id: c}}}",
    "{hosts: [a.example], from: {exchange: {token_url: 'https://t', audience: a}}}",
    "{hosts: ['*.openai.azure.com'], from: {file: /k}}",
]
BAD = {
    "{from: {file: /k}}": "must not go to any other",
    "{models: [gpt-*], from: {file: /k}}": "must not go to any other",
    "{hosts: ['*'], from: {file: /k}}": "nobody here has named",
    "{hosts: ['*.com'], from: {file: /k}}": "nobody here has named",
    "{providers: ['*'], from: {file: /k}}": "nobody here has named",
    "{hosts: [a.b]}": "'from' is missing",
    "{hosts: [a.b], from: {}}": "found none",
    "{hosts: [a.b], from: {file: /k, environment: K}}": "found file, environment",
    "{hosts: [a.b], from: {files: /k}}": "unknown key 'files'",
    "{hosts: [a.b], from: {command: []}}": "the command is empty",
    "{hosts: [a.b], from: {vault: {address: 'https://v', path: p}}}": "how to log in",
    "{hosts: [a.b], from: {vault: {address: 'http://v', path: p, role: r}}}": "in clear",
    "{hosts: [a.b], from: {oauth: {token_url: 'https://u:p@t'}}}": "must not hold credentials",
    "{hosts: [a.b], from: {oauth: {token_url: 'https://t'}}, as: sigv4}": "do not sign",
    "{hosts: [a.b], from: {aws: {}}, as: bearer}": "leave 'as' out",
    "{hosts: [a.b], from: {file: /k}, every: 5m}": "for a command only",
    "{hosts: [a.b], from: {file: /k}, as: cookie}": "'cookie' is not known",
}


@pytest.mark.parametrize("rule", GOOD)
def test_each_source_loads(tmp_path: Path, rule: str) -> None:
    """One rule of each kind."""
    assert problems_of(tmp_path, f"version: 1\nrules:\n  - {{id: a, credential: {rule}}}") == []


@pytest.mark.parametrize("rule", BAD)
def test_mistakes_are_named(tmp_path: Path, rule: str) -> None:
    """Before anything is served."""
    problems = problems_of(tmp_path, f"version: 1\nrules:\n  - {{id: a, credential: {rule}}}")
    assert any(BAD[rule] in problem.message for problem in problems), problems


@pytest.mark.parametrize(
    ("callers", "why"),
    [
        ("{}", "name 'passwords', 'jwt' or 'mtls'"),
        ("{required: maybe, passwords: /p}", "'maybe' is not known"),
        ("{jwt: {issuer: i, audience: [], keys: /k}}", "admits no token"),
        ("{jwt: {issuer: i, audience: [a], keys: 'http://i/k'}}", "in clear"),
        ("{jwt: {issuer: i, audience: [a], keys: /k, algorithms: [HS256]}}", "'HS256'"),
        ("{jwt: {audience: [a], keys: /k}}", "'issuer' is missing"),
        ("{jwt: {issuer: i, audience: [a], keys: /k, algorithms: [none]}}", "'none'"),
        ("{mtls: {names: ['spiffe://a/*']}}", "'ca' is missing"),
        ("{mtls: {ca: /p, names: []}}", "admits nobody"),
        ("{mtls: {ca: /p, spiffe: []}}", "'spiffe'"),
    ],
)
def test_callers_are_asked_clearly_or_not_at_all(tmp_path: Path, callers: str, why: str) -> None:
    """A setting that would prove nothing does not load."""
    problems = problems_of(tmp_path, f"version: 1\ncallers: {callers}\nrules: []")
    assert any(why in problem.message for problem in problems), problems


def test_policies_of_the_documentation_load(tmp_path: Path) -> None:
    """What a reader of docs/credentials.md copies works."""
    text = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text()
    examples = re.findall(r"```yaml\n(version: 1.*?)```", text, re.S)
    assert len(examples) == 4
    for example in examples:
        assert problems_of(tmp_path, example) == []
