"""``penstock test``: run policy tests, like OPA's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from penstock.policy.offline.testing import Report

EPILOG = """\b
Examples:
  penstock test policies/
  penstock test payments_test.yaml --format json
A test file:
  - name: an old model is refused
    policy: payments.yaml
    call: {provider: openai, model: gpt-3.5-turbo}
    expect: {verdict: deny, rules: [approved-models]}
"""


@click.command("test", epilog=EPILOG)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@click.option("--verbose", "-v", is_flag=True, help="Also name the cases that passed.")
@click.option("--require-coverage", is_flag=True, help="Fail when a rule is reached by no case.")
def command(paths: tuple[Path, ...], form: str, verbose: bool, require_coverage: bool) -> None:
    """Run policy tests: every *_test.yaml below DIR (default: here).

    Fails on a failing case, and on finding none. Says which rules no case reaches.
    """
    from penstock.policy.offline.testing import run_tests

    report = run_tests(paths or (Path(),))
    failed = [outcome for outcome in report.outcomes if not outcome.passed]
    if form == "json":
        click.echo(json.dumps(as_data(report), indent=2))
    else:
        show(report, verbose)
    if not report.outcomes:
        click.echo("no test found: a test file's name ends in _test.yaml", err=True)
    passed = len(report.outcomes) - len(failed)
    click.echo(f"{passed} passed, {len(failed)} failed", err=True)
    uncovered = require_coverage and report.unreached()
    sys.exit(1 if failed or not report.outcomes or uncovered else 0)


def show(report: Report, verbose: bool) -> None:
    for outcome in report.outcomes:
        if outcome.passed:
            if verbose:
                click.echo(f"passed  {outcome.name}")
            continue
        click.echo(f"FAILED  {outcome.file}:{outcome.line}: {outcome.name}")
        for text in (*outcome.wrong, *([outcome.error] if outcome.error else [])):
            click.echo(f"        {text}")
    for policy, rule in report.unreached():
        click.echo(f"not reached by any test: {rule} ({policy})")


def as_data(report: Report) -> dict[str, object]:
    return {
        "cases": [
            {
                "file": outcome.file,
                "line": outcome.line,
                "name": outcome.name,
                "passed": outcome.passed,
                "wrong": list(outcome.wrong),
                "error": outcome.error,
            }
            for outcome in report.outcomes
        ],
        "unreached": [{"policy": policy, "rule": rule} for policy, rule in report.unreached()],
    }
