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

from penstock.detect.pattern import trigger
from penstock.detect.view import View
from penstock.exchange import Finding

# Budget of one automaton and its cache of states (bytes); a full cache starts anew.
SET_MEMORY_BYTES = 16 * 1024 * 1024

Find = Callable[[View], Iterable[Finding]]
Group = Literal["literal", "words", "phrases", "digits", "codes", "runs", "short"]

# What must occur in a text before a group's own set is asked. Every pattern of a group
# contains its gate (held by a test over the rules' examples).
GATES: dict[Group, str] = {
    "digits": r"(?:[0-9][ .:/()-]{0,2}){6}",
    "codes": (
        r"[A-Za-z] ?[0-9]{2}|[0-9][A-Za-z][0-9]|[0-9]{6}-?[A-Za-z]|[0-9]{6}[-+]|[0-9]-[0-9]{6}"
    ),
    "runs": r"[0-9A-Za-z+/_-]{20}",
    "phrases": r"[^\x00-\x7f]{4}|[A-Za-z]{3}",
}
# "words" probes are asked always, but apart: letters of any case would multiply the states
# of the token formats. "short" probes look at texts that are one value and
# nothing else, whatever they hold.
SHORT_CHARACTERS_MAX = 40


@dataclass(slots=True, frozen=True)
class Probe:
    """``types``: every finding type ``find`` may report.

    ``trigger`` is what the set looks for (default: derived from ``pattern``); ``live`` is
    the pattern by which a growing text is held back (None: ``pattern``; empty: never).
    """

    name: str
    types: tuple[str, ...]
    pattern: str
    find: Find
    group: Group = "literal"
    trigger: str | None = None
    live: str | None = None


class ProbeSet:
    """The probes of one selection, in one automaton per group."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = tuple(probes)
        grouped: dict[Group, list[Probe]] = defaultdict(list)
        for probe in probes:
            grouped[probe.group].append(probe)
        self._short = tuple(grouped.pop("short", ()))
        self._first = tuple(grouped.pop("literal", ()))
        self._words = tuple(grouped.pop("words", ()))
        self._word_set = _automaton(self._words)
        self._gated = [(tuple(members), _automaton(members)) for members in grouped.values()]
        self._set = _automaton(self._first, [GATES[group] for group in grouped])

    def hits(self, data: bytes) -> list[Probe]:
        """The probes that could find something in ``data`` (UTF-8)."""
        found: list[Probe] = []
        first = self._first
        for index in self._set.Match(data) or ():
            if index < len(first):
                found.append(first[index])
            else:
                members, automaton = self._gated[index - len(first)]
                found += [members[inner] for inner in automaton.Match(data) or ()]
        found += [self._words[index] for index in self._word_set.Match(data) or ()]
        if self._short and len(data) <= 4 * SHORT_CHARACTERS_MAX:
            found += self._short
        return found


def _automaton(probes: Sequence[Probe], more: Sequence[str] = ()) -> re2.Set:
    options = re2.Options()
    options.max_mem = SET_MEMORY_BYTES
    options.log_errors = False
    automaton = re2.Set.SearchSet(options)
    for probe in probes:
        automaton.Add(probe.trigger or trigger(probe.pattern))
    for pattern in more:
        automaton.Add(pattern)
    automaton.Compile()
    return automaton
