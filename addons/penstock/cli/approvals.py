"""`penstock approvals`: calls that wait for a person, and the person's yes or no.

Reads and writes the tickets in the proxy's state directory; who may write there may approve.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import default_state_dir

if TYPE_CHECKING:
    from penstock.mcp.approvals import Approvals, Standing

_state = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    help="The running proxy's.  [default: (the user's state directory)]",
)


@click.group(
    short_help="List, approve and deny calls that wait for a person.",
    epilog="Example: penstock approvals list && penstock approvals approve 1f0c2b7a9d3e4f56",
)
def command() -> None:
    """Calls that wait for a person (tools: {approve: [...]}) and the answer to each.

    A ticket is for one call: this caller, server, tool, these arguments, this policy. A yes
    is good once, for a quarter of an hour.
    """


@command.command("list", epilog="Example: penstock approvals list --format json")
@_state
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def list_tickets(state_dir: Path, form: str) -> None:
    """List the open tickets. Arguments are named, never shown."""
    found = list(_approvals(state_dir).all())
    if form == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        minutes = max(0, round((one.until - time.time()) / 60))
        names = ", ".join(one.arguments)
        click.echo(
            f"{one.ticket}  {one.standing}  {one.tool}({names}) at {one.server} "
            f"for {one.caller or 'unknown'}, rule {one.rule}, {minutes} min left"
        )
    if not found:
        click.echo("nothing waits for approval", err=True)


@command.command(epilog="Example: penstock approvals approve 1f0c2b7a9d3e4f56")
@click.argument("ticket")
@_state
def approve(ticket: str, state_dir: Path) -> None:
    """Let the call of TICKET be made, once."""
    _answer(state_dir, ticket, "approved")


@command.command(epilog="Example: penstock approvals deny 1f0c2b7a9d3e4f56")
@click.argument("ticket")
@_state
def deny(ticket: str, state_dir: Path) -> None:
    """Leave the call of TICKET refused."""
    _answer(state_dir, ticket, "denied")


def _answer(state_dir: Path, ticket: str, standing: Standing) -> None:
    found = _approvals(state_dir).answer(ticket, standing)
    if found is None:
        raise click.ClickException(f"no open ticket {ticket} in {state_dir}")
    click.echo(f"{standing}: {found.tool} at {found.server}", err=True)


def _approvals(state_dir: Path) -> Approvals:
    from penstock.mcp.approvals import APPROVALS, Approvals

    return Approvals(state_dir / APPROVALS)
