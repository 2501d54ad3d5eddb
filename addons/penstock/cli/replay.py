"""``penstock replay``: decide recorded calls again; print the decision diff."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from penstock.cli.words import counted, why

if TYPE_CHECKING:
    from penstock.policy.offline.replay import Row, Summary

EPILOG = """\b
Examples:
  penstock replay --policy new.yaml recorded.jsonl
  penstock replay --policy new.yaml --against old.yaml recorded.jsonl.gz --format json
"""


@click.command("replay", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--policy", "new", multiple=True, required=True, help="The policy to try; repeatable."
)
@click.option("--against", "old", multiple=True, help="The policy to compare with; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Also list calls nothing happens to.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def command(
    files: tuple[Path, ...], new: tuple[str, ...], old: tuple[str, ...], everything: bool, form: str
) -> None:
    """Decide recorded calls (JSONL, plain or gzipped, - for stdin) again with a policy.

    Lists the calls it would change, or, with --against, those the two decide differently.
    Exit code 1 when there are any, 2 when no recorded call could be read.
    """
    from penstock.policy.language.load import load
    from penstock.policy.language.problem import ConfigError
    from penstock.policy.language.shipped import resolve
    from penstock.policy.offline.replay import Summary, replay

    try:
        policies = [load(resolve(names)) if names else None for names in (new, old)]
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    assert policies[0] is not None  # --policy is required
    summary = Summary()
    with ExitStack() as stack:
        try:
            lines = read_lines([opened(path, stack) for path in files])
            for row in replay(lines, policies[0], policies[1], summary):
                if everything or row.changed:
                    click.echo(json.dumps(asdict(row)) if form == "json" else text_of(row))
        except (OSError, EOFError, zlib.error) as error:
            click.echo(f"penstock replay: {why(error, files[0])}", err=True)
            sys.exit(2)
    click.echo(closing(summary, compared=policies[1] is not None), err=True)
    if not summary.calls:
        click.echo("penstock replay: nothing was decided: no recorded call in there", err=True)
        sys.exit(2)
    sys.exit(1 if summary.changed else 0)


def opened(path: Path, stack: ExitStack) -> IO[str]:
    if str(path) == "-":
        return sys.stdin
    if path.suffix == ".gz":
        return stack.enter_context(gzip.open(path, "rt", encoding="utf-8", errors="replace"))
    return stack.enter_context(path.open(encoding="utf-8", errors="replace"))


def read_lines(streams: Iterable[IO[str]]) -> Iterator[str]:
    for stream in streams:
        yield from (line for line in stream if line.strip())


def text_of(row: Row) -> str:
    def said(verdict: str, rules: tuple[str, ...]) -> str:
        return f"{verdict} ({', '.join(rules)})" if rules else verdict

    words = said(row.new.verdict, row.new.rules)
    if row.old is not None:
        words = f"{said(row.old.verdict, row.old.rules)} -> {words}"
    found = f"  found: {', '.join(row.new.findings)}" if row.new.findings else ""
    return f"{row.id}  {row.api}  {row.model or '-'}  {words}{found}"


def closing(summary: Summary, compared: bool) -> str:
    parts = [counted(summary.calls, "call")]
    parts += [f"{count} {verdict}" for verdict, count in summary.verdicts.most_common()]
    if compared:
        parts.append(f"{summary.changed} decided differently")
    if summary.unreadable:
        parts.append(f"{counted(summary.unreadable, 'line')} not readable")
    lines = [", ".join(parts)]
    for rule, count in summary.denied_by.most_common():
        lines.append(f"rule {rule} would have denied {count} of {summary.calls} calls")
    return "\n".join(lines)
