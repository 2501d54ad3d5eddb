"""Scores of texts that a model has not seen: cross-validation, and whole sources left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from penstock.detect import Detectors, known_types
from penstock.detect.injection.features import Concepts, concepts_from
from penstock.detect.injection.scorer import WINDOW_CHARACTERS, window_scale, windows
from penstock.exchange import Zone, matches_type

from .corpus import Text, concept_words, definition_texts, result_texts, user_texts
from .fit import Matrix, fit, matrix

# One model per zone: what it learns from, and the phrase rules that speak beside it.
TASKS = {
    "user": (user_texts, ["injection"]),
    "tool_result": (result_texts, ["injection"]),
    "tool_definition": (definition_texts, ["injection", "tool_poisoning"]),
}
PENALTY = 1e-5
FOLDS = 5
# Characters used of a long text: an attack of a hundred windows counts as often as its beginning.
TEXT_CHARACTERS = 2100
# An order covers a window when so much of either is common to both; a window that holds a
# few characters of it is neither honest nor an attack, and nothing is learned from it.
COVERED_CHARACTERS = 60
COVERED_SHARE = 0.6
# How much a text weighs in training: what must not alarm weighs more, questions of ours less
# (each stands there with several secrets).
HARD_SOURCE = "notinject"
WEIGHTS = {HARD_SOURCE: 2.0, "benign:": 4.0, "sentences:hostile": 0.3}
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
    taught: np.ndarray  # the label of each window, -1 for none
    labels: np.ndarray
    sources: np.ndarray
    zone: Zone
    folds: np.ndarray
    measured: np.ndarray
    rules: np.ndarray
    importance: np.ndarray  # of each window

    def fitted(self, learn: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights and bias from the texts of ``learn``."""
        rows = np.flatnonzero(learn[self.owner] & (self.taught >= 0))
        return fit(self.data, rows, self.taught[rows], self.importance[rows], PENALTY)

    def scores(self, learn: np.ndarray, ask: np.ndarray) -> np.ndarray:
        """The best window's score of each text of ``ask``; UNSEEN for the others."""
        weights, bias = self.fitted(learn)
        rows = np.flatnonzero(ask[self.owner])
        best = np.full(len(self.texts), UNSEEN)
        np.maximum.at(best, self.owner[rows], self.data.scores(rows, weights) + bias)
        return best

    def of(self, source: str) -> np.ndarray:
        """Which texts are of ``source`` (or of sources that begin with it)."""
        return np.char.startswith(self.sources, source)


def prepared(
    texts: Sequence[Text], rule_types: Sequence[str], concepts: Concepts | None = None
) -> Task:
    """Features of all windows, and the verdict of the phrase rules without the model."""
    if concepts is None:
        concepts = concepts_from(concept_words())
    zone = texts[0].zone
    size = WINDOW_CHARACTERS.get(zone, WINDOW_CHARACTERS["user"])
    pieces, owner, taught = [], [], []
    for number, text in enumerate(texts):
        # An order stands anywhere in what a tool returned, so all of a labelled text is read.
        length = len(text.text) if text.attack else min(len(text.text), TEXT_CHARACTERS)
        for start, end in windows(length, size):
            pieces.append(text.text[start:end])
            owner.append(number)
            taught.append(_taught(text, start, end))
    places = np.array(owner)
    sources = np.array([text.source for text in texts])
    importance = 1 / np.sqrt(np.bincount(places)[places])
    for source, weight in WEIGHTS.items():
        importance *= np.where(np.char.startswith(sources, source)[places], weight, 1)
    phrases = [name for name in known_types() if matches_type(rule_types, name)]
    detectors = Detectors([name for name in phrases if not name.endswith(".model")])
    return Task(
        texts=list(texts),
        data=matrix(pieces, concepts, window_scale),
        owner=places,
        taught=np.array(taught),
        labels=np.array([text.label for text in texts]),
        sources=sources,
        zone=zone,
        folds=np.array([text.fold for text in texts]),
        measured=np.array([text.measured for text in texts]),
        rules=np.array([bool(detectors.scan(text.text, text.zone)) for text in texts]),
        importance=importance,
    )


def _taught(text: Text, start: int, end: int) -> int:
    """The label of a window: of its text, or of the part of it that the window shows."""
    if text.attack is None:
        return text.label
    low, high = text.attack
    common = min(end, high) - max(start, low)
    if common <= 0:
        return 0
    return 1 if common >= min(COVERED_CHARACTERS, COVERED_SHARE * (high - low)) else -1


def cross_validated(task: Task) -> np.ndarray:
    """Each text's score by a model that saw no text of its group."""
    best = np.full(len(task.texts), UNSEEN)
    for fold in range(FOLDS):
        best = np.maximum(best, task.scores(task.folds != fold, task.folds == fold))
    return best


def without_source(task: Task, source: str) -> tuple[np.ndarray, float]:
    """(hits of ``source``, the threshold): a model that saw neither the source nor one fold
    of the honest texts; the threshold lets 0.5 % of that fold through."""
    judged = task.measured | task.of("benign:") | task.of("document:")
    held = (task.folds == 0) & (task.labels == 0) & judged
    ours = task.sources == source
    scores = task.scores(~held & ~ours, held | ours)
    honest = np.sort(scores[held])
    limit = float(honest[int(np.ceil(len(honest) * (1 - BENIGN_SHARE))) - 1]) + 1e-6
    attacks = ours & (task.labels == 1)
    return (task.rules | (scores >= limit))[attacks], limit


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
    silent = np.zeros(len(task.texts), bool)
    if task.zone == "user":
        limits = [
            (task.of("benign:"), task.rules, BENIGN_SHARE),
            (task.of(HARD_SOURCE), task.rules, HARD_SHARE),
            (task.of("document:"), silent, BENIGN_SHARE),
        ]
    elif task.zone == "tool_result":
        # A prompt of a person in a result may be an order to the phrases, and rightly so.
        limits = [
            (kind, silent, BENIGN_SHARE)
            for kind in (task.of("benign:"), task.of("document:"), honest)
        ]
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
