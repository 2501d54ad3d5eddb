"""Text -> findings: secrets, personal data, hostile instructions.

One google-re2 set finds the rules that could hit; only those are confirmed and checked.
A finding never carries the text it found. This room reads text only: it never sees the
network, a file other than its own rule data, or the policy.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from penstock.detect.calls import CALL_TYPES, CANDIDATE
from penstock.detect.catalogue import all_probes
from penstock.detect.disguises.normalise import DEPTH_MAX, readings
from penstock.detect.encoders.entities import ENTITY_TYPES
from penstock.detect.injection.many import quiet_texts
from penstock.detect.overlaps import outside_placeholders, resolve
from penstock.detect.probe import Probe, ProbeSet
from penstock.detect.view import View
from penstock.exchange import UNSCANNABLE, Finding, Zone, matches_type

if TYPE_CHECKING:
    from penstock.detect.live import LivePattern

__all__ = ["Detectors", "known_types"]

# Selections of detectors alive at once: one per rule with types of its own.
SELECTIONS_MAX = 32
# Text that is looked at before the first call: automata make states then and not later, patterns
# are compiled and the models (in whose zones it stands) loaded.
WARM_UP_CHARACTERS = 24_000
WARM_UP_ZONES: tuple[Zone, ...] = ("user", "tool_definition")
_WARM_UP = "The quick brown fox, 12 apples: key = 'value' https://example.org/a?b=c <d> a@b.cd\n"


def known_types() -> list[str]:
    """Every finding type a policy may name."""
    found = {name for probe in all_probes() for name in probe.types}
    return sorted({UNSCANNABLE, CANDIDATE, *CALL_TYPES, *ENTITY_TYPES, *found})


@lru_cache(maxsize=SELECTIONS_MAX)
def _probe_set(names: tuple[str, ...]) -> ProbeSet:
    """One automaton per selection of probes; detectors of equal selection share it."""
    wanted = set(names)
    probes = ProbeSet([probe for probe in all_probes() if probe.name in wanted])
    for zone in WARM_UP_ZONES:
        view = View(_warm_up(), zone)
        for probe in probes.hits(view):
            list(probe.find(view))
        list(readings(view))
    return probes


@cache
def _warm_up() -> str:
    """English and code that every Python carries: the documentation of its builtins."""
    texts = [_WARM_UP, *(str(value.__doc__) for value in vars(builtins).values())]
    return "\n".join(texts)[:WARM_UP_CHARACTERS]


class Detectors:
    """The detectors of the wanted types, compiled once; ``scan`` may run in any thread, and
    where they are ``slow`` not on the loop. One of ``custom`` stands in place of the package's
    own of the same name."""

    def __init__(self, wanted: Sequence[str], custom: Sequence[Probe] = ()) -> None:
        self.wanted = tuple(wanted)
        self._custom = tuple(probe for probe in custom if not probe.slow or self._wants(probe))
        replaced = {probe.name for probe in self._custom}
        names = {probe.name for probe in all_probes() if self._wants(probe)}
        self._probes = _probe_set(tuple(sorted(names - replaced)))
        own = (probe.name for probe in self._custom if probe.group == "always")
        self.models = self._probes.models.union(own)  # those that score a text as a whole
        self.slow = any(probe.slow for probe in self._custom)
        self.by_sentence = any(probe.sentences for probe in self._custom)
        self._narrowed: dict[tuple[str, ...], Detectors] = {}
        self.live: LivePattern | None = None  # what the stream scanner derives of the probes

    def _wants(self, probe: Probe) -> bool:
        return any(matches_type(self.wanted, name) for name in probe.types)

    def quick(self) -> Detectors:
        """The same without those that are slow, for texts that are looked at on the loop."""
        if not self.slow:
            return self
        return Detectors(self.wanted, [probe for probe in self._custom if not probe.slow])

    def only(self, types: Sequence[str]) -> Detectors:
        """The same detectors narrowed to ``types``."""
        types = tuple(types)
        if types == self.wanted:
            return self
        narrowed = self._narrowed.get(types)  # each text of a streamed answer asks
        if narrowed is None:
            if len(self._narrowed) >= SELECTIONS_MAX:
                self._narrowed.clear()
            narrowed = self._narrowed[types] = Detectors(types, self._custom)
        return narrowed

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What this selection looks for; the stream scanner derives its automaton from it."""
        return (*self._probes.probes, *self._custom)

    def scan(self, text: str, zone: Zone = "user", models: bool = True) -> list[Finding]:
        """Sorted findings, no two of a kind overlapping; offsets are string indices.

        Without ``models`` only patterns are asked: of a text that was scored shortly before.
        """
        return self._scan(View(text, zone), models)

    def scan_all(self, texts: Collection[str], zone: Zone = "user") -> dict[str, list[Finding]]:
        """The same of many texts; of small ones in a fraction of the time."""
        quiet = quiet_texts(texts, zone, self._probes.models)
        found = {}
        for text in texts:
            view = View(text, zone)
            view.quiet = text in quiet
            found[text] = self._scan(view, True)
        return found

    def _scan(
        self, view: View, models: bool, depth: int = 0, unmasked: bool = False
    ) -> list[Finding]:
        text = view.text
        probes = self._probes.hits(view, models)
        if self._custom:
            probes += self._own(models)
        found = [
            finding
            for probe in probes
            for finding in probe.find(view)
            if matches_type(self.wanted, finding.type)
        ]
        if depth < DEPTH_MAX:
            for reading in readings(view, unmasked):
                inner = View(reading.text, view.zone, view.root)
                for finding in self._scan(inner, models, depth + 1, reading.unmasked):
                    start, end = reading.place(finding.start, finding.end)
                    found.append(replace(finding, start=start, end=end))
        if view.unjudged is not None and view.unjudged < len(text):
            # Whoever wanted anything found has to take this for it: see policy/find.py.
            found.append(Finding(UNSCANNABLE, view.unjudged, len(text), 1.0, UNSCANNABLE))
        return resolve(outside_placeholders(found, text)) if found else []

    def _own(self, models: bool) -> Iterator[Probe]:
        """The policy's own detectors that are asked."""
        return (probe for probe in self._custom if models or probe.group != "always")
