"""`penstock env`: the variables that send a client through a running proxy, for a shell to read."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import click

from penstock.cli.options import default_state_dir

SHELLS = ("bash", "zsh", "fish", "powershell")
# What needs no quotes in a .env file, whoever reads it.
PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+=\-]*")


@click.command(
    epilog='Example: eval "$(penstock env)"     penstock env --shell fish | source',
    short_help="Print the proxy and CA variables for a shell.",
)
@click.option("--shell", type=click.Choice(SHELLS), help="Default: from $SHELL, else bash.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["shell", "json", "dotenv"]),
    default="shell",
    show_default=True,
)
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, help="Where `penstock run` listens."
)
@click.option("--state-dir", type=click.Path(path_type=Path), help="As given to `penstock run`.")
@click.option("--no-proxy", multiple=True, metavar="HOST", help="One more host to reach directly.")
def command(
    shell: str | None, form: str, listen: str, state_dir: Path | None, no_proxy: tuple[str, ...]
) -> None:
    """Print the variables that send a client through a running `penstock run`.

    Both letter cases of the proxy variables, and the CA variable of every client measured:
    docs/clients.md lists them. Loopback is reached directly. The file names are absolute.
    """
    from penstock.cli.client_environment import LOOPBACK, variables

    state = (state_dir or default_state_dir()).absolute()
    table = variables(
        f"http://{listen}",
        str(state / "ca.pem"),
        str(state / "ca-bundle.pem"),
        (*LOOPBACK, *no_proxy),
    )
    if not (state / "ca-bundle.pem").exists():
        click.echo(
            f"penstock env: {state}/ca-bundle.pem does not exist yet: clients will fail until "
            "`penstock run` has started once with this --state-dir",
            err=True,
        )
    click.echo(render(table, form, shell or _current_shell()))


def render(table: dict[str, str], form: str, shell: str) -> str:
    """``table`` as JSON, as a .env file, or as commands of ``shell``."""
    if form == "json":
        return json.dumps(table, indent=2)
    if form == "dotenv":
        return "\n".join(f"{name}={_dotenv(value)}" for name, value in table.items())
    return "\n".join(_assignment(name, value, shell) for name, value in table.items())


def _assignment(name: str, value: str, shell: str) -> str:
    if shell == "fish":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{escaped}';"
    if shell == "powershell":
        escaped = value.replace("'", "''")
        return f"$env:{name} = '{escaped}'"
    return f"export {name}={shlex.quote(value)}"


def _dotenv(value: str) -> str:
    if PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _current_shell() -> str:
    name = Path(os.environ.get("SHELL", "bash")).name
    return name if name in SHELLS else "bash"
