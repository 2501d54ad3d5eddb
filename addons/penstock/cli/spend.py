"""`penstock spend`: what AI calls cost, by whoever made them."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from penstock.record.ledger import Sum

BAR_CELLS = 24
EIGHTHS = " ▏▎▍▌▋▊▉"
PIPE_COLUMNS = 160  # a table in a pipe is read by people with wide windows, or by grep
BY = ("team", "user", "workload", "namespace", "agent", "session", "provider", "model", "day")


@click.command(
    "spend",
    epilog="Example: penstock spend --by team --by model --since 30d --format csv > spend.csv",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--by",
    multiple=True,
    type=click.Choice([*BY, "host", "billed"]),
    default=("workload",),
    show_default=True,
    help="Add up by this; repeatable.",
)
@click.option("--since", help="30m, 2h, 7d, or a time such as 2026-06-20T12:00.")
@click.option("--rows", is_flag=True, help="Each attempt in place of sums (csv and json).")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table",
    show_default=True,
)  # fmt: skip
def command(
    files: tuple[Path, ...], by: tuple[str, ...], since: str | None, rows: bool, form: str
) -> None:
    """Add up what the calls in FILES (default: STATE_DIR's audit logs) cost.

    Money is by the providers' list prices and the usage they reported. Calls that were
    estimated, possibly billed, or that nobody can price are counted apart.
    """
    from penstock.cli.moment import moment
    from penstock.record.ledger import rows_of, sums, total
    from penstock.record.show import Filter, calls_of

    wanted = Filter(since=moment(since))
    calls = (call for call in calls_of(files or _logs()) if wanted.matches(call))
    if rows:
        _print_rows(rows_of(calls), form)
        return
    every = list(rows_of(calls))
    added, whole = sums(every, by), total(every)
    if form == "json":
        groups = [dict(zip(by, key, strict=True)) | _plain(one) for key, one in added.items()]
        click.echo(json.dumps({"by": list(by), "groups": groups, "total": _plain(whole)}, indent=2))
    elif form == "csv":
        lines = [[*key, *_plain(one).values()] for key, one in added.items()]
        _print_csv([*by, *_plain(whole)], lines)
    else:
        _print_table(by, added, whole)


def _logs() -> tuple[Path, ...]:
    """The audit logs of every process on this state directory, rotated files too."""
    from penstock.cli.options import default_state_dir
    from penstock.record.audit import rotated_files

    folder = default_state_dir()
    logs = [
        file for log in sorted(folder.glob("audit*.jsonl")) for file in (*rotated_files(log), log)
    ]
    if not logs:
        raise click.UsageError(f"{folder} has no audit log; name a FILE, or set PENSTOCK_STATE_DIR")
    return tuple(dict.fromkeys(logs))


def _plain(one: Sum) -> dict[str, Any]:
    """A sum as JSON and CSV have it; money is a text, so that it stays exact."""
    values: dict[str, Any] = {
        "calls": one.calls,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "usd": format(one.usd, "f"),
        "estimated": one.estimated,
        "possibly_billed": one.possibly,
        "unpriced": one.unpriced,
        "unpriced_tokens": one.unpriced_tokens,
    }
    return values


def _print_rows(rows: Any, form: str) -> None:
    from penstock.record.ledger import DIMENSIONS

    names = ["id", "time", *DIMENSIONS, "input_tokens", "output_tokens", "usd", "unpriced_because"]
    lines = (
        [
            row.id, row.time, *(row.labels.get(name, "") for name in DIMENSIONS),
            row.input_tokens, row.output_tokens,
            "" if row.usd is None else format(row.usd, "f"), row.why,
        ]
        for row in rows
    )  # fmt: skip
    if form == "json":
        for line in lines:
            click.echo(json.dumps(dict(zip(names, line, strict=True)), ensure_ascii=False))
        return
    _print_csv(names, lines)


def _print_csv(names: list[str], lines: Any) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    # A cell that begins like a formula would be run by a spreadsheet: names are callers' choice.
    writer.writerows([_cell(value) for value in line] for line in lines)
    click.echo(out.getvalue(), nl=False)


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _print_table(by: tuple[str, ...], added: dict[tuple[str, ...], Sum], whole: Sum) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from penstock.record.clean import plain

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    for number, name in enumerate(by):
        table.add_column(name, "total" if number == 0 else "", overflow="fold")
    table.add_column("calls", str(whole.calls), justify="right")
    table.add_column("input", f"{whole.input_tokens:,}", justify="right")
    table.add_column("output", f"{whole.output_tokens:,}", justify="right")
    table.add_column("usd", _usd(whole), justify="right")
    table.add_column("", "")
    dearest = max((one.usd for one in added.values()), default=0)
    for key, one in added.items():
        cells = [Text(plain(text) or "(unknown)") for text in key]
        share = float(one.usd / dearest) if dearest else 0.0
        table.add_row(
            *cells, str(one.calls), f"{one.input_tokens:,}", f"{one.output_tokens:,}", _usd(one),
            Text(bar(share), style="cyan"),
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    console.print(table)
    if whole.estimated:
        console.print(f"{whole.estimated} calls by our own estimate (the provider said nothing)")
    if whole.possibly:
        console.print(f"{whole.possibly} attempts possibly billed: served or broken off, no usage")
    if whole.unpriced:
        why = ", ".join(f"{count} {name}" for name, count in sorted(whole.reasons.items()))
        tokens = f"{whole.unpriced_tokens:,} tokens"
        console.print(f"{whole.unpriced} calls not priced ({tokens}) and not in the sums: {why}")


def _usd(one: Sum) -> str:
    return f"{one.usd:,.6f}" if 0 < one.usd < 1 else f"{one.usd:,.2f}"


def bar(share: float) -> str:
    """A bar of a share from 0 to 1, in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * BAR_CELLS * 8)
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
