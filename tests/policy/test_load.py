"""Loading: the normative example, and every kind of mistake with its place and its cure."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import TYPES, policy_of, problems_of

from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError
from penstock.policy.policy import Policy
from penstock.policy.rules.limit import Limit
from penstock.policy.rules.tools import Tools

EXAMPLE = Path(__file__).parent / "examples" / "payments.yaml"


def rule(policy: Policy, name: str) -> object:
    return next(one.act for one in policy.rules if one.id == name)


def test_normative_example_loads_with_every_verb_understood() -> None:
    """The example of the design is a policy, number spellings and durations included."""
    policy = load([EXAMPLE])
    assert (policy.name, policy.mode, policy.on_error) == ("payments-team", "enforce", "deny")
    assert (policy.intercept, policy.other_traffic, policy.unknown_api) == ("ai", "tunnel", "scan")
    assert rule(policy, "hourly-tokens") == Limit("tokens", 200_000, 3600, ("workload",))
    assert rule(policy, "daily-spend") == Limit("usd", Decimal(50), 86_400, ("user",))
    tools = rule(policy, "github-read-only")
    assert isinstance(tools, Tools) and tools.allow is not None
    assert tools.allow.patterns == ("get_*", "list_*", "search_*")
    freeze = next(one for one in policy.rules if one.id == "night-freeze")
    assert freeze.mode == "shadow" and freeze.when is not None
    assert policy.finding_types == ("pii.card", "pii.email", "secret", "secret.private_key")
    assert policy.named_hosts == ("api.githubcopilot.com",)


def test_example_is_the_one_in_the_design(shared: Path) -> None:
    """The copy here has not drifted from the normative text."""
    assert EXAMPLE.read_text() in (shared / "design.md").read_text()


def test_comment_that_swallows_a_message_is_a_warning() -> None:
    """``ask #channel`` ends at the hash in YAML: whoever wrote it is told."""
    (warning,) = load([EXAMPLE]).warnings
    assert warning.line == 14 and "quote the text" in warning.message


MISTAKES = [
    ("version: 2\n", 1, "version", "allowed: 1"),
    ("name: x\n", 1, "", "'version' is missing"),
    ("version: 1\nmoed: shadow\n", 2, "moed", "did you mean 'mode'"),
    ("version: 1\nmode: shdow\n", 2, "mode", "did you mean 'shadow'"),
    ("version: 1\nversion: 1\n", 2, "version", "twice"),
    ("version: 1\nrules:\n  - deny: {}\n", 3, "rules[0]", "'id' is missing"),
    ("version: 1\nrules:\n  - id: a b\n    deny: {}\n", 3, "rules[0].id", "letters, digits"),
    ("version: 1\nrules:\n  - id: a\n", 3, "rules[0]", "exactly one verb, found none"),
    (
        "version: 1\nrules:\n  - id: a\n    deny: {}\n    allow: {}\n",
        3,
        "rules[0]",
        "exactly one verb, found deny, allow",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    dney: {}\n",
        4,
        "rules[0].dney",
        "did you mean 'deny'",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    allow:\n      provider: [x]\n",
        5,
        "rules[0].allow.provider",
        "did you mean 'providers'",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    allow: {models: gpt-*}\n",
        4,
        "rules[0].allow.models",
        "write [gpt-*]",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    deny: {categories: [chat-app]}\n",
        4,
        "rules[0].deny.categories[0]",
        "did you mean 'chat_app'",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    redact: {find: [pii.emial]}\n",
        4,
        "rules[0].redact.find[0]",
        "did you mean 'pii.email'",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    redact: {in: [user]}\n",
        4,
        "rules[0].redact",
        "'find' is missing",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    redact: {find: [secret], in: []}\n",
        4,
        "rules[0].redact.in",
        "looks nowhere",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {tokens: 5, usd: 1, every: 1h}\n",
        4,
        "rules[0].limit",
        "exactly one of",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {tokens: 1.5, every: 1h}\n",
        4,
        "rules[0].limit.tokens",
        "not a whole number",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {usd: -1, every: 1h}\n",
        4,
        "rules[0].limit.usd",
        "above 0",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {tokens: 5, every: 1:30}\n",
        4,
        "rules[0].limit.every",
        "not a duration",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {tokens: 5, every: 9999d}\n",
        4,
        "rules[0].limit.every",
        "at most 366d",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    limit: {tokens: 5}\n",
        4,
        "rules[0].limit",
        "'every' is missing",
    ),
    ("version: 1\nrules:\n  - id: a\n    tools: {server: x}\n", 4, "rules[0].tools", "'allow'"),
    (
        "version: 1\nrules:\n  - id: a\n    tools: {allow: [get_a], deny: [get_*]}\n",
        4,
        "rules[0].tools.allow",
        "no effect",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    deny: {hosts: []}\n",
        4,
        "rules[0].deny",
        "can never refuse",
    ),
    (
        "version: 1\nrules:\n  - id: a\n    deny: {}\n    when: caller.usr == 'x'\n",
        5,
        "rules[0].when",
        "did you mean 'user'",
    ),
    ("version: 1\nrules: {}\n", 2, "rules", "a list is expected"),
    ("version: 1\nrules: [1]\n", 2, "rules[0]", "a mapping is expected"),
    ("", 1, "", "empty"),
    ("# nothing\n", 1, "", "empty"),
    ("- a\n", 1, "", "a mapping is expected"),
    ("version: 1\nname: [unclosed\n", 3, "", "not readable as YAML"),
    ("version: 1\n---\nversion: 1\n", 2, "", "not readable as YAML"),
    (b"version: 1\nname: \xff\n", 2, "", "not UTF-8"),
    ("version: 1\nname: a\x07b\n", 2, "", "character YAML does not allow"),
]


@pytest.mark.parametrize(("content", "line", "path", "words"), MISTAKES)
def test_mistake_is_reported_with_its_place_and_cure(
    tmp_path: Path, content: str | bytes, line: int, path: str, words: str
) -> None:
    """File, line and path of the mistake, and words that help."""
    found = problems_of(tmp_path, content)
    assert [(p.line, p.path) for p in found if words in p.message] == [(line, path)], found


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    """Nobody mends a policy one error at a time."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(
        "version: 1\nmode: of\nrules:\n  - id: a\n    deny: {hots: [x]}\n    when: 1 +\n"
    )
    two.write_text("version: 1\nrules:\n  - id: b\n    redact: {find: [nothing], with: salt}\n")
    with pytest.raises(ConfigError) as error:
        load([one, two, tmp_path / "missing.yaml"], TYPES)
    places = [(Path(p.file).name, p.line, p.path) for p in error.value.problems]
    assert places == [
        ("missing.yaml", 1, ""),
        ("one.yaml", 2, "mode"),
        ("one.yaml", 5, "rules[0].deny.hots"),
        ("one.yaml", 6, "rules[0].when"),
        ("two.yaml", 4, "rules[0].redact.find[0]"),
        ("two.yaml", 4, "rules[0].redact.with"),
    ]


def test_problem_reads_as_a_compiler_writes(tmp_path: Path) -> None:
    """``file:line: path: message``, so that editors jump to it."""
    (problem,) = problems_of(tmp_path, "version: 1\nmode: shdow\n")
    assert str(problem) == (
        f"{tmp_path}/p.yaml:2: mode: 'shdow' is not known; "
        "allowed: observe, shadow, enforce; did you mean 'shadow'"
    )


def test_files_merge_into_one_policy(tmp_path: Path) -> None:
    """Rules are put together; a setting counts from whichever file states it."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("version: 1\nmode: shadow\nrules:\n  - id: a\n    deny: {hosts: [a.example]}\n")
    two.write_text(
        "version: 1\non_error: allow\nrules:\n  - id: b\n    deny: {hosts: [b.example]}\n"
    )
    policy = load([one, two], TYPES)
    assert [(r.id, r.mode, r.on_error) for r in policy.rules] == [
        ("a", "shadow", "allow"),
        ("b", "shadow", "allow"),
    ]
    assert policy.hash != load([two, one], TYPES).hash


def test_conflicting_settings_and_ids_across_files_are_problems(tmp_path: Path) -> None:
    """Two files may not disagree; the message says where the other one is."""
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("version: 1\nmode: shadow\nrules:\n  - id: a\n    deny: {hosts: [a.example]}\n")
    two.write_text("version: 1\nmode: enforce\nrules:\n  - id: a\n    deny: {hosts: [b.example]}\n")
    with pytest.raises(ConfigError) as error:
        load([one, two], TYPES)
    words = [p.message for p in error.value.problems]
    assert words == [
        f"says enforce, but {one}:2 says shadow",
        f"'a' is the id of another rule: {one}:4",
    ]


def test_aliases_are_refused_before_they_expand(tmp_path: Path) -> None:
    """A few lines of aliases can stand for gigabytes."""
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 30))
    (problem,) = problems_of(tmp_path, f"version: 1\nx0: &x0 [lol]\n{levels}")
    assert problem.line == 3 and "aliases are not allowed" in problem.message


def test_depth_and_size_are_bounded(tmp_path: Path) -> None:
    """Hostile nesting and length end in a problem, not in a full stack or memory."""
    (deep,) = problems_of(tmp_path, "a: " + "[" * 50_000)
    assert "nested deeper" in deep.message
    (large,) = problems_of(tmp_path, b"#" * (1024 * 1024 + 1))
    assert "larger than" in large.message


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=80), st.integers(0, 1200), st.integers(0, 60))
def test_any_damage_to_a_file_is_problems_and_nothing_else(
    tmp_path: Path, noise: bytes, start: int, cut: int
) -> None:
    """Whatever bytes stand in a file, loading ends in a policy or in problems."""
    content = EXAMPLE.read_bytes()
    for problem in problems_of(tmp_path, content[:start] + noise + content[start + cut :]):
        assert problem.line >= 1


def test_values_yaml_1_1_would_change_are_read_as_written(tmp_path: Path) -> None:
    """``no``, ``1.0`` and ``08`` are names here, not a boolean, a float and an octal."""
    policy = policy_of(tmp_path, "  - id: a\n    allow: {models: [no, 1.0, 08, on]}\n")
    (allow,) = policy.allows
    assert allow.act.target.models is not None
    assert allow.act.target.models.patterns == ("no", "1.0", "08", "on")


def test_yaml_never_constructs_objects(tmp_path: Path) -> None:
    """A tag is not an instruction."""
    mark = tmp_path / "mark"
    content = f"version: 1\nname: !!python/object/apply:os.mkdir ['{mark}']\n"
    assert problems_of(tmp_path, content)
    assert not mark.exists()


UNREACHABLE = [
    ("- {id: a, deny: {}}\n- {id: b, deny: {hosts: [x]}}", "b", "'a' refuses every call"),
    ("- {id: a, deny: {hosts: [x]}}\n- {id: b, deny: {hosts: [x]}}", "b", "the same as 'a'"),
    ("- {id: a, allow: {hosts: [x]}}\n- {id: b, deny: {hosts: [x]}}", "a", "'b' denies the same"),
]


@pytest.mark.parametrize(("rules", "path", "words"), UNREACHABLE)
def test_rule_without_effect_is_a_problem(
    tmp_path: Path, rules: str, path: str, words: str
) -> None:
    """A rule that another one makes pointless is not loaded in silence."""
    (problem,) = problems_of(tmp_path, f"version: 1\nrules:\n{rules}\n")
    assert problem.path == path and words in problem.message


def test_a_shadow_twin_is_no_mistake(tmp_path: Path) -> None:
    """Trying the same rule in another mode or under a condition is how one rolls out."""
    rules = "- {id: a, deny: {hosts: [x]}}\n- {id: b, deny: {hosts: [x]}, mode: shadow}\n"
    assert not problems_of(tmp_path, f"version: 1\nrules:\n{rules}")


def test_rule_narrows_the_mode_and_never_widens_it(tmp_path: Path) -> None:
    """In a shadow policy nothing is enforced; ``--mode`` moves the whole policy."""
    rules = "- {id: a, deny: {hosts: [x]}, mode: observe}\n- {id: b, deny: {}, mode: enforce}\n"
    policy = policy_of(tmp_path, rules, "mode: shadow")
    assert [one.mode for one in policy.rules] == ["observe", "shadow"]
    assert [(one.path, one.message[:13]) for one in policy.warnings] == [
        ("rules[1].mode", "has no effect")
    ]
    assert [one.mode for one in policy.with_mode("enforce").rules] == ["observe", "enforce"]


def test_two_thousand_rules_load_quickly(tmp_path: Path) -> None:
    """Checking is not quadratic: the largest policy loads in seconds, most of it in YAML."""
    import time

    rules = "".join(f"- {{id: r{n}, deny: {{hosts: [h{n}.example]}}}}\n" for n in range(2000))
    began = time.process_time()
    assert len(policy_of(tmp_path, rules).rules) == 2000
    assert time.process_time() - began < 10
    assert "more than 2000" in str(
        problems_of(tmp_path, f"version: 1\nrules:\n{rules}- {{id: x, deny: {{}}}}\n")[0]
    )


def test_hash_is_over_the_bytes(tmp_path: Path) -> None:
    """A changed comment is a changed file: the hash says which file was in force."""
    first = policy_of(tmp_path, "- {id: a, deny: {hosts: [x]}}\n").hash
    assert policy_of(tmp_path, "- {id: a, deny: {hosts: [x]}}\n").hash == first
    assert policy_of(tmp_path, "- {id: a, deny: {hosts: [x]}} # why\n").hash != first


def test_shipped_policies_load(tmp_path: Path) -> None:
    """What we ship is right by our own rules, and without a warning."""
    for file in sorted((Path(__file__).parents[2] / "policies").glob("*.yaml")):
        if not file.stem.endswith("_test"):
            assert load([file]).warnings == (), yaml
