"""`penstock audit`: prove that the audit log is whole, and read it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import default_state_dir
from penstock.cli.words import counted, why

if TYPE_CHECKING:
    from penstock.record.checkpoint import Checkpoint
    from penstock.record.verify import Report

PIPE_COLUMNS = 160  # a table in a pipe is read by people with wide windows, or by grep


@click.group(
    epilog="Example: penstock audit verify && penstock audit show --verdict deny",
    short_help="Verify and read the audit log.",
)
def command() -> None:
    """Verify and read the audit log (STATE_DIR/audit.jsonl)."""


@command.command(
    epilog="Example: penstock audit verify audit.jsonl --checkpoint kept-elsewhere.txt --key KEY"
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--checkpoint",
    "checkpoint_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A signed checkpoint, best one kept elsewhere. Default: the one beside the log.",
)
@click.option(
    "--key",
    help="The key checkpoints are signed with (name+id+base64). Default: as the log announces, "
    "which proves nothing against somebody who rewrote log and checkpoint.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def verify(
    files: tuple[Path, ...], checkpoint_file: Path | None, key: str | None, form: str
) -> None:
    """Prove that FILE (default: every log in STATE_DIR) is whole, or name the damaged lines.

    Files it was rotated into are found beside it. Several FILES are one log, oldest first.
    Exit code 0: whole; 1: damaged; 2: cannot be read.
    """
    from penstock.record.audit import rotated_files
    from penstock.record.verify import head_of
    from penstock.record.verify import verify as verify_files

    logs = [files] if files else [(log,) for log in _default_logs()]
    if len(logs) > 1 and (checkpoint_file or key):
        raise click.UsageError("--checkpoint and --key are of one log: name its FILE")
    whole = True
    for one in logs:  # each process has a chain of its own
        log = one[-1]
        chosen = [*rotated_files(log), log] if len(one) == 1 else list(one)
        beside = log.with_suffix(".checkpoint")
        note = checkpoint_file or (beside if beside.exists() else None)
        try:
            checkpoint = _checkpoint(note, key, chosen) if note else None
            report = verify_files(chosen, checkpoint, head_of(log))
        except (OSError, ValueError) as error:
            raise _Unreadable(why(error, log)) from error
        click.echo(json.dumps(_report(report)) if form == "json" else _text(report, chosen))
        whole = whole and report.whole
    if not whole:
        raise SystemExit(1)


@command.command(epilog="Example: penstock audit show --since 1h --verdict deny --format json")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--verdict", type=click.Choice(["allow", "edit", "deny", "hold"]))
@click.option("--host", help="Destination, for example '*.openai.com'.")
@click.option("--model", help="Model asked for, for example 'gpt-*'.")
@click.option("--app", help="Workload, agent, process or user.")
@click.option("--rule", help="A rule that spoke.")
@click.option("--finding", help="A finding's type, for example 'secret.*'.")
@click.option("--since", help="30m, 2h, 7d, or a time such as 2026-06-20T12:00.")
@click.option(
    "--containment", is_flag=True, help="Who contained and released, and why, in place of calls."
)
@click.option(
    "-n", "count", type=click.IntRange(min=0), default=50, show_default=True, help="0: all."
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def show(
    files: tuple[Path, ...],
    since: str | None,
    containment: bool,
    count: int,
    form: str,
    **wanted: str | None,
) -> None:
    """Show the last calls of FILES (default: every log in STATE_DIR), newest at the end.

    JSON is one line per call, as recorded.
    """
    from penstock.cli.moment import moment
    from penstock.record.audit import rotated_files
    from penstock.record.show import Filter, calls_of, last

    logs = () if files else _default_logs()
    files = files or tuple(file for log in logs for file in (*rotated_files(log), log))
    kind = "containment" if containment else "call"
    if containment and any(wanted.values()):
        raise click.UsageError("--containment goes with --since and -n only")
    calls = last(calls_of(files, kind), Filter(**wanted, since=moment(since)), count, len(logs) > 1)
    if form == "json":
        for call in calls:
            click.echo(json.dumps(call, ensure_ascii=False))
        return
    if not calls and not containment:
        click.echo("no call is recorded there that matches", err=True)
    elif containment:
        _print_orders(calls)
    else:
        _print_table(calls)


class _Unreadable(click.ClickException):
    exit_code = 2


def _default_logs() -> tuple[Path, ...]:
    """The logs of all processes that ever ran on the state directory at the same time."""
    from penstock.record.audit import logs_of

    state = default_state_dir()
    logs = logs_of(state)
    if not logs:
        raise click.UsageError(f"no audit log in {state}; name a FILE, or set PENSTOCK_STATE_DIR")
    return logs


def _checkpoint(file: Path, key_text: str | None, files: list[Path]) -> Checkpoint:
    """The verified checkpoint in ``file``. ValueError says why there is none."""
    from penstock.record.checkpoint import parse_verifier_key
    from penstock.record.checkpoint import verify as verify_note
    from penstock.record.verify import announced_key

    key_text = key_text or announced_key(files)
    if not key_text:
        raise ValueError("the log announces no key; name the checkpoint's key with --key")
    origin, key = parse_verifier_key(key_text)
    return verify_note(file.read_text(encoding="utf-8"), key, origin)


def _report(report: Report) -> dict[str, Any]:
    return {
        "whole": report.whole,
        "lines": report.lines,
        "first_seq": report.first_seq,
        "last_seq": report.last_seq,
        "not_written": report.missing,
        "proved_by_checkpoint": report.proved,
        "root": report.root,
        "key": report.key,
        "problems": [
            {"file": one.file, "line": one.line, "kind": one.kind, "message": one.message}
            for one in report.problems
        ],
    }


def _text(report: Report, files: list[Path]) -> str:
    lines = [f"{one.file}:{one.line}: {one.kind}: {one.message}" for one in report.problems]
    names = files[0].name if len(files) == 1 else f"{len(files)} files"
    seen = f", seq {report.first_seq} to {report.last_seq}" if report.last_seq is not None else ""
    verdict = "whole" if report.whole else counted(len(report.problems), "problem")
    lines.append(f"{names}: {counted(report.lines, 'line')}{seen}: {verdict}")
    if report.proved:
        lines.append(f"A signed checkpoint vouches for the first {report.proved} lines.")
    if report.missing:
        lines.append(f"The log says of {report.missing} calls that it could not write them.")
    return "\n".join(lines)


def _print_table(calls: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from penstock.record.clean import plain

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("time", "app", "destination", "model", "verdict", "rules"):
        table.add_column(name, overflow="fold", no_wrap=name in ("time", "verdict"))
    for name in ("status", "tokens", "usd"):
        table.add_column(name, justify="right")
    colours = {"deny": "red", "edit": "yellow", "hold": "magenta", "allow": "green"}
    for call in calls:
        cells = [Text(plain(cell)) for cell in _row(call)]
        cells[4].stylize(colours.get(cells[4].plain, ""))
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)


def _print_orders(notes: list[dict[str, Any]]) -> None:
    from penstock.record.clean import plain

    for note in notes:
        until = f", until {note['until']}" if note.get("until") else ""
        by = f" by {note['by']} ({note.get('user')})" if note.get("by") else ""
        why = note.get("problem") or note.get("reason")
        line = f"{note.get('time')}  {note.get('state')}{by}{until}, policy {note.get('policy')}"
        click.echo(plain(line) + (f": {plain(str(why))}" if why else ""))
    if not notes:
        click.echo("never contained", err=True)


def _row(call: dict[str, Any]) -> list[str]:
    caller, usage = call.get("caller") or {}, call.get("usage") or {}
    names = (caller.get(name) for name in ("workload", "agent", "process", "user_agent"))
    mcp = call.get("mcp") or {}
    rules = call.get("rules") or []
    tokens = (usage.get("input") or 0) + (usage.get("output") or 0)
    return [
        str(call.get("time", "")).replace("T", " ")[5:19],
        str(next((name for name in names if name), "")),
        str((call.get("destination") or {}).get("host", "")),
        str(call.get("model") or mcp.get("tool") or ""),
        str(call.get("verdict", "")),
        ", ".join(
            [
                *(f"{one['rule']}{'' if one.get('enforced') else ' (shadow)'}" for one in rules),
                *(
                    f"found too late: {one.get('begins')}… ({one.get('length')} characters)"
                    for one in call.get("late") or ()
                ),
            ]
        ),
        str(call.get("status") or call.get("outcome", "")),
        str(tokens or ""),
        str(call.get("cost_usd", "")),
    ]
