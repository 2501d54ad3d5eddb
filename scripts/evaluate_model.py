"""The learned part of the evaluation: rules and models together, on texts not trained on."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from evaluate_table import interval, line
from training import measure

# Sources whose texts are what a tool returned; the rest stands in the zone of its file.
FROM_TOOLS = {"agentdojo", "asb-observation", "bipia-email", "bipia-clean-email"}
# A source with fewer attacks says nothing when it is left out.
LEFT_OUT_MIN = 20


def learned(directory: Path) -> None:
    """Rules and models together on texts the model has not seen (training/measure.py)."""
    total = np.zeros(3, int)
    left_out: list[float] = []
    for zone, (texts, rules) in measure.TASKS.items():
        task = measure.prepared(texts(directory), rules)
        scores = measure.cross_validated(task)
        hit = task.rules | (scores >= measure.threshold(task, scores))
        counts = measure.counted(task, hit)
        found, _, missed = counts.tolist()
        name = f"rules + model, {zone}, 5-fold by group"
        line(f"{name}, F1", f"{measure.f1(counts):.3f}", "-", found + missed)
        _honest(name, task, hit)
        for source in sorted({*task.sources[task.measured & (task.labels == 1)]}):
            ours = task.measured & (task.labels == 1) & (task.sources == source)
            if ours.sum() < LEFT_OUT_MIN:
                continue
            shares(f"{name}, recall, {source}", hit[ours])
            unseen, _ = measure.without_source(task, source)
            shares(f"rules + model, {zone}, recall without training on {source}", unseen)
            if zone != "tool_definition":
                left_out.append(float(unseen.mean()))
        if zone != "tool_definition":
            total = total + counts
    attacks = int(total[0] + total[2])
    line("injection, F1, rules + model, 5-fold by group", f"{measure.f1(total):.3f}", "-", attacks)
    mean = f"{statistics.mean(left_out):.3f}"
    line("injection, mean recall, one source left out", mean, "-", len(left_out))


def _honest(name: str, task: measure.Task, hit: np.ndarray) -> None:
    """False alarms: together by what they were kept below, and by source where there are any."""
    benign, documents = task.of("benign:"), task.of("document:")
    if benign.any():
        shares(f"{name}, false alarm share, benign texts", hit[benign])
    if documents.any():
        shares(f"{name}, false alarm share, files of installed packages", hit[documents])
    honest = task.measured & (task.labels == 0) & ~benign
    for source in sorted({*task.sources[honest]}):
        shares(f"{name}, false alarm share, {source}", hit[honest & (task.sources == source)])


def shares(name: str, hit: np.ndarray) -> None:
    line(name, f"{hit.mean():.3f}", interval(int(hit.sum()), len(hit)), len(hit))
