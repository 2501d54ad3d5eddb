"""The weights at work: from a text's n-grams to the windows that score highest.

Weights are int8 with one factor per model. A window's score is the sum of its weights over
the root of its length, plus a bias: cumulative sums make every window cost the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penstock.detect.injection.features import MEANING_WEIGHT, Concepts, Grams, Places, grams
from penstock.exchange import Zone

# Characters of a window, in training and at work; the next one begins half a window later.
# What a person writes is one thing; an order in what a tool returns is a sentence of it.
WINDOW_CHARACTERS: dict[Zone, int] = {"user": 600, "tool_result": 200, "tool_definition": 600}
# A shorter text is scored as if it were this long: three words prove nothing.
LENGTH_FLOOR = 40
FEATURES_PER_CHARACTER = 5


def window_scale(length: int) -> float:
    """What the sum of a window's weights is multiplied by."""
    return float((max(length, LENGTH_FLOOR) * FEATURES_PER_CHARACTER) ** -0.5)


def windows(length: int, size: int) -> list[tuple[int, int]]:
    """The windows of a text of ``length`` characters; the last one reaches its end."""
    if length <= size:
        return [(0, length)]
    step = size // 2
    return [(start, min(length, start + size)) for start in range(0, length - step, step)]


class Model:
    """int8 weights, the factor that makes them real, the bias, and what counts as a finding."""

    __slots__ = ("bias", "factor", "threshold", "weights", "window")

    def __init__(
        self,
        weights: NDArray[np.int8],
        factor: float,
        bias: float,
        threshold: float,
        window: int = WINDOW_CHARACTERS["user"],
    ) -> None:
        self.weights = weights
        self.factor = factor
        self.bias = bias
        self.threshold = threshold
        self.window = window

    def scores(self, text: str, concepts: Concepts) -> Iterator[tuple[int, int, float]]:
        """(start, end, score) of each window of ``text``."""
        return self.scores_of(grams(text, concepts))

    def scores_of(self, found: Grams, meanings: bool = True) -> Iterator[tuple[int, int, float]]:
        """The same of a text whose features are known; without those of words' meanings."""
        kinds = len(found.kinds) if meanings else found.single
        if found.length <= self.window:  # most texts: all there is, in one sum
            yield 0, found.length, self.score(self._sum(found, kinds), found.length)
            return
        step = self.window // 2
        sums = self._sums(found, kinds, step)
        for start, end in windows(found.length, self.window):
            total = sum(sums[start // step : -(-end // step)])
            yield start, end, self.score(total, end - start)

    def score(self, total: int, length: int) -> float:
        """The score of a window whose weights have that sum."""
        return total * self.factor * window_scale(length) + self.bias

    def _sum(self, found: Grams, kinds: int) -> int:
        """The sum of the weights of the first kinds of features."""
        once = sum(count for count, _ in found.kinds[: found.single])
        count = once + sum(count for count, _ in found.kinds[found.single : kinds])
        worth = self.weights.take(found.buckets[:count])
        total = int(worth[:once].sum(dtype=np.int32))
        return total + MEANING_WEIGHT * int(worth[once:].sum(dtype=np.int32))

    def _sums(self, found: Grams, kinds: int, step: int) -> list[int]:
        """The sum of the weights of each step's characters, of the first kinds of features."""
        bounds = _bounds(found, kinds, step)
        count = sum(count for count, _ in found.kinds[:kinds])
        worth = self.weights.take(found.buckets[:count])
        until = np.zeros(len(worth) + 1, np.int32)  # the sum of all features before each
        worth.cumsum(dtype=np.int32, out=until[1:])
        within = until.take(bounds)
        sums = within[:, 1:] - within[:, :-1]
        sums[found.single :] *= MEANING_WEIGHT
        total: list[int] = sums.sum(axis=0).tolist()
        return total


def _bounds(found: Grams, kinds: int, step: int) -> Places:
    """Where among the features those of each step begin and the last ones end, kind by kind."""
    edges = np.arange(0, max(1, found.length) + step, step)
    bounds = np.empty((kinds, len(edges)), np.intp)
    begin = 0
    known: Places | None = None
    reached = edges
    for row, (count, places) in zip(bounds, found.kinds[:kinds], strict=True):
        if places is not known:  # kinds of one unit stand at the same places
            known, reached = places, edges if places is None else places.searchsorted(edges)
        np.minimum(reached, count, out=row)
        row += begin
        begin += count
    return bounds


class Weights:
    """The models of ``path`` by zone, and the concepts they share."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as data:
            self.concepts = Concepts(data["concept_keys"], data["concept_meanings"])
            self.models = {
                zone: Model(data[f"{zone}.weights"], *_scale(data[f"{zone}.scale"]), window)
                for zone, window in WINDOW_CHARACTERS.items()
            }


def _scale(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Factor, bias and threshold of a model."""
    factor, bias, threshold = values.tolist()
    return factor, bias, threshold
