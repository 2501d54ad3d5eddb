"""`penstock contain`: every proxy of a state directory to a strict policy, now, and back again."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.moment import SpanType
from penstock.cli.options import default_state_dir

if TYPE_CHECKING:
    from penstock.policy.containment import Order
    from penstock.record.running import Running

# Processes look five times a second and need some ten milliseconds to change; on a machine that
# is starved or swaps, far more.
CONFIRM_SECONDS_MAX = 10.0
POLL_SECONDS = 0.05
# A year and a day: what is longer is no containment but a policy.
SPAN_SECONDS_MAX = 366 * 86_400

EPILOG = """\b
Examples:
  penstock contain --reason "key in a public repository, INC-42" --for 2h
  penstock contain --profile allow-only-sso.yaml --by "Jo, on call"
  penstock contain --status
  penstock contain --release --reason "keys rotated"
"""


@click.command(
    "contain", epilog=EPILOG, short_help="Switch to the containment profile now; --release ends it."
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Policy file that holds meanwhile; it must enforce.  [default: the shipped policy "
    "'containment': nothing leaves]",
)
@click.option("--reason", default="", help="Why; goes into the audit log. No secrets.")
@click.option(
    "--by",
    default="",
    help="Who says so, where the system's user does not tell (kubectl exec).",
)
@click.option("--for", "span", type=SpanType(), help="End by itself after 30m, 2h, 7d.")
@click.option(
    "--let-finish",
    is_flag=True,
    help="Let calls that run end by themselves. Tunnels and WebSockets are ended all the same.",
)
@click.option("--release", is_flag=True, help="Back to the configured policy.")
@click.option("--status", "ask", is_flag=True, help="Only say what is in force; change nothing.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="the user's state directory",
    help="Of the proxies to contain: as given to `penstock run`.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(
    profile: Path | None,
    reason: str,
    by: str,
    span: float | None,
    let_finish: bool,
    release: bool,
    ask: bool,
    state_dir: Path,
    form: str,
) -> None:
    """Switch every running penstock of a state directory (run, its workers, exec, mcp serve, mcp
    wrap) to the containment profile, and wait until each has said so. One that starts later
    starts contained, until --release or the end of --for. A bad profile changes nothing.

    Connections are cut, so that nothing goes on under the old policy.

    Exit codes: 0 every process does as ordered, 1 one does not (yet), 2 nothing was changed.
    """
    from penstock.policy.language.problem import ConfigError

    changing = {"--profile": profile, "--for": span, "--let-finish": let_finish}
    _refuse_nonsense(changing, release, ask, {"--reason": reason, "--by": by}, span)
    try:
        if not ask:
            order, content = _ordered(state_dir, profile, reason, by, span, let_finish, release)
            if order is not None:
                from penstock.policy.containment import give_order

                give_order(state_dir, order, content)
        sys.exit(_tell_what_holds(state_dir, form, wait=not ask))
    except ConfigError as error:
        click.echo(f"{error}\npenstock contain: nothing was changed", err=True)
    except (OSError, ValueError) as error:
        click.echo(f"penstock contain: nothing was changed: {_why(error, state_dir)}", err=True)
    sys.exit(2)


def _refuse_nonsense(
    changing: dict[str, Any], release: bool, ask: bool, words: dict[str, str], span: float | None
) -> None:
    from penstock.policy.containment import REASON_CHARACTERS_MAX

    if release and ask:
        raise click.UsageError("--release and --status: one of them")
    named = [name for name, value in changing.items() if value]
    if ask:
        named += [name for name, value in words.items() if value]
    if (release or ask) and named:
        raise click.UsageError(f"{named[0]} says how to contain; not with --release or --status")
    if span is not None and span > SPAN_SECONDS_MAX:
        raise click.BadParameter("longer than a year", param_hint="--for")
    for name, text in words.items():
        if len(text) > REASON_CHARACTERS_MAX or not text.isprintable():
            message = f"one line of at most {REASON_CHARACTERS_MAX} characters"
            raise click.BadParameter(message, param_hint=name)
        if found := _secrets_in(text):
            message = f"looks like {found}: it would stand in the audit log"
            raise click.BadParameter(message, param_hint=name)


def _secrets_in(text: str) -> str:
    """The kinds of secrets in what a person typed; they never come into a record."""
    if not text:
        return ""
    from penstock.detect import Detectors

    return ", ".join(sorted({one.type for one in Detectors(["secret"]).scan(text)}))


def _ordered(
    state: Path,
    profile: Path | None,
    reason: str,
    by: str,
    span: float | None,
    let_finish: bool,
    release: bool,
) -> tuple[Order | None, bytes]:
    """The order that was asked for; None when there is nothing to release."""
    from penstock.policy.containment import (
        PROFILE,
        Order,
        copy_name,
        new_id,
        prepare_profile,
        read_order,
    )

    now, user = time.time(), _user()
    if release:
        try:
            standing = read_order(state)
        except ValueError:
            pass  # an order nobody can read contains as well, and is replaced
        else:
            if standing is None or not standing.holds(now):
                return None, b""
        return Order(new_id(), "released", now, by or user, user, reason), b""
    named = profile or Path(PROFILE)
    content, policy = prepare_profile(named)
    return (
        Order(
            id=new_id(),
            state="contained",
            time=now,
            by=by or user,
            user=user,
            reason=reason,
            until=None if span is None else now + span,
            profile=str(named),
            file=copy_name(content),
            hash=policy.hash,
            let_finish=let_finish,
        ),
        content,
    )


def _user() -> str:
    """Who the system says this is; the user behind sudo is named too."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    return f"{behind} (as {name})" if behind and behind.isprintable() and behind != name else name


def _tell_what_holds(state: Path, form: str, *, wait: bool) -> int:
    """Say what is ordered and what each process does; the exit code."""
    from penstock.policy.containment import read_order
    from penstock.record.running import running

    try:
        order, problem = read_order(state), ""
    except ValueError as error:
        order, problem = None, str(error)
    deadline = time.monotonic() + (CONFIRM_SECONDS_MAX if wait else 0.0)
    found = running(state)
    while any(not _obeys(one, order) for one in found) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = running(state)
    obeying = [one for one in found if _obeys(one, order)]
    if form == "json":
        click.echo(json.dumps(_as_json(order, found, problem), indent=2))
    else:
        _print(order, found, problem)
    return 0 if len(obeying) == len(found) and not problem else 1


def _obeys(process: Running, order: Order | None) -> bool:
    """True when a process has taken up the newest order as it was meant."""
    return process.problem is None and process.order == (order.id if order else None)


def _as_json(order: Order | None, found: list[Running], problem: str) -> dict[str, Any]:
    holds = order is not None and order.holds(time.time())
    return {
        "contained": holds or bool(problem),
        "order": asdict(order) if order else None,
        "problem": problem or None,
        "processes": [{**asdict(one), "as_ordered": _obeys(one, order)} for one in found],
    }


def _print(order: Order | None, found: list[Running], problem: str) -> None:
    from penstock.record.line import timestamp

    if problem:
        click.echo(f"contained by an order nobody can read: {problem}")
    elif order is None:
        click.echo("not contained")
    elif order.holds(time.time()):
        until = f" until {timestamp(order.until)}" if order.until else " until released"
        click.echo(f"contained since {timestamp(order.time)}{until} by {order.by}")
        click.echo(f"profile {order.profile}, hash {order.hash}")
    elif order.state == "released":
        click.echo(f"not contained: released {timestamp(order.time)} by {order.by}")
    else:
        click.echo(f"not contained: the order of {timestamp(order.time)} by {order.by} is over")
    if order is not None and order.reason:
        click.echo(f"reason: {order.reason}")
    for one in found:
        name = f"process {one.pid or '?'} ({one.log})"
        if one.problem:
            click.echo(f"{name}: cannot use the order, refuses everything instead: {one.problem}")
        elif _obeys(one, order):
            click.echo(f"{name}: as ordered, policy {one.policy}")
        else:
            click.echo(f"{name}: has not taken it up")
    if not found:
        click.echo("no penstock runs on this state directory; the next one starts like this")


def _why(error: Exception, state: Path) -> str:
    if isinstance(error, PermissionError):
        return f"{state} belongs to somebody else: run this as the user penstock runs as"
    if isinstance(error, OSError):
        return f"{error.filename or state}: {error.strerror or error}"
    return str(error)
