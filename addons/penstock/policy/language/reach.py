"""Rules that can never have an effect: a mistake the author should hear of at load."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from penstock.detect.calls import CANDIDATE
from penstock.policy.language.problem import Problem
from penstock.policy.policy import Rule, SecondLooks, find_of
from penstock.policy.rules.allow import Allow
from penstock.policy.rules.deny import Deny


def unreachable(rules: Sequence[Rule[Any]]) -> Iterator[Problem]:
    """Every rule that another one makes pointless, each with the rule that does."""
    total = next((rule for rule in rules if refuses_everything(rule)), None)
    denied = {rule.act.target: rule for rule in rules if refuses_a_target(rule)}
    seen: dict[Hashable, Rule[Any]] = {}
    for rule in rules:
        if total is not None and rule is not total and rule.stated_mode is None:
            yield at(rule, f"never reached: '{total.id}' refuses every call")
            continue
        if isinstance(rule.act, Allow) and rule.act.target in denied:
            yield at(rule, f"never reached: '{denied[rule.act.target].id}' denies the same")
            continue
        twin = seen.setdefault(meaning(rule), rule)
        if twin is not rule:
            yield at(rule, f"says the same as '{twin.id}' in {twin.file}:{twin.line}")


def never_found(rules: Sequence[Rule[Any]], second_look: SecondLooks) -> Iterator[Problem]:
    """Rules about nothing but what only a second look finds, where there is none."""
    for rule in rules:
        find = find_of(rule)
        if find is not None and set(find.types) == {CANDIDATE} and second_look != "remember":
            yield at(rule, f"never reached: {CANDIDATE} is found with second_look: remember only")


def acts_always(rule: Rule[Any]) -> bool:
    return rule.when is None and rule.stated_mode in (None, "enforce")


def refuses_a_target(rule: Rule[Any]) -> bool:
    """True for an unconditional deny of destinations, whatever the content."""
    act = rule.act
    return (
        isinstance(act, Deny)
        and acts_always(rule)
        and act.references is None
        and act.find is None
        and act.blobs is None
        and act.declares is None
    )


def refuses_everything(rule: Rule[Any]) -> bool:
    """True for an unconditional ``deny: {}`` that acts."""
    return refuses_a_target(rule) and rule.act.target.is_everything


def meaning(rule: Rule[Any]) -> Hashable:
    """What a rule says, without its name: equal for two rules that can only say the same."""
    return rule.act, rule.stated_mode, rule.on_error, rule.when.source if rule.when else None


def at(rule: Rule[Any], message: str) -> Problem:
    return Problem(rule.file, rule.line, rule.id, message)
