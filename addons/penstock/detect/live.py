"""From where the end of a growing text may still become part of a match.

A beginning of a match is live; a stream holds it back. One automaton of all patterns, read
backwards from the end, would say from where the text is live, and drown: in any long word the
rests of hundreds of tokens are possible at once. So patterns that begin with letters of their
own are looked for by these, from the left, and an automaton that reads on from there has few
patterns left after four characters. Only the others, which begin with any digit or word, are
read backwards: they are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import re2

from penstock.detect.pattern import Atom, Choice, Node, Repeat, live, parse
from penstock.detect.pattern import Sequence as Row
from penstock.detect.probe import Probe

# Budget of each automaton and its cache of states (bytes).
LIVE_MEMORY_BYTES = 32 * 1024 * 1024
# By how many characters a pattern is looked for, and how many of them must be its own: letters
# in one case or two, no class.
OPENING_CHARACTERS = 4
OWN_CHARACTERS = 2
OWN_WIDTH_MAX = 2
# Openings looked at in one piece of text; honest text has a few. What stands behind them counts
# as live: it waits for the next piece, which goes on from there.
OPENINGS_MAX = 500


class LivePattern:
    """Says from where the end of a text may still become part of a match."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        chosen = (probe.live if probe.live is not None else probe.pattern for probe in probes)
        openings = {source: _openings(source) for source in sorted({s for s in chosen if s})}
        opened = {source: found for source, found in openings.items() if _are_own(found)}
        whole = {"".join(atoms) for found in opened.values() for atoms in _written(found)}
        cut = {
            "".join(atoms[:count])
            for found in opened.values()
            for atoms in _written(found)
            for count in range(1, len(atoms))
        }
        self._openings = _compiled(f"{_any(whole)}|{_any(cut)}\\z")
        self._all = _compiled(_any({live(source) for source in openings}))
        others = {live(source) for source in openings if source not in opened}
        self._others = _compiled(f"{_any(others)}\\z")
        endless = {live(source) for source in _waiting_for_an_end(probes)}
        self._endless = _compiled(f"{_any(endless)}\\z") if endless else None
        self._unended = [probe.unended for probe in probes if probe.unended is not None]
        self.start("The first text fills the automaton: key=12, a@b.c, https://d.e/f")

    def start(self, text: str) -> int:
        """The first index from which all of the rest is live; ``len(text)`` for none."""
        data = text.encode("utf-8", "surrogatepass")
        at = self._start(data)
        return at if len(data) == len(text) else len(data[:at].decode("utf-8", "surrogatepass"))

    def unending(self, text: str) -> int:
        """From where ``text``, longer than may be held, may be a match that only its end would
        show; ``len(text)`` for nowhere."""
        starts = [start for unended in self._unended if (start := unended(text)) is not None]
        if self._endless is not None:
            data = text.encode("utf-8", "surrogatepass")
            found = self._endless.search(data)
            if found is not None:
                starts.append(len(data[: found.start()].decode("utf-8", "surrogatepass")))
        return min(starts, default=len(text))

    def _start(self, data: bytes) -> int:
        if self._all.fullmatch(data) is not None:
            return 0  # what was held goes on
        other = self._others.search(data)
        first: int = len(data) if other is None else other.start()
        at = 0
        for _ in range(OPENINGS_MAX):
            opening = self._openings.search(data, at)
            if opening is None or opening.start() >= first:
                return first
            at = int(opening.start())
            if self._all.fullmatch(data, at) is not None:
                return at
            at += 1
        return at


# What our own detectors find is known by its beginning, apart from what a probe's ``unended``
# knows; what a policy's own pattern or a construct of Markdown holds is known when it closes.
_KNOWN_BY_ITS_BEGINNING = ("secret.", "pii.")


def _waiting_for_an_end(probes: Sequence[Probe]) -> set[str]:
    return {
        probe.pattern if probe.live is None else probe.live
        for probe in probes
        if probe.live != "" and not probe.types[0].startswith(_KNOWN_BY_ITS_BEGINNING)
    } - {""}


def _any(sources: set[str]) -> str:
    """One of the patterns; none matches nothing at all."""
    return f"(?:{'|'.join(sorted(sources))})" if sources else r"(?:[^\x00-\x{10FFFF}])"


def _compiled(source: str) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = LIVE_MEMORY_BYTES
    return re2.compile(source.encode(), options)


# The atoms of an opening, each with whether its case does not matter.
_Opening = tuple[tuple[Atom, bool], ...]


def _openings(source: str) -> list[_Opening]:
    """Every way a match may begin, by its first characters."""
    return list(_ways([(parse(source), False)], OPENING_CHARACTERS))


def _ways(nodes: list[tuple[Node, bool]], left: int) -> Iterator[_Opening]:
    if not nodes or not left:
        yield ()
        return
    (node, folds), *rest = nodes
    if isinstance(node, Atom):
        here: _Opening = ((node, folds),) if node.width else ()
        for following in _ways(rest, left - len(here)):
            yield here + following
    elif isinstance(node, Row):
        yield from _ways([*((inner, folds) for inner in node.nodes), *rest], left)
    elif isinstance(node, Choice):
        for inner in node.nodes:
            yield from _ways([(inner, folds or "i" in node.flags), *rest], left)
    else:
        if not node.low:
            yield from _ways(rest, left)
        if node.high != 0:
            again = Repeat(node.node, max(0, node.low - 1), node.high and node.high - 1, False)
            for following in _ways([(node.node, folds)], left):
                if following:
                    behind = [(again, folds), *rest]
                    yield from (following + more for more in _ways(behind, left - len(following)))


def _are_own(openings: list[_Opening]) -> bool:
    """True when each begins with letters of its own."""
    return all(
        len(opening) >= OWN_CHARACTERS
        and all(atom.width <= OWN_WIDTH_MAX for atom, _ in opening[:OWN_CHARACTERS])
        for opening in openings
    )


def _written(openings: list[_Opening]) -> Iterator[list[str]]:
    for opening in openings:
        yield [f"(?i:{atom.source})" if folds else atom.source for atom, folds in opening]
