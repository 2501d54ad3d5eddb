"""The rows of the evaluation table: labelled texts in, one Markdown line per measure out."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path


def rows(directory: Path, name: str) -> list[dict]:
    """The rows of one file, plain or gzipped."""
    plain = directory / f"{name}.jsonl"
    if plain.exists():
        lines = plain.read_text(encoding="utf-8").split("\n")
    else:
        with gzip.open(directory / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def interval(hits: int, total: int) -> str:
    """Wilson 95 % interval of a proportion."""
    if not total:
        return "-"
    z, p = 1.96, hits / total
    middle = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{max(0.0, middle - half):.4f}-{min(1.0, middle + half):.4f}"


def line(measure: str, value: str, between: str, size: int) -> None:
    print(f"| {measure} | {value} | {between} | {size} |")
