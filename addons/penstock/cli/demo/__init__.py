"""``penstock demo``: the whole product on this machine, offline.

Real SDK clients in their own processes -> a real ``penstock run`` -> an embedded HTTPS
provider on loopback. Nothing leaves the machine and nothing is kept.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

NEEDED = ("openai", "anthropic", "mcp")


@click.command(
    "demo",
    epilog="Example: penstock demo        penstock demo --format json | jq .steps",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--keep", is_flag=True, help="Keep the state directory (audit log, CA) and say where."
)
def command(form: str, keep: bool) -> None:
    """Show the whole product on this machine, offline, in under half a minute.

    Runs the real openai, anthropic and mcp clients through penstock against an embedded
    provider: a clean call, a secret kept in, a refused model, a spent limit, a refused tool.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        click.echo(
            f"penstock demo needs the client SDKs ({', '.join(missing)} missing): "
            "pip install 'penstock[demo]'",
            err=True,
        )
        sys.exit(2)
    from penstock.cli.demo import report, story

    folder = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    try:
        if form == "json":
            result: dict[str, Any] = story.play(folder, report.on_stderr)
            click.echo(json.dumps(result, indent=2))
        else:
            result = story.play(folder, report.on_stderr)
            report.show(result)
    except story.DemoError as error:
        click.echo(f"penstock demo: {error}", err=True)
        sys.exit(2)
    finally:
        if keep:
            click.echo(f"state kept in {folder}", err=True)
        else:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if all(step["ok"] for step in result["steps"]) else 1)
