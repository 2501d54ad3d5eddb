"""`penstock exec -- CMD...`: a proxy for the length of one command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import ProxyOptions, proxy_options

if TYPE_CHECKING:
    from penstock.cli.proxy_process import RunningProxy

# A terminal sends these to its whole foreground group, so CMD has them already.
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT)
FORWARDED_SIGNALS = (
    *TERMINAL_SIGNALS,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# What shells answer for a command that is not there, or not executable.
NOT_FOUND, NOT_EXECUTABLE = 127, 126


@click.command(
    "exec",
    context_settings={
        "allow_interspersed_args": False,
        # Free ports, so that it runs beside a `penstock run` and beside itself.
        "default_map": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"},
    },
    epilog="Example: penstock exec --policy team.yaml -- claude -p 'fix the tests'",
    short_help="Run a command behind a proxy of its own.",
)
@proxy_options
@click.option("--no-proxy", multiple=True, metavar="HOST", help="One more host to reach directly.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    help="The summary on stderr: text, or one line of JSON.",
)
@click.option("-q", "--quiet", is_flag=True, help="No summary.")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def command(
    options: ProxyOptions,
    no_proxy: tuple[str, ...],
    form: str,
    quiet: bool,
    arguments: tuple[str, ...],
) -> None:
    """Start a proxy, run CMD with the proxy and CA variables set, stop the proxy, and say on
    stderr what happened.

    Exits with CMD's code (128 + N when signal N ended it); 127 and 126 when CMD is not there
    or cannot be run; 2 when the proxy cannot start.
    """
    from penstock.cli.proxy_process import ProxyFailed, running_proxy
    from penstock.cli.run_summary import audit_sizes, new_lines

    program = _find(arguments[0])
    options = replace(options, state_dir=options.state_dir.absolute())
    before = audit_sizes(options.state_dir)
    child = _Child()
    try:
        with running_proxy(options) as proxy:
            code = child.run(program, arguments, _environment(proxy, no_proxy))
    except ProxyFailed as error:
        _say(f"the proxy {'stopped' if child.ended else 'did not start'}:\n{error}")
        sys.exit(child.code if child.ended else 2)
    if not quiet:
        _report(new_lines(proxy.audit, before), proxy.audit, form)
    sys.exit(code)


class _Child:
    """The command: started once, signals passed on to it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.code = 0
        self.ended = False
        for number in FORWARDED_SIGNALS:
            signal.signal(number, self._forward)

    def run(self, program: str, arguments: tuple[str, ...], environment: dict[str, str]) -> int:
        """Run to the end; the exit code as a shell would give it."""
        self._process = subprocess.Popen(arguments, executable=program, env=environment)
        code = self._process.wait()
        self.code = code if code >= 0 else 128 - code
        self.ended = True
        return self.code

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None or self.ended:
            sys.exit(128 + number)  # before or after CMD: there is only the proxy to stop
        if number in TERMINAL_SIGNALS and _in_foreground():
            return
        self._process.send_signal(number)


def _in_foreground() -> bool:
    """Whether a terminal's Ctrl-C reaches this process group, and so CMD, by itself."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123  # a device
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _find(name: str) -> str:
    if program := shutil.which(name):
        return program
    if os.sep in name and Path(name).exists():
        _say(f"{name} is not executable: chmod +x it, or name its interpreter first")
        sys.exit(NOT_EXECUTABLE)
    _say(f"{name}: no such command on PATH; aliases and shell functions need `sh -c '...'`")
    sys.exit(NOT_FOUND)


def _environment(proxy: RunningProxy, no_proxy: tuple[str, ...]) -> dict[str, str]:
    from penstock.cli.client_environment import LOOPBACK, variables

    return {
        # Where limits are kept, and the way in, is nothing for CMD to know.
        **{name: os.environ[name] for name in os.environ if not name.startswith("PENSTOCK_STORE")},
        **variables(
            f"http://{proxy.listen}",
            str(proxy.ca),
            str(proxy.ca_bundle),
            (*LOOPBACK, *no_proxy),
        ),
    }


def _report(lines: Iterable[dict[str, Any]], audit: Path, form: str) -> None:
    from penstock.cli.run_summary import render, summarise

    summary = summarise(lines)
    if form == "json":
        click.echo(json.dumps({**summary.as_json(), "audit": str(audit)}), err=True)
        return
    for line in render(summary):
        _say(line)
    _say(f"audit log: {audit}")


def _say(message: str) -> None:
    click.echo(f"penstock exec: {message}", err=True)
