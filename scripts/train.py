"""Train the injection and tool poisoning models and write them into the package.

Usage: scripts/train [--corpora DIR] [--output FILE]

The same texts give the same file: nothing here is random that is not seeded. Thresholds come
from cross-validation on the development half (see training/measure.py).
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "addons"))

from training import corpus, measure
from training.measure import TASKS

from penstock.detect.injection.features import concepts_from
from penstock.detect.injection.model import WEIGHTS

# int8: the factor maps the largest weight that is kept to 127; the rarer larger are cut.
LARGEST_SHARE = 0.9999


def quantised(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """int8 weights and the factor that makes them real again."""
    used = np.abs(weights[weights != 0])
    factor = float(np.quantile(used, LARGEST_SHARE)) / 127
    return np.clip(np.round(weights / factor), -127, 127).astype(np.int8), factor


def written(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on the arrays alone (numpy's own carries the time)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(values), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, default=measure.corpora_default())
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    concepts = concepts_from(corpus.concept_words())
    arrays = {"concept_keys": concepts.keys, "concept_meanings": concepts.meanings}
    thresholds: dict[str, float] = {}
    for zone, (texts, rules) in TASKS.items():
        task = measure.prepared(texts(arguments.corpora), rules)
        scores = measure.cross_validated(task)
        thresholds[zone] = measure.threshold(task, scores)
        counts = measure.counted(task, task.rules | (scores >= thresholds[zone]))
        print(f"{zone}: {len(task.texts)} texts, threshold {thresholds[zone]:.3f}")
        print(f"  F1 by {measure.FOLDS}-fold cross-validation {measure.f1(counts):.3f}")
        weights, bias = task.fitted(np.ones(len(task.texts), bool))
        small, factor = quantised(weights)
        scale = np.array([factor, bias, thresholds[zone]])
        arrays |= {f"{zone}.weights": small, f"{zone}.scale": scale}
    written(arguments.output, arrays)
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
