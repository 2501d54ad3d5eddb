"""Logistic regression over hashed n-grams, in numpy: L-BFGS on the whole set, deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock.detect.features import BUCKETS, Concepts, grams

HISTORY = 8


@dataclass
class Matrix:
    """Sparse counts: one row per text, each row scaled by one over the root of its length."""

    buckets: np.ndarray
    starts: np.ndarray
    scale: np.ndarray

    @property
    def rows(self) -> int:
        return len(self.scale)

    def take(self, rows: np.ndarray) -> Matrix:
        ends = np.append(self.starts[1:], len(self.buckets))
        pieces = [self.buckets[self.starts[row] : ends[row]] for row in rows]
        sizes = np.array([len(piece) for piece in pieces])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return Matrix(np.concatenate(pieces), starts, self.scale[rows])

    def scores(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights[self.buckets], self.starts) * self.scale

    def gradient(self, residual: np.ndarray) -> np.ndarray:
        sizes = np.diff(np.append(self.starts, len(self.buckets)))
        spread = np.repeat((residual * self.scale).astype(np.float32), sizes)
        return np.bincount(self.buckets, spread, BUCKETS)


def matrix(texts: Sequence[str], concepts: Concepts, scale_of) -> Matrix:
    """The features of ``texts``; ``scale_of(length)`` is the model's own scale of a window."""
    rows, scale = [], []
    for text in texts:
        found = grams(text, concepts)
        rows.append(np.concatenate([b for _, b in found.groups] or [np.zeros(1, np.uint32)]))
        scale.append(scale_of(found.length))
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])[:-1]])
    return Matrix(np.concatenate(rows).astype(np.int32), starts, np.array(scale, np.float32))


def fit(
    data: Matrix, labels: np.ndarray, importance: np.ndarray, penalty: float, steps: int
) -> tuple[np.ndarray, float]:
    """(weights, bias) that minimise weighted logistic loss + penalty/2 |w|^2."""
    signs = np.where(labels > 0, 1.0, -1.0)
    total = importance.sum()

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = point[:-1], point[-1]
        margin = signs * (data.scores(weights) + bias)
        value = float((importance * np.logaddexp(0, -margin)).sum() / total)
        residual = -signs * importance / (1 + np.exp(np.clip(margin, -30, 30))) / total
        slope = np.empty_like(point)
        slope[:-1] = data.gradient(residual) + penalty * weights
        slope[-1] = residual.sum()
        return value + penalty / 2 * float(weights @ weights), slope

    point = descend(loss, np.zeros(BUCKETS + 1), steps)
    return point[:-1], float(point[-1])


def descend(loss, point: np.ndarray, steps: int) -> np.ndarray:
    """Limited-memory BFGS (Nocedal 1980) with a backtracking line search."""
    value, slope = loss(point)
    changes: list[tuple[np.ndarray, np.ndarray, float]] = []
    for step in range(steps):
        direction = -two_loops(slope, changes)
        rate = 1.0 if step else 1.0 / max(1e-12, float(np.abs(slope).max()) * 10)
        downhill = float(slope @ direction)
        for _ in range(20):
            next_value, next_slope = loss(point + rate * direction)
            if next_value <= value + 1e-4 * rate * downhill:
                break
            rate /= 2
        moved, turned = rate * direction, next_slope - slope
        if (curve := float(moved @ turned)) > 1e-12:
            changes = [*changes[-HISTORY + 1 :], (moved, turned, 1 / curve)]
        point, slope = point + moved, next_slope
        if abs(value - next_value) < 1e-6:
            break
        value = next_value
    return point


def two_loops(slope: np.ndarray, changes) -> np.ndarray:
    result = slope.copy()
    shares = []
    for moved, turned, factor in reversed(changes):
        share = factor * float(moved @ result)
        result -= share * turned
        shares.append(share)
    if changes:
        moved, turned, factor = changes[-1]
        result *= 1 / (factor * float(turned @ turned))
    for (moved, turned, factor), share in zip(changes, reversed(shares), strict=True):
        result += moved * (share - factor * float(turned @ result))
    return result
