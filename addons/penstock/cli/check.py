"""``penstock check``: is this policy right, and if not, where and why."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from penstock.cli.words import counted

EPILOG = """\b
Examples:
  penstock check payments.yaml
  penstock check base.yaml team.yaml        as one policy
  penstock check --schema > policy.schema.json
"""


@click.command("check", epilog=EPILOG)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the language, for editors.")
@click.option("--types", is_flag=True, help="List the finding types a rule may name.")
def command(files: tuple[Path, ...], form: str, schema: bool, types: bool) -> None:
    """Validate policies: every problem with file, line and path, and what is allowed there.

    Several files are checked as one policy. Exit code 1 when there is a problem.
    """
    from penstock.detect import known_types

    if schema:
        from penstock.policy.language.schema import policy_schema

        click.echo(json.dumps(policy_schema(known_types()), indent=2))
        return
    if types:
        click.echo("\n".join(known_types()))
        return
    if not files:
        raise click.UsageError("name at least one policy file, or --schema, or --types")
    sys.exit(check(files, form))


def check(files: tuple[Path, ...], form: str) -> int:
    from penstock.policy.language.encoders import described
    from penstock.policy.language.load import load
    from penstock.policy.language.problem import ConfigError, Problem
    from penstock.policy.language.shipped import resolve

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    summary = ""
    notes: list[str] = []
    try:
        policy = load(resolve(files))
        warnings = policy.warnings
        if policy.limits and policy.store is None:
            notes.append(
                "limits are each proxy's own (with N proxies up to N times as much); "
                "to share them: store in the policy, or run --store"
            )
        notes += [f"encoder {described(one)}" for one in policy.encoders]
        rules = counted(len(policy.rules), "rule")
        summary = f"{policy.name}: {rules}, mode {policy.mode}, {policy.hash}"
    except ConfigError as error:
        problems = error.problems
    if form == "json":
        rows = [("problem", one) for one in problems] + [("warning", one) for one in warnings]
        listed = [
            {"kind": kind, "file": p.file, "line": p.line, "path": p.path, "message": p.message}
            for kind, p in rows
        ]
        click.echo(json.dumps({"ok": not problems, "problems": listed}, indent=2))
    else:
        for problem in problems:
            click.echo(str(problem))
        for warning in warnings:
            click.echo(f"warning: {warning}")
        for note in notes:
            click.echo(f"note: {note}")
    if summary:
        click.echo(summary, err=True)
    else:
        click.echo(f"{counted(len(problems), 'problem')}", err=True)
    return 1 if problems else 0
