"""A probe: one pattern, and what to do where it hits. A probe set: all of them at once.

One RE2 set says in a single pass which probes could match at all; only those look closer.
An automaton stays small, and so fast on text it has never seen, while its patterns are
literal. Shapes made of classes alone (eleven digits, 64 base64 characters) multiply its
states; they stand in groups of their own, behind a gate pattern in the first set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import re2

from penstock.detect.injection.gist import ascii_part, beyond_ascii, gist
from penstock.detect.pattern import trigger
from penstock.detect.view import View, pieces_of, utf8
from penstock.exchange import Finding, Zone

ANSWERS: Zone = "assistant"
# Budget of one automaton and its cache of states (bytes); a full cache starts anew.
SET_MEMORY_BYTES = 16 * 1024 * 1024

Find = Callable[[View], Iterable[Finding]]
Group = Literal[
    "literal", "words", "phrases", "prose", "digits", "codes", "runs", "short", "always"
]

# What must occur in a text before a group's own set is asked. Every pattern of a group
# contains its gate (held by a test over the rules' examples).
GATES: dict[Group, str] = {
    "digits": r"(?:[0-9][ .:/()-]{0,2}){6}",
    "codes": (
        r"[A-Za-z] ?[0-9]{2}|[0-9][A-Za-z][0-9]|[0-9]{6}-?[A-Za-z]|[0-9]{6}[-+]|[0-9]-[0-9]{6}"
    ),
}
# The gate of "runs": so many characters of base64 in a row. As a pattern it made each state of the
# first set twenty, one for each length a word may have so far.
RUN_CHARACTERS = 20
# The sets of "words", "phrases" and "prose" (runs of any words) are asked always, but apart:
# letters of any case would multiply the states of the token formats. "always" probes are in no set
# and look for themselves. "short" probes look at texts that are one value and nothing else,
# whatever they hold.
SHORT_CHARACTERS_MAX = 40


@dataclass(slots=True, frozen=True)
class Probe:
    """``types``: every finding type ``find`` may report.

    ``trigger`` is what the set looks for (default: derived from ``pattern``); ``live`` is
    the pattern by which a growing text is held back (None: ``pattern``; empty: never).
    ``slow``: asks an encoder, so never on the loop. ``sentences``: a growing text is held
    until its sentence ends.
    ``unended``: where the end of a text, longer than a stream may hold, is the beginning of what
    only its end would show; None for nowhere.
    ``zones``: where a phrase counts (None: everywhere).
    """

    name: str
    types: tuple[str, ...]
    pattern: str
    find: Find
    group: Group = "literal"
    trigger: str | None = None
    live: str | None = None
    slow: bool = False
    sentences: bool = False
    zones: frozenset[Zone] | None = None
    unended: Callable[[str], int | None] | None = None


class ProbeSet:
    """The probes of one selection, in one automaton per group."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = tuple(probes)
        grouped: dict[Group, list[Probe]] = defaultdict(list)
        for probe in probes:
            grouped[probe.group].append(probe)
        self._short = tuple(grouped.pop("short", ()))
        self._always = tuple(grouped.pop("always", ()))
        self.models = frozenset(probe.name for probe in self._always)
        self._first = tuple(grouped.pop("literal", ()))
        words = (_Group(grouped.pop(name, ())) for name in ("words", "prose"))
        self._words = [group for group in words if group]
        phrases = grouped.pop("phrases", ())
        # Apart: two automata of half the size meet fewer new states than one, and events of
        # answers, which are many and small, need the first alone.
        halves = (
            [p for p in phrases if (p.zones is None or ANSWERS in p.zones) == in_answers]
            for in_answers in (True, False)
        )
        self._phrases = [_Phrases(half) for half in halves if half]
        self._runs = _Group(grouped.pop("runs", ()))
        self._gated = [_Group(members) for members in grouped.values()]
        self._set = _automaton([*map(_sign, self._first), *(GATES[group] for group in grouped)])

    def hits(self, view: View, models: bool = True) -> list[Probe]:
        """The probes that could find something in a text; those that are in no set (the models)
        only if asked for."""
        data = view.data
        found: list[Probe] = []
        first = self._first
        for index in self._set.Match(data) or ():
            if index < len(first):
                found.append(first[index])
            else:
                found += self._gated[index - len(first)].hits(data)
        if self._runs and view.has_run(RUN_CHARACTERS):
            found += self._runs.hits(data)
        for phrases in self._phrases:
            found += phrases.hits(view)
        if models:
            found += self._always
        for words in self._words:
            found += words.hits(data)
        if self._short and len(data) <= 4 * SHORT_CHARACTERS_MAX:
            found += self._short
        return found


class _Group:
    """The probes of one group."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = tuple(probes)
        self._set = _automaton(map(_sign, probes))

    def __bool__(self) -> bool:
        return bool(self._probes)

    def hits(self, data: bytes | bytearray) -> Iterable[Probe]:
        indices = self._set.Match(data)
        return [self._probes[index] for index in indices] if indices else ()


class _Phrases:
    """Phrases by their gists: what ASCII text can match, and what only other text can, apart.

    An automaton that knows no UTF-8 is a third as large, and most texts have none of the letters
    beyond ASCII that a phrase needs: quotation marks and dashes are in no phrase's way.
    """

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = tuple(probes)
        everywhere = any(probe.zones is None for probe in probes)
        zones = () if everywhere else (probe.zones or () for probe in probes)
        self._zones = frozenset[Zone]().union(*zones)
        signs = [probe.trigger or gist(probe.pattern) for probe in probes]
        parts = [ascii_part(sign) for sign in signs]
        self._plain = [at for at, part in enumerate(parts) if part is not None]
        self._plain_set = _automaton((part for part in parts if part is not None), plain=True)
        self._other = [at for at, sign in enumerate(signs) if sign != parts[at]]
        others = [signs[at] for at in self._other]
        self._other_set = _automaton(others)
        self._needed = re2.compile(beyond_ascii(others).encode())

    def hits(self, view: View) -> Iterable[Probe]:
        if self._zones and view.zone not in self._zones:
            return ()
        data = view.data
        found: set[int] = set()
        if not view.ascii and view.beyond and self._needed.search(view.beyond) is not None:
            found.update(self._other[index] for index in self._other_set.Match(data) or ())
            if _FOLDED.search(data) is not None:
                pieces = (piece.translate(_FOLDED_TO) for piece in pieces_of(view.text))
                data = utf8("".join(pieces))
        plain = self._plain_set.Match(data)
        if plain is None and not found:
            return ()  # most texts
        found.update(self._plain[index] for index in plain or ())
        return [
            probe
            for probe in (self._probes[at] for at in sorted(found))
            if probe.zones is None or view.zone in probe.zones
        ]


# The long s and the kelvin sign: RE2 takes them for s and k where case does not matter.
_FOLDED = re2.compile("[\u017f\u212a]".encode())
_FOLDED_TO = str.maketrans("\u017f\u212a", "sk")


def _sign(probe: Probe) -> str:
    """What occurs wherever the probe's pattern does."""
    return probe.trigger or trigger(probe.pattern)


def _automaton(patterns: Iterable[str], plain: bool = False) -> re2.Set:
    """All patterns at once. ``plain``: they are ASCII, and the text is read byte by byte."""
    options = re2.Options()
    options.max_mem = SET_MEMORY_BYTES
    options.log_errors = False
    if plain:
        options.encoding = re2.Options.Encoding.LATIN1
    automaton = re2.Set.SearchSet(options)
    for pattern in patterns:
        automaton.Add(pattern)
    automaton.Compile()
    return automaton
