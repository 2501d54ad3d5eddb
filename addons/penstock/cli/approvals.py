"""`penstock approvals`: calls that wait for a person, and the person's yes or no.

Asks the admin sockets of the running processes; where none listens, reads and writes the tickets
in the state directory itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import default_state_dir

if TYPE_CHECKING:
    from penstock.cli.approval_desk import Desk, Row

_state = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    help="The running proxy's.  [default: (the user's state directory)]",
)


def _said(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a person may say of themselves and why; both stand in the audit log."""
    for option in (
        click.option("--reason", default="", help="Why; stands in the audit log."),
        click.option("--as", "name", default="", help="Your name, where the user's does not say."),
        _state,
        click.argument("ticket"),
    ):
        command = option(command)
    return command


@click.group(
    short_help="List, approve and deny calls that wait for a person.",
    epilog="Example: penstock approvals list && penstock approvals approve 1f0c2b7a9d3e4f56",
)
def command() -> None:
    """Calls that wait for a person (tools: {approve: [...]}) and the answer to each.

    A ticket is for one call: this caller, server, tool, these arguments, this policy. A yes
    is good once, for a quarter of an hour. Who runs as the proxy's user, or as root, may answer.
    """


@command.command("list", epilog="Example: penstock approvals list --format json")
@_state
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def list_tickets(state_dir: Path, form: str) -> None:
    """List the open tickets. Arguments are named, never shown."""
    found = _desk(state_dir).rows()
    if form == "json":
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        click.echo(line(one))
    if not found:
        click.echo("nothing waits for approval", err=True)


def line(one: Row) -> str:
    """One ticket for a person. Names come from servers: nothing in them acts on the terminal."""
    minutes = max(0, round((one["until"] - time.time()) / 60))
    waits = ", a call waits" if one["held"] else ""
    told = (
        f"{one['ticket']}  {one['standing']}  {one['tool']}({', '.join(one['arguments'])}) "
        f"at {one['server']} for {one['caller'] or 'unknown'}, rule {one['rule']}, "
        f"{minutes} min left{waits}"
    )
    return printable(told)


def printable(text: str) -> str:
    """``text`` without what a terminal would act on."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@command.command(epilog="Example: penstock approvals approve 1f0c2b7a9d3e4f56 --reason INC-4711")
@_said
def approve(ticket: str, state_dir: Path, name: str, reason: str) -> None:
    """Let the call of TICKET be made, once."""
    _answer(state_dir, ticket, "approve", name, reason)


@command.command(epilog="Example: penstock approvals deny 1f0c2b7a9d3e4f56")
@_said
def deny(ticket: str, state_dir: Path, name: str, reason: str) -> None:
    """Leave the call of TICKET refused."""
    _answer(state_dir, ticket, "deny", name, reason)


@command.command(epilog="Example: penstock approvals watch --as mia")
@_state
@click.option("--as", "name", default="", help="Your name, where the user's does not say.")
def watch(state_dir: Path, name: str) -> None:
    """Show open tickets as they come; answer each by key."""
    from penstock.cli.approval_watch import watch as begin

    begin(_desk(state_dir), name)


def _answer(state_dir: Path, ticket: str, answer: str, name: str, reason: str) -> None:
    found = _desk(state_dir).answer(ticket, answer, name, reason)
    if found is None:
        raise click.ClickException(f"no open ticket {ticket} in {state_dir}")
    click.echo(f"{found['standing']}: {found['tool']} at {found['server']}", err=True)


def _desk(state_dir: Path) -> Desk:
    from penstock.cli.approval_desk import Desk

    return Desk(state_dir)
