"""National identifiers in a text: digits in groups, and codes of letters and digits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from penstock.detect.nearby import BARE_CHARACTERS_MAX, bare, word_near
from penstock.detect.personal.national import CODED, NUMERIC, Coded, Numeric
from penstock.detect.personal.national_by_word import CODED_BY_WORD, NUMERIC_BY_WORD
from penstock.detect.probe import Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

_DIGITS = r"[0-9](?:[ .:/-]?[0-9]){7,24}"
_RUN = re.compile(r"[0-9]+")
# Groups of one identifier; a longer list of numbers is a table.
GROUPS_MAX = 7
_NUMERIC = (*NUMERIC, *NUMERIC_BY_WORD)
_CODED = (*CODED, *CODED_BY_WORD)
_BY_LENGTH: dict[int, list[Numeric]] = defaultdict(list)
for _row in _NUMERIC:
    _BY_LENGTH[_row.length].append(_row)
_digits = Pattern(_DIGITS)


def identity_probes() -> list[Probe]:
    """All rows of the table. Weak codes are looked for only where one of their words is."""
    weak = [rule for rule in _CODED if not rule.strong]
    patterns = {rule: Pattern(rule.shape) for rule in _CODED}
    types = tuple(sorted({rule.type for rule in weak}))
    numeric = tuple(sorted({rule.type for rule in _NUMERIC}))

    def alone(view: View) -> Iterator[Finding]:
        for rule in weak if len(view.text) <= BARE_CHARACTERS_MAX else ():
            yield from _coded(view, rule, patterns[rule])

    return [
        Probe("pii.numbers", numeric, _DIGITS, _numbers, "digits"),
        *(_coded_probe(rule, patterns[rule], number) for number, rule in enumerate(_CODED)),
        Probe("pii.codes_alone", types, r"[0-9]", alone, "short", live=""),
    ]


def _coded_probe(rule: Coded, pattern: Pattern, number: int) -> Probe:
    name = f"{rule.type}#{number}"
    if rule.strong:
        return Probe(name, (rule.type,), rule.shape, lambda v: _coded(v, rule, pattern), "codes")
    # A weak code counts beside one of its words only: the words are what to look for.
    words = _any_of(rule.words)
    return Probe(
        name,
        (rule.type,),
        rule.shape,
        lambda view: _coded(view, rule, pattern, words),
        "words",
        trigger=words.source,
    )


@cache
def _any_of(words: tuple[str, ...]) -> Pattern:
    """One of the words where ``word_near`` takes it for one: no ``plate`` in ``template``."""
    return Pattern(rf"(?:^|[^A-Za-z])(?i:{'|'.join(re.escape(word) for word in words)})")


def _coded(
    view: View, rule: Coded, pattern: Pattern, words: Pattern | None = None
) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(pattern, near=words):
        before = text[start - 1] if start else " "
        after = text[end] if end < len(text) else " "
        if before.isalnum() or after.isalnum() or before in "_/=.-" or after in "_/=":
            continue
        compact = "".join(c for c in text[start:end] if c.isalnum())
        if rule.type.endswith("fi_hetu"):
            compact = text[start:end]
        if rule.valid is not None and not rule.valid(compact):
            continue
        near = word_near(text, start, end, rule.words)
        if near or rule.strong or (rule.alone and bare(text, start, end)):
            score = 0.9 if near else 0.8 if rule.strong else 0.5
            yield Finding(rule.type, start, end, score, rule.type)


def _numbers(view: View) -> Iterator[Finding]:
    text = view.text
    for start, end, _, _ in view.spans(_digits):
        before = text[start - 1] if start else " "
        after = text[end] if end < len(text) else " "
        if before.isalnum() or after.isalnum() or before in "_.,$€£#=" or after in "_%":
            continue
        yield from _windows(text, start, end)


def _windows(text: str, start: int, end: int) -> Iterator[Finding]:
    """Identifiers among the groups of one run of digits: single groups and neighbours."""
    runs = [(m.start() + start, m.end() + start) for m in _RUN.finditer(text[start:end])]
    taken = -1
    for first in range(len(runs)):
        if runs[first][0] < taken:
            continue
        for last in range(min(len(runs), first + GROUPS_MAX) - 1, first - 1, -1):
            cut = _cut(text, runs, first, last)
            if cut is None:
                continue
            finding = _identifier(text, runs[first : last + 1], cut)
            if finding is not None:
                yield finding
                taken = finding.end
                break


def _cut(text: str, runs: list[tuple[int, int]], first: int, last: int) -> bool | None:
    """True when the window is a part of a longer run; None when that part cannot stand."""
    if first == 0 and last == len(runs) - 1:
        return False
    edges = [runs[first][0] - 1] if first else []
    edges += [runs[last][1]] if last < len(runs) - 1 else []
    return True if all(text[edge] == " " for edge in edges) else None


def _identifier(text: str, runs: list[tuple[int, int]], cut: bool) -> Finding | None:
    lengths = tuple(high - low for low, high in runs)
    rules = _BY_LENGTH.get(sum(lengths))
    if rules is None:
        return None
    low, high = runs[0][0], runs[-1][1]
    separators = {text[end] for _, end in runs[:-1]}
    if len(separators) > 3:  # 11.222.333/0001-81
        return None
    digits = "".join(text[a:b] for a, b in runs)
    best: Finding | None = None
    for rule in rules:
        if not rule.valid(digits):
            continue
        grouped = lengths in rule.groups
        strong = (
            grouped and rule.strong and len(separators) == 1 and not cut and "/" not in separators
        )
        near = (grouped or len(runs) <= 2) and word_near(text, low, high, rule.words)
        alone = rule.alone and not cut and (grouped or len(runs) <= 2) and bare(text, low, high)
        if near or strong or alone:
            score = 0.95 if near else 0.8 if strong else 0.5
            if best is None or score > best.score:
                best = Finding(rule.type, low, high, score, rule.type)
    return best
