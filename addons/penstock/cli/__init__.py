"""The ``penstock`` command: one file per subcommand, imported only when it is asked for.

Importing a subcommand may cost a second (mitmproxy, pydantic); ``penstock --help`` must
not, so the names and one-line helps stand here as data and a test holds them to the truth.
"""

from __future__ import annotations

import importlib

import click

# name -> (module below penstock.cli, one-line help)
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run the proxy in the foreground."),
    "exec": ("exec", "Run a command behind a proxy of its own."),
    "env": ("env", "Print the proxy and CA variables for a shell."),
    "demo": ("demo", "Show the whole product on this machine, offline."),
    "doctor": ("doctor", "Say what works, what does not, and how to mend it."),
    "check": ("check", "Validate policies."),
    "test": ("test", "Run policy tests."),
    "replay": ("replay", "Decide recorded calls again with another policy."),
    "inspect": ("inspect", "Say what penstock understands of recorded exchanges."),
    "scan": ("scan", "Find secrets and personal data in texts."),
    "detectors": ("detectors", "List and show the detectors."),
    "discover": ("discover", "Report which AI services are used, and by whom."),
    "audit": ("audit", "Verify and read the audit log."),
    "spend": ("spend", "Add up what calls cost, by team, user, model, day."),
    "keys": ("keys", "List the provider keys seen; make fingerprints to pin them by."),
    "mcp": ("mcp", "Pin the tools of MCP servers; wrap one, serve many."),
    "approvals": ("approvals", "List, approve and deny calls that wait for a person."),
    "contain": ("contain", "Switch to the containment profile now; --release ends it."),
    "inject": ("inject", "Patch pods with the sidecar; serve the admission webhook."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when that subcommand runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"penstock.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As the stock one, and a near miss is told."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean '{close[0]}'?" if close else ""
            ctx.fail(f"No such command '{args[0]}'.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"penstock {version('penstock')} (mitmproxy {version('mitmproxy')})")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: penstock exec -- claude     Each command has --help with an example.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """A sidecar egress proxy for AI traffic: sees, decides, changes, meters and records
    every call that leaves for a language model or an MCP server."""
