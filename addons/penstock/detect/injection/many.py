"""Many small texts looked at by the linear models together: a list of tools has thousands.

What a model costs a small text is the calls to numpy, not the text. Nearly always no text of
a list is over a threshold; then all of them were scored by one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import chain

from penstock.detect.answers import toxicity
from penstock.detect.injection.model import CHARACTERS_MIN, FOUND, PIECE_CHARACTERS, weights
from penstock.exchange import Zone

# Fewer texts are as quick one by one.
TEXTS_MIN = 4


def quiet_texts(texts: Iterable[str], zone: Zone, models: Set[str]) -> set[str]:
    """Those of the texts in which none of our models finds anything; of what is long, what is not
    ASCII and what some model is over its threshold for, nothing is said."""
    asked = FOUND.get(zone) in models, toxicity.TOXICITY in models
    if not any(asked):
        return set()
    quiet: set[str] = set()
    for batch in _batches(texts, zone):
        quiet |= _quiet(batch, zone, *asked)
    return quiet


def _batches(texts: Iterable[str], zone: Zone) -> Iterator[list[str]]:
    """The texts of one window, so many together as fit a processor's cache."""
    from penstock.detect.injection.scorer import WINDOW_CHARACTERS

    longest = WINDOW_CHARACTERS.get(zone, WINDOW_CHARACTERS["user"])
    fit = (text for text in texts if CHARACTERS_MIN <= len(text) <= longest and text.isascii())
    batch: list[str] = []
    size = 0
    for text in chain(fit, [""]):
        if size + len(text) > PIECE_CHARACTERS or not text:
            if len(batch) >= TEXTS_MIN:
                yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)


def _quiet(batch: list[str], zone: Zone, orders: bool, harm: bool) -> set[str]:
    import numpy as np

    from penstock.detect.injection.features import MEANING_WEIGHT, grams_of_many

    known = weights() if zone in FOUND else None
    buckets, owners, single = grams_of_many(batch, known.concepts if known and orders else None)
    models = [(known.models[zone], len(buckets))] if known and orders else []
    models += [(toxicity.model()[0], single)] if harm else []
    quiet = set(batch)
    for model, count in models:
        worth = model.weights.take(buckets[:count]).astype(np.int32)
        worth[single:] *= MEANING_WEIGHT
        totals = np.bincount(owners[:count], worth, len(batch)).tolist()
        for text, total in zip(batch, totals, strict=True):
            if model.score(int(total), len(text)) >= model.threshold:
                quiet.discard(text)
    return quiet
