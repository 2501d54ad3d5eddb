"""The weights at work: from a text's n-grams to the windows that score highest.

Weights are int8 with one factor per model. A window's score is the sum of its weights over
the root of its length, plus a bias: cumulative sums make every window cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penstock.detect.features import MEANING_WEIGHT, Concepts, Grams, Places, grams
from penstock.exchange import Zone

# Characters of a window, in training and at work, and the step between two windows.
WINDOW_CHARACTERS = 600
STEP_CHARACTERS = 300
# A shorter text is scored as if it were this long: three words prove nothing.
LENGTH_FLOOR = 40
FEATURES_PER_CHARACTER = 5


def window_scale(length: int) -> float:
    """What the sum of a window's weights is multiplied by."""
    return float((max(length, LENGTH_FLOOR) * FEATURES_PER_CHARACTER) ** -0.5)


def windows(length: int) -> list[tuple[int, int]]:
    """The windows of a text of ``length`` characters; the last one reaches its end."""
    if length <= WINDOW_CHARACTERS:
        return [(0, length)]
    starts = range(0, length - STEP_CHARACTERS, STEP_CHARACTERS)
    return [(start, min(length, start + WINDOW_CHARACTERS)) for start in starts]


# Tool results are read by the model for users' texts: one trained on what tools return called
# nine of ten honest package descriptions attacks.
ZONES: tuple[Zone, ...] = ("user", "tool_definition")


class Model:
    """int8 weights, the factor that makes them real, the bias, and what counts as a finding."""

    __slots__ = ("bias", "factor", "threshold", "weights")

    def __init__(
        self, weights: NDArray[np.int8], factor: float, bias: float, threshold: float
    ) -> None:
        self.weights = weights
        self.factor = factor
        self.bias = bias
        self.threshold = threshold

    def scores(self, text: str, concepts: Concepts) -> Iterator[tuple[int, int, float]]:
        """(start, end, score) of each window of ``text``."""
        found = grams(text, concepts)
        sums = self._sums(found)
        for start, end in windows(found.length):
            total = sum(sums[start // STEP_CHARACTERS : -(-end // STEP_CHARACTERS)])
            yield start, end, total * self.factor * window_scale(end - start) + self.bias

    def _sums(self, found: Grams) -> list[int]:
        """The sum of the weights of each step's characters."""
        starts = np.arange(0, max(1, found.length), STEP_CHARACTERS)
        sums = np.zeros(len(starts), np.int32)
        gained = self.weights.take(found.buckets)
        at = 0
        for number, (count, places) in enumerate(found.kinds):
            worth = gained[at : at + count]
            at += count
            if places is None:
                reached = starts[: -(-count // STEP_CHARACTERS)]
                sums[: len(reached)] += np.add.reduceat(worth, reached, dtype=np.int32)
            elif number < found.single:
                sums += _by_step(worth, places, starts)
            else:
                sums += _by_step(worth, places, starts) * np.int32(MEANING_WEIGHT)
        total: list[int] = sums.tolist()
        return total


def _by_step(worth: NDArray[np.int8], places: Places, starts: Places) -> NDArray[np.int32]:
    """The sums of ``worth``, which stands at ascending ``places``, between the starts."""
    until = np.zeros(len(worth) + 1, np.int32)
    worth.cumsum(dtype=np.int32, out=until[1:])
    bounds = until.take(places.searchsorted(starts))
    bounds[:-1] -= bounds[1:]
    bounds[-1] -= until[-1]
    return np.negative(bounds, out=bounds)


class Weights:
    """The models of ``path`` by zone, and the concepts they share."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as data:
            self.concepts = Concepts(data["concept_keys"], data["concept_meanings"])
            self.models = {
                str(zone): Model(data[f"{zone}.weights"], *data[f"{zone}.scale"].tolist())
                for zone in ZONES
            }
