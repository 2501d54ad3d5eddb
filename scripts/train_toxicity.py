"""Train the toxicity model and write it into the package: a weak signal, off unless named.

Usage: scripts/train-toxicity [--corpora DIR] [--output FILE] [--measure]

The same texts give the same file. ``--measure`` only prints what cross-validation by group
and leaving one source out say of it; the figures stand in docs/detection.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "addons"))

from train import quantised, written
from training import corpus, measure
from training.corpus import Text

from penstock.detect.answers.toxicity import WEIGHTS, without_concepts

# What the threshold may cost: honest prompts hardly ever, honest texts about touchy matters
# (half of the labelled ones are made to be mistaken) one in twenty.
BENIGN_SHARE, TOUCHY_SHARE = 0.001, 0.05
OTHERS = ("injection", "pii")


def texts(directory: Path) -> list[Text]:
    """Labelled rows, and texts of other kinds as honest ones."""
    found = [
        Text(row["text"], row["label"], row["id"].split("#")[0], row["source"], "assistant")
        for row in corpus.rows(directory, "toxicity")
    ]
    for row in corpus.rows(directory, "benign"):
        group, source = row["id"].split("#")[0], f"benign:{row['source']}"
        found.append(Text(row["text"], 0, group, source, "assistant"))
    for name in OTHERS:
        for row in corpus.rows(directory, name)[::3]:
            group = row["id"].split("#")[0]
            found.append(Text(row["text"], 0, group, f"other:{name}", "assistant", False))
    return found


def threshold(task: measure.Task, scores: np.ndarray) -> float:
    """The lowest that keeps both shares."""
    honest = task.measured & (task.labels == 0)
    benign = np.char.startswith(task.sources, "benign:")
    limits = [(honest & benign, task.rules, BENIGN_SHARE)]
    limits.append((honest & ~benign, task.rules, TOUCHY_SHARE))
    return measure.lowest(scores, limits)


def told(task: measure.Task, hit: np.ndarray) -> None:
    """Recall and false alarms of each source."""
    found, false, missed = measure.counted(task, hit).tolist()
    print(f"  precision {found / max(1, found + false):.3f} recall {found / (found + missed):.3f}")
    print(f"  F1 {measure.f1(measure.counted(task, hit)):.3f}")
    for source in np.unique(task.sources[task.measured]):
        for label, name in ((1, "recall"), (0, "false alarms")):
            rows = (task.sources == source) & (task.labels == label)
            if rows.any():
                print(f"  {source} {name} {hit[rows].mean():.4f} of {rows.sum()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, default=measure.corpora_default())
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    parser.add_argument("--measure", action="store_true")
    arguments = parser.parse_args()
    task = measure.prepared(texts(arguments.corpora), ["toxicity"], without_concepts())
    task.rules[:] = False  # there are no phrases beside it
    scores = measure.cross_validated(task)
    lowest = threshold(task, scores)
    print(f"{len(task.texts)} texts, threshold {lowest:.3f}; {measure.FOLDS}-fold by group:")
    told(task, scores >= lowest)
    if arguments.measure:
        for source in ("hatecheck", "openai-moderation", "surge-toxicity"):
            hit, _ = measure.without_source(task, source)
            print(f"  {source} recall without training on it {hit.mean():.3f}")
        return
    weights, bias = task.fitted(np.ones(len(task.texts), bool))
    small, factor = quantised(weights)
    scale = np.array([factor, bias, lowest])
    written(arguments.output, {"weights": small, "scale": scale})
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
