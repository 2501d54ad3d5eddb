"""Scores of texts that a model has not seen: cross-validation, and whole sources left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.detect import Detectors, known_types
from penstock.detect.features import Concepts, concepts_from
from penstock.detect.scorer import window_scale, windows
from penstock.exchange import matches_type

from .corpus import (
    WINDOWS_PER_TEXT,
    Text,
    concept_words,
    definition_texts,
    user_texts,
)
from .fit import Matrix, fit, matrix

# One model per zone: what it learns from, and the phrase rules that speak beside it.
TASKS = {
    "user": (user_texts, ["injection"]),
    "tool_definition": (definition_texts, ["injection", "tool_poisoning"]),
}
PENALTY = 3e-6
STEPS = 30
FOLDS = 5
# Rows that look like attacks and are none count twice.
HARD_SOURCE = "notinject"
UNSEEN = -99.0
# What the thresholds may cost (shares of honest texts).
BENIGN_SHARE = 0.005
HARD_SHARE = 0.02
DEFINITION_SHARE = 0.001


@dataclass(slots=True)
class Task:
    """Texts with their features and what the phrase rules say of them."""

    texts: list[Text]
    data: Matrix
    owner: np.ndarray  # the text of each window
    labels: np.ndarray
    sources: np.ndarray
    zones: np.ndarray
    folds: np.ndarray
    measured: np.ndarray
    rules: np.ndarray
    importance: np.ndarray  # of each window

    def fitted(self, learn: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights and bias from the texts of ``learn``."""
        rows = np.flatnonzero(learn[self.owner])
        labels = self.labels[self.owner][rows]
        return fit(self.data.take(rows), labels, self.importance[rows], PENALTY, STEPS)

    def scores(self, learn: np.ndarray, ask: np.ndarray) -> np.ndarray:
        """The best window's score of each text of ``ask``; UNSEEN for the others."""
        weights, bias = self.fitted(learn)
        rows = np.flatnonzero(ask[self.owner])
        best = np.full(len(self.texts), UNSEEN)
        np.maximum.at(best, self.owner[rows], self.data.take(rows).scores(weights) + bias)
        return best


def prepared(
    texts: Sequence[Text], rule_types: Sequence[str], concepts: Concepts | None = None
) -> Task:
    """Features of all windows, and the verdict of the phrase rules without the model."""
    if concepts is None:
        concepts = concepts_from(concept_words())
    pieces, owner = [], []
    for number, text in enumerate(texts):
        for start, end in windows(len(text.text))[:WINDOWS_PER_TEXT]:
            pieces.append(text.text[start:end])
            owner.append(number)
    places = np.array(owner)
    labels = np.array([text.label for text in texts])
    sources = np.array([text.source for text in texts])
    importance = 1 / np.sqrt(np.bincount(places)[places])
    importance *= np.where(sources[places] == HARD_SOURCE, 2, 1)
    phrases = [name for name in known_types() if matches_type(rule_types, name)]
    detectors = Detectors([name for name in phrases if not name.endswith(".model")])
    return Task(
        texts=list(texts),
        data=matrix(pieces, concepts, window_scale),
        owner=places,
        labels=labels,
        sources=sources,
        zones=np.array([text.zone for text in texts]),
        folds=np.array([text.fold for text in texts]),
        measured=np.array([text.measured for text in texts]),
        rules=np.array([spoken(detectors, text) for text in texts]),
        importance=importance,
    )


def spoken(detectors: Detectors, text: Text) -> bool:
    """True when a phrase speaks; the model has no part in it."""
    return bool(detectors.scan(text.text, text.zone))


def cross_validated(task: Task) -> np.ndarray:
    """Each text's score by a model that saw no text of its group."""
    best = np.full(len(task.texts), UNSEEN)
    for fold in range(FOLDS):
        best = np.maximum(best, task.scores(task.folds != fold, task.folds == fold))
    return best


def without_source(task: Task, source: str) -> tuple[np.ndarray, float]:
    """(hits of ``source``, the threshold): a model that saw neither the source nor one fold
    of the honest texts; the threshold lets 0.5 % of that fold through."""
    held = (task.folds == 0) & (task.labels == 0) & task.measured
    ours = task.sources == source
    scores = task.scores(~held & ~ours, held | ours)
    honest = np.sort(scores[held])
    threshold = float(honest[int(np.ceil(len(honest) * (1 - BENIGN_SHARE))) - 1]) + 1e-6
    attacks = ours & (task.labels == 1)
    return (task.rules | (scores >= threshold))[attacks], threshold


def lowest(scores: np.ndarray, limits: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> float:
    """The lowest threshold at which every (texts, spoken already, share) keeps its limit."""
    everything = np.zeros(len(scores), bool)
    for texts, _, _ in limits:
        everything |= texts
    best = float(scores[everything].max()) + 1e-6
    for threshold in np.unique(scores[everything])[::-1]:
        hit = scores >= threshold
        if any((hit | said)[texts].mean() > share for texts, said, share in limits):
            break
        best = float(threshold)
    return best


def threshold(task: Task, scores: np.ndarray) -> float:
    """What people write may alarm rarely, a tool's definition hardly ever."""
    honest = task.measured & (task.labels == 0)
    zone = task.zones[task.measured][0]
    if zone == "user":
        benign = honest & np.char.startswith(task.sources, "benign:")
        hard = honest & (task.sources == HARD_SOURCE)
        limits = [(benign, task.rules, BENIGN_SHARE), (hard, task.rules, HARD_SHARE)]
    else:
        limits = [(honest, task.rules, DEFINITION_SHARE)]
    return lowest(scores, limits)


def counted(task: Task, hit: np.ndarray) -> np.ndarray:
    """(found, falsely found, missed) of the measured texts."""
    attacks, honest = (task.measured & (task.labels == label) for label in (1, 0))
    return np.array([hit[attacks].sum(), hit[honest].sum(), (~hit[attacks]).sum()])


def f1(counts: np.ndarray) -> float:
    found, false, missed = counts.tolist()
    return float(2 * found / max(1, 2 * found + false + missed))


def corpora_default() -> Path:
    return Path(__file__).resolve().parents[3] / "shared" / "corpora"
