"""Text that gives the model orders: overrides, personas, fake system marks, poisoned tools.

Rules are phrases in many languages, read as they stand and again without disguises. They
are a signal and no proof: where a text comes from decides how much a phrase counts. Orders
are normal in what a user writes and an anomaly in what a tool returns.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.detect.probe import Probe
from penstock.detect.rules import PhraseRule
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding, Zone

# Zones whose text comes from outside and has no business to give orders.
UNTRUSTED: frozenset[Zone] = frozenset({"tool_result", "tool_definition"})
# A phrase this sure counts everywhere; a weaker one in untrusted zones only.
SURE_ENOUGH = 0.6
# Runs of tag characters spell hidden ASCII; emoji flags use a few of them.
_HIDDEN = r"[\x{E0020}-\x{E007E}]{8,}|[\x{200B}-\x{200F}\x{2060}-\x{2064}]{6,}"
_HIDDEN_TYPE = "injection.hidden_text"


def phrase_probes(rules: list[PhraseRule]) -> list[Probe]:
    """One probe per phrase rule, and one for text written in invisible characters."""
    probes = [_probe(rule, number) for number, rule in enumerate(rules)]
    hidden = Pattern(_HIDDEN)

    def find_hidden(view: View) -> Iterator[Finding]:
        for start, end, _, _ in view.spans(hidden):
            yield Finding(_HIDDEN_TYPE, start, end, 0.9, _HIDDEN_TYPE)

    return [
        *probes,
        Probe(_HIDDEN_TYPE, (_HIDDEN_TYPE,), _HIDDEN, find_hidden, "phrases", _HIDDEN, live=""),
    ]


def _probe(rule: PhraseRule, number: int) -> Probe:
    pattern = Pattern(rule.pattern)
    zones = frozenset(rule.zones) or None
    if rule.score < SURE_ENOUGH:
        zones = UNTRUSTED if zones is None else zones & UNTRUSTED

    def find(view: View) -> Iterator[Finding]:
        for start, end, _, _ in view.spans(pattern):
            yield Finding(rule.id, start, end, rule.score, f"{rule.id}#{number}")

    # Held back nowhere: an order in an answer is reported, not cut out of a stream.
    name = f"{rule.id}#{number}"
    return Probe(name, (rule.id,), rule.pattern, find, "phrases", live="", zones=zones)
