"""What is cut in two where one text of a conversation ends and the next begins.

A model reads the messages of one side one after the other, so half a key in each is a key.
The end of a text and the beginning of the next of its kind are looked at together; what is
found across the seam belongs to both. Texts of a request only: its windows are short and
remembered like texts, so a turn costs the windows that are new in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from penstock.exchange import UNSCANNABLE, Finding, Leaf, Zone
from penstock.policy.state import State

# Characters on either side: a longer secret is found by its first half.
WINDOW_CHARACTERS = 400
# A text that ends so ends a sentence: it is not cut.
ENDS = ".!?\n\u3002\uff01\uff1f"
# Where one text goes on in the next. Arguments and definitions are documents of their own.
SEAMED: frozenset[Zone] = frozenset(("system", "user", "assistant", "tool_result"))

Found = tuple[Leaf, Sequence[Finding]]


class Seams:
    """The texts of one body, in their order."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._last: dict[Zone, Found] = {}

    def across(self, leaf: Leaf, found: Sequence[Finding]) -> Iterator[tuple[Leaf, Finding]]:
        """The halves of what is cut between ``leaf`` and the text before it, each with its text;
        ``found`` is what stands in ``leaf`` alone."""
        if leaf.zone not in SEAMED or leaf.is_key:
            return
        before = self._last.get(leaf.zone)
        self._last[leaf.zone] = (leaf, found)
        if before is None:
            return
        first, known = before
        if first.text[-1] in ENDS:
            return
        for finding, cut in self._cut(first.text, leaf.text, leaf.zone):
            left = replace(finding, end=len(first.text))
            right = replace(finding, start=max(0, cut - finding.end + finding.start), end=cut)
            if left.start < left.end and _is_free(left, known):
                yield first, left
            if _is_free(right, found):
                yield leaf, right

    def _cut(self, first: str, second: str, zone: Zone) -> Iterator[tuple[Finding, int]]:
        """What the two texts together hold, at its place in ``first`` (or behind it, where it
        only begins there to be told), and where in ``second`` it ends: letter on letter, then
        word on word."""
        tail, head = first[-WINDOW_CHARACTERS:], second[:WINDOW_CHARACTERS]
        for between in ("",) if first[-1].isspace() or head[0].isspace() else ("", " "):
            low, high = len(tail), len(tail) + len(between)
            for finding in self._state.findings(tail + between + head, zone):
                if finding.end > high and finding.type != UNSCANNABLE:
                    shift = len(first) - low
                    start, end = finding.start + shift, finding.end + shift
                    yield replace(finding, start=start, end=end), finding.end - high


def _is_free(half: Finding, found: Sequence[Finding]) -> bool:
    """False where the half was found by itself."""
    return not any(one.start < half.end and half.start < one.end for one in found)
