"""The injection model: a linear score over hashed n-grams, per window of a text.

It generalises where phrases cannot, and is wrong where no phrase would be: so where a text
comes from decides how high its score must be. Weights are data of the package
(``data/injection.npz``, made by ``scripts/train``; see docs/model-card.md). numpy and the
weights are loaded when a policy asks for injection or tool poisoning, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from math import exp
from typing import TYPE_CHECKING

import re2

from penstock.detect.probe import Probe
from penstock.detect.rules import DATA
from penstock.detect.view import View
from penstock.exchange import Finding, Zone

if TYPE_CHECKING:
    from penstock.detect.injection.features import Grams
    from penstock.detect.injection.scorer import Weights

WEIGHTS = DATA / "injection.npz"
# Fewer characters hold no order that more than a guess could see.
CHARACTERS_MIN = 12
# The features of a hostile megabyte must not stand in memory at once: one piece at a time.
PIECE_CHARACTERS = 16 * 1024
# Windows reported per text; more of them is no news.
FINDINGS_MAX = 16
INJECTION = "injection.model"
POISONING = "tool_poisoning.model"
# What is found in which zone. System prompts give orders by their nature, and what the model
# itself wrote is judged where it came in.
FOUND: dict[Zone, str] = {
    "user": INJECTION,
    "tool_result": INJECTION,
    "tool_definition": POISONING,
}
# Any text with a word in it.
_WORDS = re2.compile(rb"[A-Za-z]{3}|[^\x00-\x7f]{4}")


@cache
def weights() -> Weights:
    """The weights of the package; numpy comes with them."""
    from penstock.detect.injection.scorer import Weights

    return Weights(WEIGHTS)


def model_probes() -> list[Probe]:
    """One probe per model, asked about every text; never held back in a stream."""
    return [
        Probe(INJECTION, (INJECTION,), "", _injection, "always", live=""),
        Probe(POISONING, (POISONING,), "", _poisoning, "always", live=""),
    ]


def _injection(view: View) -> Iterator[Finding]:
    return _judged(view, INJECTION)


def _poisoning(view: View) -> Iterator[Finding]:
    return _judged(view, POISONING)


def _judged(view: View, name: str) -> Iterator[Finding]:
    """The windows over the zone's threshold, those that touch each other as one."""
    if view.quiet or FOUND.get(view.zone) != name or not has_words(view):
        return
    yield from joined((window for window in scored_windows(view) if window[2] >= 0), name)


def has_words(view: View) -> bool:
    """False for texts that hold no order: too short, or without a word."""
    return len(view.text) >= CHARACTERS_MIN and _WORDS.search(view.data) is not None


def joined(windows: Iterable[tuple[int, int, float]], name: str) -> Iterator[Finding]:
    """(start, end, margin) of windows as findings; those that touch each other as one."""
    low = high = count = 0
    best = 0.0
    for start, end, margin in windows:
        if high and start <= high:
            high, best = end, max(best, margin)
            continue
        if high:
            yield Finding(name, low, high, certainty(best), name)
            count += 1
            if count >= FINDINGS_MAX:
                return
        low, high, best = start, end, margin
    if high:
        yield Finding(name, low, high, certainty(best), name)


def scored_windows(view: View) -> Iterator[tuple[int, int, float]]:
    """Every window, and by how much its score is over the zone's threshold."""
    model = weights().models[view.zone]
    for base, found in features(view):
        for start, end, score in model.scores_of(found):
            yield base + start, base + end, score - model.threshold


def features(view: View) -> Iterator[tuple[int, Grams]]:
    """The features of a text, piece by piece, and where each begins; words' meanings where the
    zone's model knows them. All models of a text of one piece share them."""
    from penstock.detect.injection.features import grams

    if view.features is not None:
        yield 0, view.features
        return
    concepts = weights().concepts if view.zone in FOUND else None
    for base in range(0, len(view.text), PIECE_CHARACTERS):
        found = grams(view.text[base : base + PIECE_CHARACTERS], concepts)
        if len(view.text) <= PIECE_CHARACTERS:
            view.features = found
        yield base, found


def certainty(margin: float) -> float:
    """0.5 at the threshold, towards 1 above it."""
    return round(1 / (1 + exp(-margin)), 3)
