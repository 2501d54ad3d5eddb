"""Hostile speech: a weak signal, and only where a policy names it.

A linear score over hashed n-grams, as the injection model's. It knows words and little of
what they mean: it misses hate in polite words and takes offence at quotations. Its quality
stands in docs/detection.md; nothing should be refused because of it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import re2

from penstock.detect.injection.model import CHARACTERS_MIN, FINDINGS_MAX, certainty, features
from penstock.detect.probe import Probe
from penstock.detect.rules import DATA
from penstock.detect.view import View
from penstock.exchange import Finding

if TYPE_CHECKING:
    from penstock.detect.injection.features import Concepts
    from penstock.detect.injection.scorer import Model

WEIGHTS = DATA / "toxicity.npz"
TOXICITY = "toxicity.model"
_WORDS = re2.compile(rb"[A-Za-z]{3}|[^\x00-\x7f]")


@cache
def model() -> tuple[Model, Concepts]:
    """The weights of the package; numpy comes with them."""
    import numpy as np

    from penstock.detect.injection.scorer import Model

    with np.load(WEIGHTS) as data:
        return Model(data["weights"], *data["scale"].tolist()), without_concepts()


def without_concepts() -> Concepts:
    """No words with a meaning of their own: those of the injection model tell nothing here."""
    import numpy as np

    from penstock.detect.injection.features import Concepts

    return Concepts(np.zeros(1, np.uint32), np.zeros(1, np.uint8))


def toxicity_probes() -> list[Probe]:
    """The model as a detector; never held back in a stream."""
    return [Probe(TOXICITY, (TOXICITY,), "", _find, "always", live="")]


def _find(view: View) -> Iterator[Finding]:
    if view.quiet or len(view.text) < CHARACTERS_MIN or _WORDS.search(view.data) is None:
        return
    weights, _ = model()
    low = high = count = 0
    best = 0.0
    for base, found in features(view):
        for start, end, score in weights.scores_of(found, meanings=False):
            margin = score - weights.threshold
            if margin < 0:
                continue
            if high and base + start <= high:
                high, best = base + end, max(best, margin)
                continue
            if high:
                yield Finding(TOXICITY, low, high, certainty(best), TOXICITY)
                count += 1
                if count >= FINDINGS_MAX:
                    return
            low, high, best = base + start, base + end, margin
    if high:
        yield Finding(TOXICITY, low, high, certainty(best), TOXICITY)
