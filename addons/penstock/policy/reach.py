"""Rules that can never have an effect: a mistake the author should hear of at load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from penstock.policy.policy import Rule
from penstock.policy.problem import Problem
from penstock.policy.rules.allow import Allow
from penstock.policy.rules.deny import Deny


def unreachable(rules: Sequence[Rule[Any]]) -> Iterator[Problem]:
    """Every rule that another one makes pointless, each with the rule that does."""
    total = next((rule for rule in rules if refuses_everything(rule)), None)
    for rule in rules:
        if total is not None and rule is not total and rule.stated_mode is None:
            yield at(rule, f"never reached: '{total.id}' refuses every call")
            continue
        twin = next((other for other in before(rule, rules) if same(rule, other)), None)
        if twin is not None:
            yield at(rule, f"says the same as '{twin.id}' in {twin.file}:{twin.line}")


def refuses_everything(rule: Rule[Any]) -> bool:
    """True for an unconditional ``deny: {}`` that acts."""
    act = rule.act
    return (
        isinstance(act, Deny)
        and rule.when is None
        and rule.stated_mode is None
        and act.target.is_everything
        and act.references is None
        and act.find is None
    )


def before(rule: Rule[Any], rules: Sequence[Rule[Any]]) -> Sequence[Rule[Any]]:
    return rules[: rules.index(rule)]


def same(one: Rule[Any], other: Rule[Any]) -> bool:
    """True when two rules can only ever say the same."""
    conditions = [rule.when.source if rule.when else None for rule in (one, other)]
    return (
        type(one.act) is type(other.act)
        and not isinstance(one.act, Allow)
        and one.act == other.act
        and one.mode == other.mode
        and conditions[0] == conditions[1]
    )


def at(rule: Rule[Any], message: str) -> Problem:
    return Problem(rule.file, rule.line, rule.id, message)
