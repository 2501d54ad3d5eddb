"""A linear classifier over hashed n-grams, in numpy: dual coordinate descent, deterministic.

Squared hinge loss with an L2 penalty (Hsieh et al. 2008, "A Dual Coordinate Descent Method
for Large-scale Linear SVM"). One text at a time: exact to its tolerance after a few dozen
passes, where a quasi-Newton method is far from its end after as many gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock.detect.injection.features import BUCKETS, Concepts, grams

# Passes over the texts; the last ones change no row's verdict.
PASSES_MAX = 60
# Largest violation of the optimality conditions that is left.
TOLERANCE = 0.02
SEED = 20_26


@dataclass
class Matrix:
    """Sparse rows, one per window: distinct buckets and what each is worth in the row."""

    buckets: list[np.ndarray]
    worth: list[np.ndarray]

    @property
    def rows(self) -> int:
        return len(self.buckets)

    def scores(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([float(weights[self.buckets[row]] @ self.worth[row]) for row in rows])


def matrix(texts: Sequence[str], concepts: Concepts, scale_of) -> Matrix:
    """The features of ``texts``; ``scale_of(length)`` is the model's own scale of a window."""
    buckets, worth = [], []
    for text in texts:
        found = grams(text, concepts)
        every = np.concatenate([b for _, b in found.groups] or [np.zeros(1, np.uint32)])
        distinct, counts = np.unique(every, return_counts=True)
        buckets.append(distinct.astype(np.int32))
        worth.append((counts * scale_of(found.length)).astype(np.float32))
    return Matrix(buckets, worth)


def fit(
    data: Matrix, rows: np.ndarray, labels: np.ndarray, importance: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """(weights, bias) that minimise penalty/2 |w|^2 + the weighted mean squared hinge loss.

    ``labels`` and ``importance`` are those of ``rows``. The bias is a feature that every
    text has, and so is penalised with the others.
    """
    signs = np.where(labels > 0, 1.0, -1.0)
    cost = importance / (penalty * importance.sum())
    soft = 0.5 / cost
    curve = np.array([float(data.worth[row] @ data.worth[row]) for row in rows]) + 1 + soft
    shares = np.zeros(len(rows))
    weights = np.zeros(BUCKETS, np.float32)
    bias = 0.0
    chance = np.random.default_rng(SEED)
    active = np.arange(len(rows))
    for number in range(PASSES_MAX):
        worst = 0.0
        kept = []
        for at in chance.permutation(active):
            buckets, worth = data.buckets[rows[at]], data.worth[rows[at]]
            share = shares[at]
            slope = signs[at] * (float(weights[buckets] @ worth) + bias) - 1 + soft[at] * share
            if share == 0 and slope >= 0:
                continue  # right with room to spare: looked at again in a full pass
            kept.append(at)
            worst = max(worst, abs(slope))
            shares[at] = max(0.0, share - slope / curve[at])
            moved = (shares[at] - share) * signs[at]
            weights[buckets] += np.float32(moved) * worth
            bias += moved
        full = len(active) == len(rows)
        if worst < TOLERANCE and full:
            break
        # Three of four passes look at the rows that still matter, the fourth at all.
        everything = worst < TOLERANCE or number % 4 == 3
        active = np.arange(len(rows)) if everything else np.sort(np.array(kept, int))
        if not len(active):
            active = np.arange(len(rows))
    return weights, bias
