"""Findings in texts, and what the content rules make of them: edits, denials, nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.exchange import Finding, Leaf, Zone
from penstock.policy.decision import Located
from penstock.policy.leaks import Leaks
from penstock.policy.mark import can_be_marked, comes_back_marked, is_prose, marking
from penstock.policy.policy import Rule, find_of
from penstock.policy.rules.redact import METHODS, Redact, place_of, replacement
from penstock.policy.seams import Seams
from penstock.policy.state import State
from penstock.wire.edits import Edit

# Findings told in a decision; a body of a hundred thousand addresses is edited whole all the same.
FINDINGS_KEPT = 1000

Direction = Literal["request", "response"]
Ignored = Callable[[Finding, str], bool]

UNCHANGED = "in a part that is signed or encrypted and"
# Parts of a request as a caller knows them.
PLACES: dict[Zone, str] = {
    "system": "the system prompt",
    "user": "the user's text",
    "assistant": "an earlier answer",
    "tool_result": "a tool result",
    "tool_arguments": "tool arguments",
    "tool_definition": "a tool definition",
    "reasoning": "the reasoning",
    "document": "a file",
}


@dataclass(slots=True)
class ContentVerdict:
    """What the content of one body asks for."""

    edits: list[Edit] = field(default_factory=list)
    findings: list[Located] = field(default_factory=list)
    spoke: dict[str, tuple[Rule[Any], str]] = field(default_factory=dict)  # rules that act, why
    denials: list[tuple[Rule[Any], str]] = field(default_factory=list)


def looks_at(rule: Rule[Any], zone: Zone, direction: Direction) -> bool:
    """True when the rule reads texts of this zone in this direction."""
    find = find_of(rule)
    assert find is not None  # content rules have one
    return find.response if direction == "response" else zone in find.zones


def judge_content(
    rules: Sequence[Rule[Any]],
    leaves: Iterable[Leaf],
    direction: Direction,
    state: State,
    ignored: Ignored | None = None,
    leaks: Leaks | None = None,
) -> ContentVerdict:
    """Scan each text once; let every rule speak about every finding that is not ignored."""
    verdict = ContentVerdict()
    seams = Seams(state) if direction == "request" else None
    by_zone: dict[Zone, list[Rule[Any]]] = {}
    marks = [rule for rule in rules if isinstance(rule.act, Redact) and rule.act.method == "mark"]
    for leaf in leaves:
        if leaf.blob or not leaf.text:
            continue
        reading = by_zone.get(leaf.zone)
        if reading is None:
            reading = [rule for rule in rules if looks_at(rule, leaf.zone, direction)]
            by_zone[leaf.zone] = reading
        if not reading:
            continue
        found = state.findings(leaf.text, leaf.zone)
        if leaks is not None:
            found = [*found, *leaks.in_text(leaf, found, direction)]
        counted = []
        for finding in found:
            value = leaf.text[finding.start : finding.end]
            if leaks is not None and direction == "request" and leaks.is_own_canary(finding, value):
                continue
            if ignored is None or not ignored(finding, value):
                judge_finding(verdict, reading, leaf, finding, direction, state)
                counted.append(finding)
        if seams is not None:
            for half, finding in seams.across(leaf, found):
                if ignored is None or not ignored(finding, half.text[finding.start : finding.end]):
                    judge_finding(verdict, reading, half, finding, direction, state)
        if marks:
            mark(
                verdict,
                [rule for rule in marks if rule in reading],
                leaf,
                counted,
                direction,
                state,
            )
    return verdict


def mark(
    verdict: ContentVerdict,
    rules: Sequence[Rule[Any]],
    leaf: Leaf,
    found: Sequence[Finding],
    direction: Direction,
    state: State,
) -> None:
    """Set the text off where a rule wants it: because of what is in it, or whatever is."""
    wanting = [r for r in rules if r.act.marks_all or any(wants(r, one) for one in found)]
    if not wanting or not is_prose(leaf.text):
        return
    # What a model says is no input of anybody's model yet.
    if not (comes_back_marked(leaf) if direction == "response" else can_be_marked(leaf)):
        return
    for rule in wanting:
        why = f"{words(leaf.zone, direction)} is set off as data"
        verdict.spoke.setdefault(rule.id, (rule, why))
    if any(rule.enforced for rule in wanting):
        verdict.edits += marking(leaf, state)


def judge_finding(
    verdict: ContentVerdict,
    rules: Sequence[Rule[Any]],
    leaf: Leaf,
    finding: Finding,
    direction: Direction,
    state: State,
) -> None:
    wanting = [rule for rule in rules if wants(rule, finding)]
    if not wanting:
        return
    action: Literal["none", "redact", "deny"] = "none"
    for rule in wanting:
        why = f"{finding.type} found in {words(leaf.zone, direction)}"
        if isinstance(rule.act, Redact) and rule.act.method == "mark":
            continue  # of the text as a whole: see mark
        if not isinstance(rule.act, Redact):
            verdict.denials.append((rule, why))
            action = "deny" if rule.enforced else action
        elif not leaf.editable:
            signed = f"{why}, {UNCHANGED if leaf.zone != 'document' else 'which'} cannot be changed"
            verdict.denials.append((rule, signed))
            action = "deny" if rule.enforced else action
        else:
            verdict.spoke.setdefault(rule.id, (rule, why))
    redacting = [r for r in wanting if redacts(r) and r.enforced and leaf.editable]
    if redacting:
        method = min((r.act.method for r in redacting), key=METHODS.index)
        start, end = place_of(method, finding, leaf.text)
        new = replacement(method, finding.type, leaf.text[start:end], state)
        verdict.edits.append(Edit(leaf, start, end, new))
        action = "redact" if action == "none" else action
    if len(verdict.findings) < FINDINGS_KEPT:
        verdict.findings.append(Located(finding, leaf.zone, leaf.path, direction, action))


def redacts(rule: Rule[Any]) -> bool:
    """True for a rule that puts something in place of what was found."""
    return isinstance(rule.act, Redact) and rule.act.method != "mark"


def wants(rule: Rule[Any], finding: Finding) -> bool:
    find = find_of(rule)
    return find is not None and find.wants(finding)


def words(zone: Zone, direction: Direction) -> str:
    """Where a finding is, in words for the caller."""
    return "the answer" if direction == "response" else PLACES.get(zone, "the request")
