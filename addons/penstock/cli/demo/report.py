"""The demo's outcome on a terminal."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

METRIC_LINES_MAX = 16
AUDIT_FIELDS_HIDDEN = {"prev"}  # the chain's hash: long, and shown by `penstock audit show`


def on_stderr(message: str) -> None:
    print(f"penstock demo: {message}", file=sys.stderr)


def show(result: dict[str, Any]) -> None:
    """Print steps, one audit line of each kind of verdict, and the metrics."""
    console = Console(highlight=False)
    console.print()
    for number, step in enumerate(result["steps"], 1):
        mark = "[green]ok[/]" if step["ok"] else "[red]FAILED[/]"
        console.print(f"[bold]{number}. {escape(step['title'])}[/]  {mark}")
        for name, value in step["shows"].items():
            console.print(f"   {name.replace('_', ' '):18} {escape(str(value))}", soft_wrap=True)
        console.print()
    console.print(
        "[bold]The audit log[/] (no prompt text, no secret; each line holds the hash of the last)"
    )
    seen = set()
    for line in result["audit"]:
        verdict = line.get("verdict")
        if verdict in seen or verdict is None:
            continue
        seen.add(verdict)
        shown = {name: value for name, value in line.items() if name not in AUDIT_FIELDS_HIDDEN}
        console.print(f"   {escape(str(shown))}", soft_wrap=True)
    console.print("\n[bold]The metrics[/]")
    for line in result["metrics"][:METRIC_LINES_MAX]:
        console.print(f"   {escape(line)}", soft_wrap=True)
    verdict = (
        "all scenes as they should be" if all(s["ok"] for s in result["steps"]) else "see above"
    )
    console.print(
        f"\n{verdict}, in {result['seconds']} s. Next: penstock exec -- python your_app.py"
    )
