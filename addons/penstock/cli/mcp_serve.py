"""`penstock mcp serve`: one address for many MCP servers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from penstock.cli.options import GOVERNING, Address, AddressType, with_options
from penstock.cli.words import why


@click.command(
    "serve",
    short_help="One address for many MCP servers, under the policy.",
    epilog="Example: penstock mcp serve --config servers.yaml --policy team.yaml",
)
@with_options(GOVERNING)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="YAML file that names the servers; watched, taken up when it changes.",
)
@click.option(
    "--listen",
    type=AddressType(),
    default="127.0.0.1:8090",
    show_default=True,
    help="Where clients connect: http://HOST:PORT/mcp.",
)
@click.option(
    "--admin",
    type=AddressType(),
    default="127.0.0.1:9900",
    envvar="PENSTOCK_ADMIN",
    show_envvar=True,
    show_default=True,
    help="Health, readiness, status of each server, metrics.",
)
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Written when the ports are open: JSON with listen, admin, pid, audit.",
)
def command(
    policies: tuple[Path, ...],
    mode: Any,
    state_dir: Path,
    store: str | None,
    file: Path,
    listen: Address,
    admin: Address,
    ready_file: Path | None,
) -> None:
    """Serve the tools, prompts and resources of many MCP servers at one address until SIGTERM.

    Servers are reached by URL (streamable HTTP, or the older SSE) or started here and spoken to
    over pipes. Clients and servers of different protocol eras are translated.
    """
    import asyncio
    from importlib.metadata import version

    from penstock.cli.client_environment import way_out
    from penstock.policy.language.problem import ConfigError
    from penstock.proxy.service import Service
    from penstock.proxy.settings import EngineSettings

    try:
        from penstock.gateway.serve import Serve
    except ModuleNotFoundError:
        raise click.UsageError("this needs the MCP SDK: pip install 'penstock[mcp]'") from None

    settings = EngineSettings(state_dir, admin=admin)
    service = Service(settings, policies, mode, lambda _governance: [], tell=tell, store_url=store)
    try:
        service.prepare()
        serve = Serve(service, file, listen, version("penstock"), tell, way_out())
        serve.servers = serve.load()
        if ready_file is not None:
            serve.ready = lambda at, beside: announce(ready_file, service, at, beside)
        code = asyncio.run(serve.run())
    except ConfigError as error:
        click.echo(str(error), err=True)
        code = 2
    except OSError as error:
        tell(why(error, state_dir))
        code = 2
    except ValueError as error:
        tell(str(error))
        code = 2
    sys.exit(code)


def announce(file: Path, service: Any, listen: Address, admin: Address) -> None:
    """Say where it is to whoever waits for the file."""
    where = {
        "listen": "{}:{}".format(*listen),
        "admin": "{}:{}".format(*admin),
        "pid": os.getpid(),
        "audit": str(service.recording.audit.path),
    }
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(where))
    draft.replace(file)


def tell(text: str) -> None:
    """What happened, for whoever started it."""
    click.echo(f"penstock mcp serve: {text}", err=True)
