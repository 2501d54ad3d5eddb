"""Secrets that their own format gives away: one probe per rule of ``data/tokens.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.detect.probe import Probe
from penstock.detect.rules import TokenRule
from penstock.detect.secrets.checks import CHECKS, STRUCTURE
from penstock.detect.secrets.randomness import entropy
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

# Nothing but digits that count, after the prefix: documentation.
_COUNTING = re.compile(r"\A[A-Za-z]+[-_]1234567890?\Z")
# The beginning of a longer token says what it is.
CHECKED_CHARACTERS_MAX = 4096
# A filler is as good as all of a value; in a long one any four characters stand by chance.
FILLED_CHARACTERS_MAX = 256
_FILLERS = ("xxxx", "XXXX", "****", "....", "EXAMPLEEXAMPLE", "____")


def token_probe(rule: TokenRule, number: int) -> Probe:
    """The probe of one rule; its number tells several rules of one type apart."""
    pattern = Pattern(rule.pattern)
    type_name = f"secret.{rule.id}"

    def find(view: View) -> Iterator[Finding]:
        for start, end, low, high in view.spans(pattern):
            score = _score(rule, view.text, start, end, low, high)
            if score is not None:
                yield Finding(type_name, low, high, score, type_name)

    return Probe(
        f"{type_name}#{number}", (type_name,), rule.pattern, find, rule.group, rule.trigger
    )


def _score(rule: TokenRule, text: str, start: int, end: int, low: int, high: int) -> float | None:
    value = text[low:high]
    if rule.left != "any" and not free_on_the_left(text, start):
        return None
    if end < len(text) and text[end].isalnum() and text[end].isascii() and text[end - 1].isalnum():
        return None
    if value.startswith("PLACEHOLDER_"):
        return None  # one of ours, put there by an earlier redaction
    if rule.floor and any(filler in value[:FILLED_CHARACTERS_MAX] for filler in _FILLERS):
        return None
    if rule.floor and entropy(value[-64:]) < rule.floor:
        return None
    if _COUNTING.search(value):
        return None
    score = STRUCTURE
    for name in rule.checks:
        checked = CHECKS[name](value[:CHECKED_CHARACTERS_MAX], text, low, high)
        if checked is None:
            return None
        score = checked
    return score


def free_on_the_left(text: str, start: int) -> bool:
    """True when no letter or digit stands directly before, escapes (\\n, %3D) apart."""
    if start == 0:
        return True
    before = text[start - 1]
    if not (before.isascii() and before.isalnum()):
        return True
    if start >= 2 and text[start - 2] == "\\" and before in "nrtbfv":
        return True
    return start >= 3 and text[start - 3] == "%"
