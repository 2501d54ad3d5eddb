"""`penstock doctor`: what works, what does not, and how to mend it."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import AddressType, default_state_dir

if TYPE_CHECKING:
    from penstock.cli.diagnosis import Check

MARKS = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}
POLL_SECONDS = 0.1


@click.command(
    "doctor",
    epilog="Example: penstock doctor --policy team.yaml",
    short_help="Say what works, what does not, and how to mend it.",
)
@click.option(
    "--policy", "policies", multiple=True, type=click.Path(path_type=Path), help="Check these too."
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=default_state_dir,
    show_default="the user's state directory",
    help="As given to `penstock run`.",
)
@click.option(
    "--admin",
    type=AddressType(),
    default="127.0.0.1:9900",
    show_default=True,
    help="The admin address of a running penstock.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Only wait until the running penstock is ready, at most this long.",
)
def command(
    policies: tuple[Path, ...],
    state_dir: Path,
    admin: tuple[str, int],
    form: str,
    wait: float | None,
) -> None:
    """Check the installation by using it: a throw-away proxy, a TLS server on loopback, and a
    call through both by each client found on PATH. Nothing leaves this machine, but for an
    empty request to the OTLP endpoint if one is set.

    Exit codes: 0 nothing is broken, 1 something is, 2 wrong usage.
    """
    if wait is not None:
        sys.exit(_wait(admin, wait))
    checks = _checks(policies, state_dir, admin)
    if form == "json":
        click.echo(json.dumps([asdict(one) for one in checks], indent=2))
    else:
        for one in checks:
            click.echo(f"{MARKS[one.status]}  {one.area}: {one.name}: {one.found}")
            if one.mend:
                click.echo(f"        -> {one.mend}")
    broken = sum(one.status == "broken" for one in checks)
    click.echo(f"penstock doctor: {len(checks)} checks, {broken} broken", err=True)
    sys.exit(1 if broken else 0)


def _checks(policies: tuple[Path, ...], state: Path, admin: tuple[str, int]) -> list[Check]:
    from penstock.cli.diagnosis import environment, installation, interception

    return [
        installation.check_state_directory(state),
        *installation.check_authority(state),
        *installation.check_policies(policies),
        installation.check_containment(state),
        *installation.check_audit(state),
        *interception.check_interception(),
        environment.check_running(admin),
        *environment.check_variables(os.environ, state),
        *environment.check_exporters(os.environ),
    ]


def _wait(admin: tuple[str, int], seconds: float) -> int:
    from penstock.cli.diagnosis.environment import ready

    url = "http://{}:{}/readyz".format(*admin)
    deadline = time.monotonic() + seconds
    while not ready(url):
        if time.monotonic() > deadline:
            click.echo(f"penstock doctor: {url} was not ready after {seconds:g} s", err=True)
            return 1
        time.sleep(POLL_SECONDS)
    return 0
