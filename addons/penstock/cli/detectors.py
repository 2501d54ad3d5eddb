"""`penstock detectors`: what can be found, and by which rules."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.group(
    epilog="Example: penstock detectors show secret.github_token",
    short_help="List and show the detectors.",
)
def command() -> None:
    """List every finding type a policy may name, or show one type's rules."""


@command.command("list", epilog="Example: penstock detectors list pii")
@click.argument("types", nargs=-1)
@click.option("--format", "shape", type=click.Choice(["human", "json"]), default="human")
def list_types(types: tuple[str, ...], shape: str) -> None:
    """All finding types, or those below TYPES (secret, pii.national_id, ...)."""
    from penstock.detect.describe import describe
    from penstock.exchange import matches_type

    chosen = [d for d in describe().values() if not types or matches_type(types, d.type)]
    if shape == "json":
        click.echo(json.dumps([{"type": d.type, "vendors": d.vendors} for d in chosen]))
    else:
        width = max((len(d.type) for d in chosen), default=0)
        for d in chosen:
            click.echo(f"{d.type:<{width}}  {', '.join(d.vendors) or d.meaning}")
    click.echo(f"{len(chosen)} types", err=True)
    if not chosen:
        raise SystemExit(1)


@command.command("show", epilog="Example: penstock detectors show pii.card --format json")
@click.argument("name")
@click.option("--format", "shape", type=click.Choice(["human", "json"]), default="human")
def show(name: str, shape: str) -> None:
    """The rules of one finding type: patterns, checks, words, sources."""
    from difflib import get_close_matches

    from penstock.detect.describe import describe

    known = describe()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"unknown finding type {name}{hint}")
    entry = known[name]
    if shape == "json":
        click.echo(json.dumps(asdict(entry)))
        return
    click.echo(f"{entry.type}: {entry.meaning}")
    for label, values in (
        ("vendor", entry.vendors), ("pattern", entry.patterns), ("check", entry.checks),
        ("word", entry.keywords), ("source", entry.sources),
    ):  # fmt: skip
        for value in values:
            click.echo(f"  {label:<8}{value}")
