"""`penstock mcp wrap -- CMD...`: a stdio server under the policy, for clients that start one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from penstock.cli.options import GOVERNING, with_options
from penstock.cli.words import why

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells answer
# Programs that run another one: the server's name is what they run.
LAUNCHERS = re.compile(r"npx|bunx|uvx|uv|run|node|bun|deno|python[0-9.]*|exec|env|-.*")


@click.command(
    "wrap",
    context_settings={"allow_interspersed_args": False},
    short_help="Put a stdio server under the policy.",
    epilog="""\b
Example, in place of "npx" in a client's configuration:
  penstock mcp wrap --policy team.yaml --env GITHUB_TOKEN -- npx -y @example/server""",
)
@with_options(GOVERNING)
@click.option("--name", help="What rules call the server: stdio://NAME. Default: from CMD.")
@click.option(
    "--env",
    "wanted",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="A variable the server gets besides the basic ones; repeatable.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="NAME=RULE",
    help="A variable that holds the key of the policy's credential rule RULE; repeatable.",
)
@click.option(
    "--line-mib",
    type=click.IntRange(min=1, max=1024),
    default=32,
    show_default=True,
    help="Longest message of either side.",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def command(
    policies: tuple[Path, ...],
    mode: Any,
    state_dir: Path,
    store: str | None,
    name: str | None,
    wanted: tuple[str, ...],
    keys: tuple[str, ...],
    line_mib: int,
    arguments: tuple[str, ...],
) -> None:
    """Start the MCP server CMD and speak to it over stdin and stdout, as a client expects of it;
    every message of both sides is judged by the policy and recorded.

    Exits with CMD's code (128 + N when signal N ended it).
    """
    from penstock.destinations import pattern_problem
    from penstock.policy.language.problem import ConfigError
    from penstock.route.credentials.fetched import SourceError

    name = name or name_of(arguments)
    if wrong := pattern_problem(name):
        raise click.UsageError(f"--name: {wrong}")
    if wrong_key := next((one for one in keys if "=" not in one.strip("=")), None):
        raise click.UsageError(f"--key: '{wrong_key}' is not NAME=RULE")
    program = shutil.which(arguments[0])
    if program is None:
        exists = os.sep in arguments[0] and Path(arguments[0]).exists()
        tell(f"{arguments[0]}: {'not executable' if exists else 'no such command on PATH'}")
        sys.exit(NOT_EXECUTABLE if exists else NOT_FOUND)
    try:
        code = _run(
            (program, *arguments[1:]),
            policies,
            mode,
            state_dir,
            store,
            name,
            wanted,
            dict(one.split("=", 1) for one in keys),
            line_mib,
        )
    except ConfigError as error:
        click.echo(str(error), err=True)
        code = 2
    except OSError as error:
        tell(why(error, state_dir))
        code = 2
    except (ValueError, SourceError) as error:
        tell(str(error))
        code = 2
    sys.exit(code)


def _run(
    program: tuple[str, ...],
    policies: tuple[Path, ...],
    mode: Any,
    state_dir: Path,
    store: str | None,
    name: str,
    wanted: tuple[str, ...],
    keys: dict[str, str],
    line_mib: int,
) -> int:
    import asyncio

    from penstock.cli.client_environment import way_out
    from penstock.gateway.servers.file import ServerEntry
    from penstock.gateway.stdio.child import clean_environment
    from penstock.gateway.stdio.process_keys import problems_of
    from penstock.gateway.stdio.wrap import Wrap
    from penstock.proxy.service import Service
    from penstock.proxy.settings import EngineSettings

    service = Service(
        EngineSettings(state_dir),
        policies,
        mode,
        lambda _governance: [],
        tell=tell,
        store_url=store,
    )
    service.prepare()
    entry = ServerEntry(command=program, keys=keys)
    if problem := next(iter(problems_of(name, entry, service.governance)), None):
        raise ValueError(problem)
    environment = clean_environment(os.environ, wanted, way_out())
    wrap = Wrap(service, name, program, environment, tell, line_mib * 1024 * 1024, keys)
    return asyncio.run(wrap.run())


def name_of(arguments: tuple[str, ...]) -> str:
    """A name for the server: the first word that names a program or package, and no launcher."""
    words = [Path(word).name for word in arguments]
    for whole, word in zip(arguments, words, strict=True):
        if not LAUNCHERS.fullmatch(word) and not whole.startswith("-"):
            bare = re.sub(r"@[^@/]*$|\.(py|js|mjs|cjs|ts)$", "", word)
            cleaned = re.sub(r"[^a-z0-9.-]+", "-", bare.lower()).strip("-.")
            if cleaned:
                return cleaned
    return "server"


def tell(text: str) -> None:
    """What happened, for whoever reads the client's log."""
    click.echo(f"penstock mcp wrap: {text}", err=True)
