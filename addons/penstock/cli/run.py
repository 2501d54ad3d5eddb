"""``penstock run``: the proxy in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from penstock.cli.options import Address, ProxyOptions, proxy_options

EPILOG = """\b
Examples:
  penstock run
  penstock run --policy payments.yaml --mode shadow
  penstock run --policy strict --listen 0.0.0.0:8080 --state-dir /var/lib/penstock
  penstock run --listen 0.0.0.0:8443 --tls-cert svid.pem --tls-key svid.key
"""


@click.command("run", epilog=EPILOG)
@proxy_options
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Written when the ports are open: JSON with listen, admin, pid, audit.",
)
@click.option(
    "--trust-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also put ca.pem and ca-bundle.pem there: a directory other containers may read.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="PENSTOCK_TLS_CERT",
    help="Speak TLS on the proxy's port (HTTPS_PROXY=https://...) with this PEM chain; read again "
    "when it changes. Client certificates: the policy's callers.mtls.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="PENSTOCK_TLS_KEY",
    help="Its key, not encrypted. Default: in the same file.",
)
def command(
    options: ProxyOptions,
    ready_file: Path | None,
    trust_dir: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run the proxy in the foreground until SIGTERM or SIGINT.

    The policy files are watched: a changed file is checked whole and swapped in, a bad one
    changes nothing. Running answers finish before the process ends.
    """
    from penstock.policy.problem import ConfigError
    from penstock.proxy.service import Service
    from penstock.proxy.settings import EngineSettings, Limits, Reverse
    from penstock.stack import stack

    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key belongs to --tls-cert")
    body_bytes = options.body_mib * 1024 * 1024
    settings = EngineSettings(
        state_dir=options.state_dir,
        listen=options.listen,
        transparent=options.transparent,
        admin=options.admin,
        upstream_ca=options.upstream_ca,
        reverse=Reverse(*options.reverse) if options.reverse else None,
        connect_to=dialled(options),
        tls_certificate=tls_cert,
        tls_key=tls_key,
        http2=options.http2,
        limits=Limits(
            request_body_bytes=body_bytes,
            answer_body_bytes=body_bytes,
            drain_seconds=options.drain_seconds,
        ),
    )
    service = Service(
        settings, options.policies, options.mode, stack, ready_file, tell, options.store
    )
    try:
        if trust_dir is not None:
            from penstock.cli.trust_directory import publish
            from penstock.proxy.certificates import prepare

            prepare(options.state_dir, options.upstream_ca)
            publish(options.state_dir, trust_dir)
        code = service.run()
    except ConfigError as error:
        click.echo(str(error), err=True)
        code = 2
    except (OSError, ValueError, RuntimeError) as error:
        click.echo(f"penstock run: {error}", err=True)
        code = 2
    sys.exit(code)


def dialled(options: ProxyOptions) -> dict[Address, Address]:
    """What is dialled for a name; a server that --reverse names may stand on this machine."""
    if options.reverse is None:
        return options.connect_to
    target = options.reverse[2]
    return {target: target, **options.connect_to}


def tell(text: str) -> None:
    """What the proxy did, for whoever started it."""
    click.echo(f"penstock: {text}", err=True)
