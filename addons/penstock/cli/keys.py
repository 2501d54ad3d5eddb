"""`penstock keys`: which provider keys are used, and the fingerprints to pin them by.

No key is ever printed, taken as an argument or written down.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from penstock.cli.options import default_state_dir

PIPE_COLUMNS = 160  # a table in a pipe is read by people with wide windows, or by grep
SECRET_CHARACTERS_MAX = 32_768  # as caller.credentials: a longer text is no key


@click.group(
    invoke_without_command=True,
    epilog="Example: penstock keys && pass show openai | penstock keys fingerprint",
    short_help="List the provider keys seen; make fingerprints to pin them by.",
)
@click.option("--provider", help="Only keys used there, for example openai.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Audit log to read; repeatable. Default: STATE_DIR/audit*.jsonl.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.pass_context
def command(
    context: click.Context, provider: str | None, logs: tuple[Path, ...], form: str
) -> None:
    """List the provider keys the audit log has seen, by fingerprint: where, by whom, when.

    A fingerprint is a keyed hash: it goes into a policy (allow: {credentials: [...]}) and is
    worth nothing to whoever reads it. Proxies that share a policy need the same secret:
    PENSTOCK_SECRET_FILE.
    """
    if context.invoked_subcommand is not None:
        return
    from penstock.record.key_use import key_uses
    from penstock.record.show import calls_of

    files = logs or tuple(sorted(default_state_dir().glob("audit*.jsonl")))
    if not files:
        raise click.UsageError(f"no audit log in {default_state_dir()}; name one with --log")
    uses = [
        use.to_json()
        for use in key_uses(calls_of(files))
        if provider is None or use.provider == provider
    ]
    if form == "json":
        click.echo(json.dumps(uses, ensure_ascii=False))
    elif uses:
        _print_table(uses)
    else:
        click.echo("no key is recorded there", err=True)


@command.command(
    epilog="Example: kubectl get secret openai -o jsonpath={.data.key} | base64 -d | "
    "penstock keys fingerprint"
)
def fingerprint() -> None:
    """Print the fingerprint of a key, read from stdin (asked for without echo at a terminal)."""
    from penstock.caller.credentials import fingerprint as fingerprint_of
    from penstock.proxy.keys import load_or_create, shared_secret

    key = _secret("Key: ")
    try:
        keys = load_or_create(default_state_dir(), shared_secret())
    except (OSError, ValueError) as error:
        raise _Unusable(str(error)) from error
    click.echo(fingerprint_of(key, keys.fingerprint))


@command.command(epilog="Example: penstock keys password --name ada >> /etc/penstock/callers")
@click.option("--name", required=True, help="The caller's name, as it stands in the proxy's URL.")
def password(name: str) -> None:
    """Print a line for a password file (callers: {passwords: FILE}); the password is read from
    stdin (asked for without echo at a terminal)."""
    from penstock.caller.passwords import hashed

    if not name or ":" in name or name.startswith("#") or name != name.strip():
        raise click.UsageError("a name has no colon, no blank around it and no # in front")
    click.echo(f"{name}:{hashed(_secret('Password: '))}")


class _Unusable(click.ClickException):
    exit_code = 2


def _secret(prompt: str) -> str:
    """A secret from the terminal, unseen, or from stdin."""
    if sys.stdin.isatty():
        from getpass import getpass

        text = getpass(prompt)
    else:
        text = sys.stdin.read(SECRET_CHARACTERS_MAX + 2)
    text = text.strip()
    if not text or len(text) > SECRET_CHARACTERS_MAX:
        raise click.UsageError("nothing was given" if not text else "that is too long")
    return text


def _print_table(uses: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from penstock.record.clean import plain

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("fingerprint", "provider", "callers", "first seen", "last seen"):
        table.add_column(name, overflow="fold", no_wrap=name == "fingerprint")
    for name in ("calls", "refused", "rejected"):
        table.add_column(name, justify="right")
    for use in uses:
        moments = (str(use[name]).replace("T", " ")[:16] for name in ("first_seen", "last_seen"))
        texts = (use["fingerprint"], use["provider"], ", ".join(use["callers"]), *moments)
        counts = (str(use[name] or "") for name in ("calls", "refused", "rejected"))
        table.add_row(*(plain(text) for text in texts), *counts)
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, markup=False).print(table)
