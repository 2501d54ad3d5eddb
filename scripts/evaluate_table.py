"""The rows of the evaluation table: labelled texts in, one Markdown line per measure out."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "detection.md"
HEAD = "| measure | value | 95 % interval | n |\n|---|---|---|---|"
# Between these lines of the page stands a table, and nothing that a person wrote.
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ANSWERS = "<!-- measured answers: begin -->", "<!-- measured answers: end -->"
_lines: list[str] = []


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
    """Print a row and keep it for the page."""
    _lines.append(f"| {measure} | {value} | {between} | {size} |")
    print(_lines[-1], flush=True)


def written(page: Path = PAGE, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put the rows printed since the last table between the marks of the page, and leave the
    rest of it."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise SystemExit(f"{page} has no lines {marks[0]} and {marks[1]}")
    table = "\n".join([HEAD, *_lines])
    _lines.clear()
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
