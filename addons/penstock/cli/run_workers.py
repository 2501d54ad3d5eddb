"""``penstock run --workers N``: several proxies on one port, and who watches them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from penstock.cli.options import ProxyOptions
from penstock.cli.words import why

if TYPE_CHECKING:
    from penstock.policy.language.problem import Problem
    from penstock.policy.policy import Policy
    from penstock.proxy.service import Service


def unsuited(
    options: ProxyOptions, limits_per_worker: bool
) -> Callable[[Policy], Sequence[Problem]]:
    """What of a policy several workers cannot keep."""
    from penstock.policy.language.apart import kept_apart

    shared = options.store is not None or limits_per_worker
    return lambda policy: kept_apart(policy, limits_shared=shared)


def as_worker(
    service: Service, options: ProxyOptions, limits_per_worker: bool, tell: Callable[[str], None]
) -> None:
    """Make a proxy one of several: it keeps what several can, and ends with who started it."""
    from penstock.proxy.control.workers import end_with_parent

    end_with_parent()
    service.introduces, service.tell = False, tell
    service.unsuited = unsuited(options, limits_per_worker)


def run_workers(
    options: ProxyOptions,
    ready_file: Path | None,
    number: int,
    limits_per_worker: bool,
    tls_cert: Path | None,
) -> int:
    """Check what would stop every worker, then start them and wait; the exit code."""
    from penstock.policy.language.problem import ConfigError
    from penstock.policy.language.source import PolicySource
    from penstock.proxy.control.workers import Workers
    from penstock.proxy.engine.certificates import prepare

    def tell(text: str) -> None:
        click.echo(f"penstock: {text}", err=True)

    ports = [options.transparent, options.reverse[0] if options.reverse else None]
    if any(port is not None and port[1] == 0 for port in ports):
        raise click.UsageError(
            "with --workers, --transparent and --reverse need a port of their own"
        )
    try:
        policy = PolicySource(options.policies, unsuited(options, limits_per_worker)).policy
        if policy.callers is not None and policy.callers.mtls and tls_cert is None:
            raise ValueError("callers.mtls needs TLS on the proxy's port: --tls-cert")
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        prepare(options.state_dir, options.upstream_ca)  # one CA, made before anyone needs it
        tell(
            f"policy {policy.name}: mode {options.mode or policy.mode} ({', '.join(policy.files)})"
        )
        if policy.limits and limits_per_worker and options.store is None and policy.store is None:
            tell(f"warning: limits count in each worker apart: up to {number} times as much passes")
        workers = Workers(
            sys.argv[1:],
            number,
            options.listen,
            options.admin,
            options.drain_seconds,
            tell,
            ready_file,
        )
        return asyncio.run(workers.run())
    except ConfigError as error:
        click.echo(str(error), err=True)
    except OSError as error:
        click.echo(f"penstock run: {why(error, options.state_dir)}", err=True)
    except ValueError as error:
        click.echo(f"penstock run: {error}", err=True)
    return 2
