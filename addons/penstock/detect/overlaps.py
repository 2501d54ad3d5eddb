"""Several rules may see one value: keep the surest and most specific, once.

Only findings that answer the same question compete: which value this is, what it orders.
That a comment hides it, or an address carries it out, is true besides.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from heapq import merge
from operator import attrgetter

from penstock.exchange import UNSCANNABLE, Finding

# Shorter pieces beside a better finding are separators, or say nothing.
PIECE_CHARACTERS_MIN = 8
# Names that say little: a finding of another type on the same characters is kept instead.
_GENERAL = frozenset(
    {
        "secret.api_key", "secret.credential", "secret.password", "secret.key_material",
        "secret.authorization", "injection.model", "tool_poisoning.model",
    }
)  # fmt: skip


# Findings sorted in one go: a millisecond.
SORTED_MAX = 4096
_PLACE = attrgetter("start", "end")
_QUESTIONS = {
    "secret": "value", "pii": "value", "custom": "value", UNSCANNABLE: "value",
    "injection": "order", "tool_poisoning": "order",
}  # fmt: skip


# A stand-in of our own, as placeholders.py makes it. Linear: one class at a time.
_PLACEHOLDER = re.compile(r"PLACEHOLDER_[A-Z0-9_]{1,41}?_[0-9A-HJKMNP-TV-Z]{13}")


def outside_placeholders(found: list[Finding], text: str) -> list[Finding]:
    """Without what lies inside our own placeholders: redacting twice changes nothing."""
    if not found or "PLACEHOLDER_" not in text:
        return found
    ours = [match.span() for match in _PLACEHOLDER.finditer(text)]
    return [f for f in found if not any(a <= f.start and f.end <= b for a, b in ours)]


def resolve(found: Iterable[Finding]) -> list[Finding]:
    """Sorted by place; of two that answer one question and overlap, the better wins."""
    questions: dict[str, list[Finding]] = {}
    for finding in found:
        unread = finding.type == UNSCANNABLE
        family = finding.type if unread else finding.type.partition(".")[0]
        questions.setdefault(_QUESTIONS.get(family, family), []).append(finding)
    if len(questions) == 1:
        return _best(next(iter(questions.values())))
    return _by_place([finding for group in questions.values() for finding in _best(group)])


def _best(found: list[Finding]) -> list[Finding]:
    """Of each cluster of findings that touch each other, the better ones, in order of place."""
    kept: list[Finding] = []
    cluster: list[Finding] = []
    reach = 0
    for finding in _by_place(found):
        if cluster and finding.start >= reach:
            kept += _best_of(cluster)
            cluster = []
            reach = 0
        cluster.append(finding)
        reach = max(reach, finding.end)
    return kept + _best_of(cluster)


def _best_of(cluster: list[Finding]) -> list[Finding]:
    if len(cluster) < 2:
        return cluster
    kept: list[Finding] = []  # in order of place
    starts: list[int] = []
    ranked = sorted(cluster, key=_rank)
    for finding in ranked:
        for piece in list(_uncovered(finding, kept, starts)):
            if piece is not finding and not finding.type.startswith("secret."):
                continue  # half an address or half an order is none, half a password leaks it
            at = bisect_left(starts, piece.start)
            starts.insert(at, piece.start)
            kept.insert(at, piece)
    return kept


def _rank(finding: Finding) -> tuple[object, ...]:
    """The best first. A known secret comes before what its end looks like: s3cr3t@host.org."""
    general = finding.type in _GENERAL
    known = finding.type.startswith("secret.") and not general
    return general, not known, -finding.score, finding.start - finding.end, finding.start


def _uncovered(finding: Finding, kept: list[Finding], starts: list[int]) -> Iterator[Finding]:
    """The finding where nothing better touches it; else the long pieces of it that stand beside
    what is better: they are part of a value all the same."""
    at = bisect_left(starts, finding.start)
    at -= at > 0 and kept[at - 1].end > finding.start
    low = finding.start
    while at < len(kept) and kept[at].start < finding.end:
        if kept[at].start - low >= PIECE_CHARACTERS_MIN:
            yield replace(finding, start=low, end=kept[at].start)
        low = max(low, kept[at].end)
        at += 1
    if low == finding.start or finding.end - low >= PIECE_CHARACTERS_MIN:
        yield replace(finding, start=low) if low > finding.start else finding


def _by_place(found: list[Finding]) -> list[Finding]:
    """Sorted, a part at a time: other threads wait while hundreds of thousands are compared."""
    if len(found) <= SORTED_MAX:
        return sorted(found, key=_PLACE)
    starts = range(0, len(found), SORTED_MAX)
    parts = [sorted(found[at : at + SORTED_MAX], key=_PLACE) for at in starts]
    return list(merge(*parts, key=_PLACE))
