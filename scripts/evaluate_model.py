"""The learned part of the evaluation: rules and models together, on texts not trained on."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from evaluate_table import interval, line
from training import measure
from training.corpus import result_texts

from penstock.detect import Detectors

# Sources whose texts are what a tool returned; the rest stands in the zone of its file.
FROM_TOOLS = {"agentdojo", "asb-observation", "bipia-email", "bipia-clean-email"}
# A source with fewer attacks says nothing when it is left out.
LEFT_OUT_MIN = 20


def learned(directory: Path) -> None:
    """Rules and models together on texts the model has not seen (training/measure.py)."""
    total = 0
    left_out: list[float] = []
    for zone, (texts, rules) in measure.TASKS.items():
        task = measure.prepared(texts(directory), rules)
        scores = measure.cross_validated(task)
        hit = task.rules | (scores >= measure.threshold(task, scores))
        counts = measure.counted(task, hit)
        total = total + counts if zone != "tool_definition" else total
        found, _, missed = counts.tolist()
        name = f"rules + model, {zone}, 5-fold by group"
        line(f"{name}, F1", f"{measure.f1(counts):.3f}", "-", found + missed)
        alike = task.measured & (task.labels == 0)
        for source in sorted({*task.sources[alike & hit]}):
            ours = alike & (task.sources == source)
            shares(f"{name}, false alarm share, {source}", hit[ours])
        for source in sorted({*task.sources[task.measured & (task.labels == 1)]}):
            ours = task.measured & (task.labels == 1) & (task.sources == source)
            if ours.sum() < LEFT_OUT_MIN:
                continue
            shares(f"{name}, recall, {source}", hit[ours])
            unseen, _ = measure.without_source(task, source)
            shares(f"rules + model, {zone}, recall without training on {source}", unseen)
            if zone != "tool_definition":
                left_out.append(float(unseen.mean()))
    total = total + from_tools(directory, left_out)
    attacks = int(total[0] + total[2])
    line("injection, F1, rules + model, 5-fold by group", f"{measure.f1(total):.3f}", "-", attacks)
    mean = f"{statistics.mean(left_out):.3f}"
    line("injection, mean recall, one source left out", mean, "-", len(left_out))


def from_tools(directory: Path, left_out: list[float]) -> np.ndarray:
    """Tool results: the model for people's texts has never seen any of these sources."""
    detectors = Detectors(["injection"])
    counts = np.zeros(3, int)
    for source in sorted(FROM_TOOLS):
        ours = [text for text in result_texts(directory) if text.source == source]
        hit = np.array([bool(detectors.scan(text.text, "tool_result")) for text in ours])
        if ours[0].label:
            shares(f"rules + model, tool_result, recall, never trained on, {source}", hit)
            left_out.append(float(hit.mean()))
            counts += np.array([hit.sum(), 0, (~hit).sum()])
        else:
            shares(f"rules + model, tool_result, false alarm share, {source}", hit)
            counts += np.array([0, hit.sum(), 0])
    return counts


def shares(name: str, hit: np.ndarray) -> None:
    line(name, f"{hit.mean():.3f}", interval(int(hit.sum()), len(hit)), len(hit))
