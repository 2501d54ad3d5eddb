"""`penstock mcp`: pin the tools of servers; put local servers under the policy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli import mcp_serve, mcp_wrap

if TYPE_CHECKING:
    from penstock.mcp.pins import Change, Tools

LOCK_FILE = Path("mcp.lock.yaml")

_lock = click.option(
    "--lock", type=click.Path(path_type=Path), default=LOCK_FILE, show_default=True
)
_server = click.option(
    "--server", metavar="URL", help="Whose list a saved FILE is; what --start is called by rules."
)
_start = click.option(
    "--start",
    metavar="CMD",
    help="Start this stdio server and ask it. Called stdio://NAME as by penstock mcp wrap.",
)
_env = click.option(
    "--env",
    "wanted",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="A variable that --start gets besides the basic ones; repeatable.",
)
_token = click.option(
    "--token-env", metavar="NAME", help="Environment variable that holds a bearer token."
)
_ca = click.option("--ca", type=click.Path(exists=True), help="CA file the server is checked with.")


@click.group(
    short_help="Pin the tools of MCP servers; wrap one, serve many.",
    epilog="Example: penstock mcp pin https://mcp.example.com/mcp && penstock mcp diff",
)
def command() -> None:
    """Pin the tools of MCP servers in a lock file, and see when one changes; put servers that do
    not pass the proxy under the policy.

    A SOURCE is a server's URL, a saved tools/list answer (with --server), or recorded
    exchanges (JSONL).
    """


command.add_command(mcp_wrap.command)
command.add_command(mcp_serve.command)


@command.command(epilog="Example: penstock mcp pin https://mcp.example.com/mcp")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@_lock
@_server
@_token
@_ca
@_start
@_env
def pin(
    sources: tuple[str, ...],
    lock: Path,
    server: str | None,
    token_env: str | None,
    ca: str | None,
    start: str | None,
    wanted: tuple[str, ...],
) -> None:
    """Write the tools of each SOURCE into the lock file as they are now.

    A server over a pipe: --server stdio://files --start "npx -y @example/server /srv"
    """
    from penstock.mcp.lock import dump
    from penstock.mcp.pins import compare

    if not sources and not start:
        raise click.UsageError("name a SOURCE, or a server with --start")
    locked = _locked(lock) if lock.exists() else {}
    for url, tools in _found(sources, server, token_env, ca, start, wanted).items():
        changes = compare(locked.get(url, {}), tools)
        locked[url] = dict(tools)
        click.echo(f"{url}: {len(tools)} tools, {len(changes)} changed in {lock}", err=True)
    lock.write_text(dump(locked), "utf-8")


@command.command(epilog="Example: penstock mcp diff --format json")
@click.argument("sources", nargs=-1, metavar="[SOURCE...]")
@_lock
@_server
@_token
@_ca
@_start
@_env
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def diff(
    sources: tuple[str, ...],
    lock: Path,
    server: str | None,
    token_env: str | None,
    ca: str | None,
    start: str | None,
    wanted: tuple[str, ...],
    form: str,
) -> None:
    """Compare each SOURCE (default: every server of the lock file that has a URL) with its pins.

    Exits with 1 when a tool was added, removed or changed.
    """
    from penstock.mcp.names import look_alikes, shadowed
    from penstock.mcp.pins import compare

    locked = _locked(lock)
    every = () if start else tuple(url for url in locked if not url.startswith("stdio:"))
    found = _found(sources or every, server, token_env, ca, start, wanted)
    changes = {url: compare(locked.get(url, {}), tools) for url, tools in found.items()}
    offered = {url: list(tools) for url, tools in {**locked, **found}.items()}
    names = {name for listed in offered.values() for name in listed}
    if form == "json":
        report = {
            "changes": {url: [_as_data(change) for change in of] for url, of in changes.items()},
            "shadowed": shadowed(offered),
            "look_alikes": look_alikes(names),
        }
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        for url, of in changes.items():
            for change in of:
                click.echo(f"{url}: {_as_text(change)}")
        for name, servers in shadowed(offered).items():
            click.echo(f"note: {name} is offered by {' and '.join(servers)}", err=True)
        for group in look_alikes(names):
            spelt = ", ".join(map(ascii, group))
            click.echo(f"note: these names look alike: {spelt}", err=True)
    if any(changes.values()):
        raise SystemExit(1)


def _locked(lock: Path) -> dict[str, Any]:
    from penstock.mcp.lock import load

    try:
        return dict(load(lock))
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def _found(
    sources: tuple[str, ...],
    server: str | None,
    token_env: str | None,
    ca: str | None,
    start: str | None,
    wanted: tuple[str, ...],
) -> dict[str, Tools]:
    from penstock.mcp.discovery import Unreachable
    from penstock.mcp.pins import pins_of
    from penstock.mcp.sources import from_file, from_server

    headers = {}
    if token_env:
        if not os.environ.get(token_env):
            raise click.UsageError(f"the environment variable {token_env} is not set")
        headers["authorization"] = f"Bearer {os.environ[token_env]}"
    found: dict[str, Tools] = {}
    for source in sources:
        try:
            if "://" in source:
                definitions = from_server(source, headers, ca)
            else:
                definitions = from_file(Path(source), server)
        except (OSError, ValueError, Unreachable) as error:
            raise click.UsageError(str(error)) from None
        found.update({url: pins_of(tools) for url, tools in definitions.items()})
    if start:
        found.update(_started(start, server, wanted))
    return found


def _started(start: str, server: str | None, wanted: tuple[str, ...]) -> dict[str, Tools]:
    """The tools of a server that is started for it."""
    import asyncio
    import shlex

    from penstock.cli.client_environment import way_out
    from penstock.gateway.stdio.child import clean_environment
    from penstock.gateway.stdio.listing import list_tools
    from penstock.mcp.discovery import Unreachable
    from penstock.mcp.pins import pins_of

    try:
        words = tuple(shlex.split(start))
    except ValueError as error:
        raise click.UsageError(f"--start: {error}") from None
    if not words:
        raise click.UsageError("--start: there is no command")
    environment = clean_environment(os.environ, wanted, way_out())
    try:
        definitions = asyncio.run(list_tools(words, environment))
    except (OSError, Unreachable) as error:
        raise click.UsageError(str(error)) from None
    return {(server or f"stdio://{mcp_wrap.name_of(words)}").rstrip("/"): pins_of(definitions)}


def _as_data(change: Change) -> dict[str, Any]:
    return {
        "tool": change.tool,
        "kind": change.kind,
        "fields": list(change.fields),
        "before": change.before and {"hash": change.before.hash, "text": change.before.description},
        "after": change.after and {"hash": change.after.hash, "text": change.after.description},
    }


def _as_text(change: Change) -> str:
    from difflib import unified_diff

    if change.kind != "changed":
        return f"{change.tool!a} {change.kind}"
    lines = [f"{change.tool!a} changed: {', '.join(change.fields) or 'definition'}"]
    for name in ("title", "description"):
        before, after = getattr(change.before, name) or "", getattr(change.after, name) or ""
        if before != after:
            hunk = unified_diff(before.splitlines(), after.splitlines(), "pinned", "now", "", "")
            lines += [f"    {_printable(line)}" for line in hunk]
    return "\n".join(lines)


def _printable(line: str) -> str:
    """A server's text for a terminal: control and invisible characters as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
