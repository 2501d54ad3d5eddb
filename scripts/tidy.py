"""Tidiness as a check: what a reviewer would otherwise say each time.

Walks the tracked Python files and prints one line per finding; exits 1 when there is one.
tests/test_tidy.py runs it too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

MODULE_LINES = 400  # a module that needs more holds two ideas
FUNCTION_LINES = 60
ROOT_ENTRIES = 16  # visible names at the top: a newcomer reads them all
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "misc.py", "common.py"}


def tracked(pattern: str) -> list[Path]:
    """Files of the checkout that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        path for line in listing.stdout.split("\n") if line and (path := REPOSITORY / line).exists()
    ]


def long_functions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"


def module_findings(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > MODULE_LINES:
        yield f"1: {lines} lines, at most {MODULE_LINES}"
    if path.name in FORBIDDEN_NAMES:
        yield f"1: a module is named after what it is, not {path.name}"
    tree = ast.parse(text)
    if text.strip() and ast.get_docstring(tree) is None:
        yield "1: a module says in its first lines what it is"
    yield from long_functions(tree)
    for number, line in enumerate(text.split("\n"), 1):
        if UNFINISHED.search(line) and path != Path(__file__).resolve():
            yield f"{number}: unfinished: {line.strip()[:60]}"


def findings() -> list[str]:
    """All findings, ``path:line: what``."""
    found = []
    for path in tracked("addons/*.py") + tracked("scripts/*.py"):
        found += [f"{path.relative_to(REPOSITORY)}:{what}" for what in module_findings(path)]
    visible = [entry.name for entry in REPOSITORY.iterdir() if not entry.name.startswith(".")]
    if len(visible) > ROOT_ENTRIES:
        found.append(f".: {len(visible)} entries at the top, at most {ROOT_ENTRIES}")
    return found


def main() -> int:
    found = findings()
    for line in found:
        print(line)
    print(f"tidy: {len(found)} findings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
