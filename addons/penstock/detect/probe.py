"""A probe: one pattern in the common RE2 set, and what to do when it hits.

The set says for every probe at once whether it could match anywhere; only then ``find``
runs. Detectors are lists of probes and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import re2

from penstock.detect.view import View
from penstock.exchange import Finding

# The whole set's automaton lives in this budget (bytes). RE2 needs some 8 MB to compile
# 300 patterns; what is left is its cache of states, which is emptied when it is full.
SET_MEMORY_BYTES = 48 * 1024 * 1024

# Repetitions kept of a counted one in the set: enough to keep chance hits rare.
REPEATS_MAX = 12
_REPEAT = re.compile(r"\{(\d+)(?:,\d*)?\}")

Find = Callable[[View], Iterable[Finding]]


@dataclass(slots=True, frozen=True)
class Probe:
    """``types``: every finding type ``find`` may report. ``live`` is the pattern by which a
    growing text is held back (None: as ``pattern``; empty: never)."""

    name: str
    types: tuple[str, ...]
    pattern: str
    find: Find
    live: str | None = None


class ProbeSet:
    """Many probes, one automaton."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = tuple(probes)
        options = re2.Options()
        options.max_mem = SET_MEMORY_BYTES
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for probe in self.probes:
            self._set.Add(relaxed(probe.pattern))
        self._set.Compile()

    def hits(self, data: bytes) -> list[Probe]:
        """The probes whose pattern occurs in ``data``."""
        return [self.probes[index] for index in self._set.Match(data) or ()]


def relaxed(pattern: str) -> str:
    """A pattern that matches wherever ``pattern`` does, with a much smaller automaton.

    Counted repetitions are unrolled by RE2, once per count; the set only has to say where
    a closer look is due, so counts are cut down to ``REPEATS_MAX`` and opened upwards.
    """
    return _REPEAT.sub(lambda match: f"{{{min(int(match[1]), REPEATS_MAX)},}}", pattern)
