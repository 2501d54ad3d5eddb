"""What route rules decide: which rule speaks, which targets are left, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.exchange import Destination, Message, Part, ToolDefinition, Workload
from penstock.policy.decide import decide
from penstock.policy.decision import Decision
from penstock.policy.offline.testing import run_tests
from tests.policy.making import NOON, State, call, policy_of, problems_of

IN_HOUSE = '- id: in-house\n  route: {when_found: [pii], to: [{url: "https://llm.internal/v1"}]}\n'
SPREAD = """
- id: spread
  route:
    to:
      - {url: original}
      - {url: "https://api.groq.com/openai/v1", models: {gpt-*: llama}, priority: 2}
"""
DEEPSEEK = Destination("api.deepseek.com", 443, provider="deepseek", category="llm_api", known=True)


def decided(folder: Path, rules: str, made: object = None, settings: str = "") -> Decision:
    policy = policy_of(folder, rules, settings)
    return decide(policy, made or call("hello"), State(policy), NOON)  # type: ignore[arg-type]


def hosts(decision: Decision) -> list[str]:
    assert decision.route is not None, decision.reasons
    return [one.destination.host for one in decision.route.choices]


def test_no_rule_no_route(tmp_path: Path) -> None:
    """A policy without route rules, and a call none is about."""
    assert decided(tmp_path, "- {id: a, deny: {hosts: [x.example]}}").route is None
    rules = '- {id: r, route: {models: [claude-*], to: [{url: "https://x.example/v1"}]}}'
    assert decided(tmp_path, rules).route is None


def test_what_is_found_goes_in_house_and_nowhere_else(tmp_path: Path) -> None:
    """A prompt with personal data has one target; all other calls have the usual ones."""
    assert hosts(decided(tmp_path, IN_HOUSE + SPREAD, call("EMAIL"))) == ["llm.internal"]
    assert hosts(decided(tmp_path, IN_HOUSE + SPREAD)) == ["api.openai.com", "api.groq.com"]


def test_what_is_found_counts_also_when_it_is_redacted(tmp_path: Path) -> None:
    """The route looks at what the caller sent."""
    redact = "- {id: red, redact: {find: [pii], in: [request]}}\n"
    decision = decided(tmp_path, IN_HOUSE + redact, call("EMAIL"))
    assert hosts(decision) == ["llm.internal"] and decision.edits


def test_two_findings_with_different_places_are_refused(tmp_path: Path) -> None:
    """Neither rule may be broken for the other; a place both name serves."""
    cards = (
        '- id: cards\n  route: {when_found: [pii.card], to: [{url: "https://vault.internal"}%s]}'
    )
    apart = decided(tmp_path, IN_HOUSE + cards % "", call("EMAIL and CARD"))
    assert apart.verdict == "deny" and apart.route is None
    assert apart.refusal is not None and "different places" in apart.refusal.message
    both = cards % ', {url: "https://llm.internal/v1"}'
    assert hosts(decided(tmp_path, IN_HOUSE + both, call("EMAIL and CARD"))) == ["llm.internal"]


def test_rule_that_says_most_speaks(tmp_path: Path) -> None:
    """By model before for all; the order in the file never matters."""
    narrow = '- {id: z, route: {models: [gpt-5*], to: [{url: "https://narrow.example/v1"}]}}\n'
    for rules in (SPREAD + narrow, narrow + SPREAD):
        assert hosts(decided(tmp_path, rules)) == ["narrow.example"]


@pytest.mark.parametrize(
    ("key", "small", "large"),
    [
        ("larger_than: 1000", call("x"), call("x", body_bytes=1001)),
        ("tools: yes", call("x"), None),
        ("when", call("x", namespace="dev"), call("x", namespace="prod")),
    ],
)
def test_size_tools_and_conditions(tmp_path: Path, key: str, small: object, large: object) -> None:
    """Each narrows the rule."""
    rule = '- id: r\n  route: {%s to: [{url: "https://x.example/v1"}]}\n'
    if key == "when":
        rule = rule % "" + '  when: caller.workload.namespace == "prod"\n'
    else:
        rule = rule % (key + ",")
    if large is None:
        large = call("x")
        large.exchange.tools = [ToolDefinition("search")]
    assert decided(tmp_path, rule, small).route is None
    assert hosts(decided(tmp_path, rule, large)) == ["x.example"]


def test_shadow_traffic_is_redirected_past_its_own_allow_list(tmp_path: Path) -> None:
    """What never reaches the unapproved service need not be allowed there, but where it goes."""
    allow = "- {id: ok, allow: {providers: [openai], models: [gpt-5-mini]}}\n"
    redirect = """
- id: approved
  route:
    providers: [deepseek]
    to: [{url: "https://api.openai.com/v1", models: {deepseek-*: gpt-5-mini}}]
"""
    shadow = call("hello", model="deepseek-chat", destination=DEEPSEEK)
    decision = decided(tmp_path, allow + redirect, shadow)
    assert decision.verdict == "allow"
    assert decision.route is not None
    assert [(c.destination.host, c.asked_model) for c in decision.route.choices] == [
        ("api.openai.com", "gpt-5-mini")
    ]
    refused = decided(tmp_path, allow + redirect.replace("gpt-5-mini}", "o9}"), shadow)
    assert refused.verdict == "deny" and refused.route is None


def test_denied_targets_are_none(tmp_path: Path) -> None:
    """A deny rule holds for targets too, and for the destination the call was meant for."""
    deny = "- {id: no, deny: {hosts: [%s]}}\n"
    assert hosts(decided(tmp_path, deny % "api.groq.com" + SPREAD)) == ["api.openai.com"]
    assert decided(tmp_path, deny % "api.openai.com" + SPREAD).verdict == "deny"


def test_other_wire_format_is_refused_by_name(tmp_path: Path) -> None:
    """Where nothing is translated the caller is told so; ``format`` says otherwise."""
    rule = '- {id: r, route: {to: [{url: "https://api.groq.com/openai/v1"%s}]}}'
    claude = Destination("api.anthropic.com", 443, provider="anthropic", category="llm_api")
    made = call("x", api="anthropic.messages", model="claude", destination=claude)
    decision = decided(tmp_path, rule % "", made)
    assert decision.refusal is not None and decision.refusal.status == 403
    assert "does not speak anthropic.messages" in decision.refusal.message
    assert hosts(decided(tmp_path, rule % ", format: anthropic", made)) == ["api.groq.com"]


def test_stored_references_are_asked_for_in_one_place(tmp_path: Path) -> None:
    """An earlier answer's id means nothing to another target."""
    made = call("x", references={"previous_response_id": "r"})
    assert len(hosts(decided(tmp_path, SPREAD, made))) == 1


def test_conversation_stays_with_its_target(tmp_path: Path) -> None:
    """Turn after turn the same head, the same target; other conversations spread."""
    rule = "- id: r\n  route:\n    attempts: 1\n    to:\n"
    rule += "".join(f"    - {{url: 'https://t{number}.example/v1'}}\n" for number in range(4))
    policy = policy_of(tmp_path, rule)
    state, places = State(policy), set()
    for talk in range(20):
        seen = set()
        for turn in range(3):
            made = call("hello")
            made = replace(made, id=f"call-{talk}-{turn}")
            made.exchange.messages = [
                Message("system", [Part("text", "Be brief.")]),
                Message("user", [Part("text", f"talk {talk}")]),
                *(Message("assistant", [Part("text", f"turn {n}")]) for n in range(turn)),
            ]
            seen |= set(hosts(decide(policy, made, state, NOON)))
        assert len(seen) == 1
        places |= seen
    assert len(places) > 1


def test_own_region_first(tmp_path: Path) -> None:
    """The workload's label says where it is."""
    rule = """
- id: r
  route:
    to: [{url: "https://us.example/v1", region: us}, {url: "https://eu.example/v1", region: eu}]
"""
    made = call("x")
    labels = {"topology.kubernetes.io/region": "eu"}
    made.caller = replace(made.caller, workload=Workload(name="w", labels=labels))
    assert hosts(decided(tmp_path, rule, made)) == ["eu.example", "us.example"]


@pytest.mark.parametrize("mode", ["observe", "shadow"])
def test_watching_rules_move_nothing(tmp_path: Path, mode: str) -> None:
    """They only say where the call would go."""
    decision = decided(tmp_path, SPREAD, settings=f"mode: {mode}")
    assert decision.route is None
    assert [(r.rule, r.enforced) for r in decision.reasons] == [("spread", False)]


def test_condition_that_fails_is_the_rules_on_error(tmp_path: Path) -> None:
    """What decides where data goes must not be skipped by an error."""
    rule = IN_HOUSE + '  when: caller.claims.team == "a"\n'
    assert decided(tmp_path, rule, call("EMAIL")).verdict == "deny"
    assert decided(tmp_path, rule + "  on_error: allow\n", call("EMAIL")).verdict == "allow"


def test_limits_count_for_where_the_call_goes(tmp_path: Path) -> None:
    """``per: [host]`` is the host of the target."""
    limit = "- {id: l, limit: {requests: 1, every: 1h, per: [host]}}\n"
    rule = '- {id: r, route: {to: [{url: "https://x.example/v1"}]}}\n'
    policy = policy_of(tmp_path, limit + rule)
    decision = decide(policy, call("a"), State(policy), NOON)
    [claim] = decision.reservations[0].claims
    assert claim.scope == (("host", "x.example"),)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("{}", "'url' is missing"),
        ("{url: x.example}", "begins with https://"),
        ('{url: "https://k:v@x.example"}', "credential rule"),
        ('{url: "https://x.azure.com", provider: azure}', "'api_version' is missing"),
        ('{url: "https://x.example", api_version: 1}', "belongs to 'provider: azure'"),
        ('{url: "https://x.example", translate: yes}', "say the wire format it speaks"),
        ('{url: "https://api.cohere.com", translate: yes}', "say the wire format it speaks"),
        ('{url: "https://x.example", max_tokens: 9}', "belongs to 'translate: yes'"),
        ("{url: original, translate: yes}", "the original destination"),
        ("{url: original, key: none}", "what the caller made it"),
        ('{url: "https://x.example", weight: 0}', "above 0"),
        ('{url: "https://x.example", models: [a]}', "a mapping is expected"),
        ('{url: "https://x.example", wieght: 2}', "did you mean"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, target: str, says: str) -> None:
    """Each before anything is served."""
    text = f"version: 1\nrules:\n- id: r\n  route: {{to: [{target}]}}\n"
    [problem, *_] = problems_of(tmp_path, text)
    assert says in str(problem) and problem.path.startswith("rules[0].route.to[0]")


def test_sticky_belongs_to_weights(tmp_path: Path) -> None:
    """Load moves a conversation: saying both is a mistake."""
    text = (
        "version: 1\nrules:\n- id: r\n  route: {balance: least_outstanding, sticky: conversation,"
    )
    problems = problems_of(tmp_path, text + " to: [{url: original}]}\n")
    assert len(problems) == 1 and problems[0].path.endswith("sticky")


def test_policy_tests_can_ask_where_a_call_goes(tmp_path: Path) -> None:
    """``expect: {route: [hosts]}``."""
    (tmp_path / "p.yaml").write_text("version: 1\nrules:\n" + IN_HOUSE)
    case = (
        "- name: {0}\n  policy: p.yaml\n"
        "  call: {{provider: openai, model: m, messages: [{{role: user, content: {1}}}]}}\n"
        "  expect: {{route: {2}}}\n"
    )
    (tmp_path / "p_test.yaml").write_text(
        case.format("pii", "'mail me: jo.smith@corp.example.org'", "[llm.internal]")
        + case.format("none", "hello", "[]")
        + case.format("wrong", "hello", "[llm.internal]")
    )
    assert [one.passed for one in run_tests([tmp_path]).outcomes] == [True, True, False]


def test_policy_tests_see_what_is_translated(tmp_path: Path) -> None:
    """The decision knows whether a target's format can say a call, and which field it cannot."""
    rule = """
version: 1
name: p
rules:
  - id: across
    route:
      to: [{url: "https://api.anthropic.com", translate: yes, max_tokens: 99}]
"""
    (tmp_path / "p.yaml").write_text(rule)
    (tmp_path / "p_test.yaml").write_text("""
- name: goes there
  policy: p.yaml
  call: {provider: openai, model: gpt-5, messages: [{role: user, content: hi}], tools: [send]}
  expect: {verdict: allow, route: [api.anthropic.com]}
- name: is refused by name
  policy: p.yaml
  call: {provider: gemini, model: gemini-2.5-pro, parameters: {cachedContent: x}}
  expect: {verdict: deny, refusal: {status: 403, rule: across, message: "'cachedContent'"}}
- name: stays what it is
  policy: p.yaml
  call: {provider: anthropic, model: claude, parameters: {thinking: {type: enabled}}}
  expect: {verdict: allow, route: [api.anthropic.com]}
""")
    outcomes = run_tests([tmp_path]).outcomes
    assert [(one.name, one.wrong, one.error) for one in outcomes] == [
        ("goes there", (), ""),
        ("is refused by name", (), ""),
        ("stays what it is", (), ""),
    ]
