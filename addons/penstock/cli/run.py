"""``penstock run``: the proxy in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import Address, ProxyOptions, proxy_options
from penstock.cli.words import why

if TYPE_CHECKING:
    from penstock.proxy.settings import EngineSettings

WORKERS_MAX = 64  # more cores than one pod has

EPILOG = """\b
Examples:
  penstock run
  penstock run --policy payments.yaml --mode shadow
  penstock run --policy strict --listen 0.0.0.0:8080 --state-dir /var/lib/penstock
  penstock run --workers 4 --store redis://localhost:6379
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
    show_envvar=True,
    help="Speak TLS on the proxy's port (HTTPS_PROXY=https://...) with this PEM chain; read again "
    "when it changes. Client certificates: the policy's callers.mtls.",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="PENSTOCK_TLS_KEY",
    show_envvar=True,
    help="Its key, not encrypted. Default: in the same file.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    envvar="PENSTOCK_WORKERS",
    show_envvar=True,
    help="Processes that share the port, where one core is not enough (Linux).",
)
@click.option(
    "--limits-per-worker",
    is_flag=True,
    help="With --workers and no store: each worker has the whole of every limit.",
)
@click.option("--worker", type=int, hidden=True, help="Which of several this is.")
def command(
    options: ProxyOptions,
    ready_file: Path | None,
    trust_dir: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    workers: int,
    limits_per_worker: bool,
    worker: int | None,
) -> None:
    """Run the proxy in the foreground until SIGTERM or SIGINT.

    The policy files are watched: a changed file is checked whole and swapped in, a bad one
    changes nothing. Running answers finish before the process ends.
    """
    from penstock.policy.language.problem import ConfigError
    from penstock.proxy.service import Service
    from penstock.stack import stack

    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key belongs to --tls-cert")
    many = workers > 1
    if many and worker is None:
        from penstock.cli.run_workers import run_workers

        sys.exit(run_workers(options, ready_file, workers, limits_per_worker, tls_cert))
    settings = engine_settings(options, tls_cert, tls_key, reuse_port=many)
    service = Service(
        settings, options.policies, options.mode, stack, ready_file, tell, options.store
    )
    if many:
        from penstock.cli.run_workers import as_worker

        as_worker(
            service, options, limits_per_worker, lambda text: tell(f"worker {worker}: {text}")
        )
    try:
        if trust_dir is not None:
            from penstock.cli.trust_directory import publish
            from penstock.proxy.engine.certificates import prepare

            prepare(options.state_dir, options.upstream_ca)
            publish(options.state_dir, trust_dir)
        code = service.run()
    except ConfigError as error:
        click.echo(str(error), err=True)
        code = 2
    except OSError as error:
        click.echo(f"penstock run: {why(error, options.state_dir)}", err=True)
        code = 2
    except (ValueError, RuntimeError) as error:
        click.echo(f"penstock run: {error}", err=True)
        code = 2
    sys.exit(code)


def engine_settings(
    options: ProxyOptions, tls_cert: Path | None, tls_key: Path | None, *, reuse_port: bool
) -> EngineSettings:
    """What the command line says about the engine."""
    from penstock.proxy.settings import EngineSettings, Limits, Reverse

    body_bytes = options.body_mib * 1024 * 1024
    return EngineSettings(
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
        reuse_port=reuse_port,
        limits=Limits(
            request_body_bytes=body_bytes,
            answer_body_bytes=body_bytes,
            drain_seconds=options.drain_seconds,
        ),
    )


def dialled(options: ProxyOptions) -> dict[Address, Address]:
    """What is dialled for a name; a server that --reverse names may stand on this machine."""
    if options.reverse is None:
        return options.connect_to
    target = options.reverse[2]
    return {target: target, **options.connect_to}


def tell(text: str) -> None:
    """What the proxy did, for whoever started it."""
    click.echo(f"penstock: {text}", err=True)
