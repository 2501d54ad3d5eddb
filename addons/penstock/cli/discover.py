"""`penstock discover`: what the inventory says, and a first policy from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import default_state_dir

if TYPE_CHECKING:
    from penstock.record.inventory import Entry

PIPE_COLUMNS = 160  # a table in a pipe is read by people with wide windows, or by grep

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="the user's state directory",
    help="Where the proxy kept its inventory.",
)
output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file."
)


@click.group(
    epilog="Example: penstock run --mode observe, then: penstock discover report",
    short_help="Report which AI services are used, and by whom.",
)
def command() -> None:
    """Report which AI services are used, by whom, for how much, and what left with it."""


@command.command(epilog="Example: penstock discover report --format html --output ai.html")
@state_dir_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
)
@output_option
def report(state_dir: Path, form: str, output: Path | None) -> None:
    """Show the inventory: destination, application, model, tokens, cost, findings."""
    entries = _entries(state_dir)
    if form == "html":
        from penstock.record.page import page

        _write(page(entries, _containment(state_dir)), output)
    elif form == "json":
        text = json.dumps({"entries": [entry.to_json() for entry in entries]}, indent=2)
        _write(text + "\n", output)
    else:
        _write(_table(entries, output is None and sys.stdout.isatty()), output)


@command.command(epilog="Example: penstock discover policy --output team.yaml")
@state_dir_option
@output_option
def policy(state_dir: Path, output: Path | None) -> None:
    """Write a starter policy that allows what was seen, in shadow mode, to be edited."""
    from penstock.record.starter import starter_policy

    _write(starter_policy(_entries(state_dir)), output)


class _NoInventory(click.ClickException):
    exit_code = 2


def _entries(state_dir: Path) -> list[Entry]:
    from penstock.record.inventory import inventory_files, read

    files = inventory_files(state_dir)
    if not files:
        raise _NoInventory(
            f"no inventory in {state_dir}; run a proxy first: penstock run --mode observe"
        )
    try:
        return read(files)
    except (OSError, ValueError) as error:
        raise _NoInventory(str(error)) from error


def _containment(state_dir: Path) -> str:
    """That calls are being refused now, for whoever reads the report and wonders."""
    import time

    from penstock.policy.containment import read_order
    from penstock.record.line import timestamp

    try:
        order = read_order(state_dir)
    except (OSError, ValueError):
        return "Contained: there is an order that cannot be read (penstock contain --status)."
    if order is None or not order.holds(time.time()):
        return ""
    why = f": {order.reason}" if order.reason else ""
    return f"Contained since {timestamp(order.time)} by {order.by}{why}"


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(output), error.strerror or "cannot be written") from error
    click.echo(f"wrote {output}", err=True)


def _table(entries: Sequence[Entry], terminal: bool) -> str:
    from decimal import Decimal

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("destination", "kind", "app", "model", "found"):
        table.add_column(name, overflow="fold")
    for name in ("calls", "refused", "tokens in", "out", "usd"):
        table.add_column(name, justify="right")
    for entry in entries:
        table.add_row(*(Text(cell) for cell in _row(entry)))
    console = Console(width=None if terminal else PIPE_COLUMNS, force_terminal=terminal)
    with console.capture() as captured:
        console.print(table)
    cost = sum((entry.cost_usd for entry in entries), Decimal(0))
    unpriced = sum(entry.unpriced for entry in entries)
    total = (
        f"{len({entry.host for entry in entries})} destinations, "
        f"{sum(entry.calls for entry in entries)} calls, {cost:f} USD"
    )
    return captured.get() + total + (f", {unpriced} calls unpriced\n" if unpriced else "\n")


def _row(entry: Entry) -> list[str]:
    from penstock.record.clean import plain

    found = ", ".join(f"{kind} {count}" for kind, count in sorted(entry.findings.items()))
    cells = (entry.host, entry.category, entry.app, entry.model, found)
    numbers = (entry.calls, entry.refused, entry.input_tokens, entry.output_tokens)
    return [*map(plain, cells), *map(str, numbers), format(entry.cost_usd, "f")]
