"""The engine: our own mitmproxy master with the addons it needs and the options we stand for.

No configuration file is read and no default addon is loaded. ``serve`` returns when the
engine has drained. It refuses to start over a version of the core whose behaviour the
safety of this room was not tested with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

from mitmproxy import ctx, version
from mitmproxy.addons import core, disable_h2c
from mitmproxy.master import Master
from mitmproxy.options import Options

from penstock.proxy.engine import log as engine_log
from penstock.proxy.engine import speed
from penstock.proxy.engine.certificates import Certificates, prepare
from penstock.proxy.engine.deadlines import Deadlines, Expired
from penstock.proxy.engine.drain import Drain
from penstock.proxy.engine.fail_closed import Hooks
from penstock.proxy.engine.listeners import Listeners
from penstock.proxy.engine.next_layer import NextLayer
from penstock.proxy.engine.passthrough import Passthrough
from penstock.proxy.engine.runtime import Callbacks, Runtime
from penstock.proxy.engine.tls import Tls
from penstock.proxy.engine.websocket import Forget
from penstock.proxy.settings import Address, EngineSettings

logger = logging.getLogger(__name__)

TESTED_CORE = ("12.2.3",)
# Ours speak first: the core's own inactivity timer closes without an answer.
TIMER_MARGIN_SECONDS = 60


async def serve(
    settings: EngineSettings, addons: Sequence[Any], callbacks: Callbacks | None = None
) -> int:
    """Run until a signal or ``master.shutdown``; returns the process's exit code.

    0 after an orderly end, 2 when a port could not be opened. Raises RuntimeError on an
    untested core, ValueError or OSError when the certificates cannot be prepared.
    """
    if version.VERSION not in TESTED_CORE:
        raise RuntimeError(f"mitmproxy {version.VERSION} is not one of {', '.join(TESTED_CORE)}")
    engine_log.install()
    speed.drop_message_checks()
    speed.quicken_header_lookup()
    certificates = prepare(settings.state_dir, settings.upstream_ca)
    runtime = Runtime(settings, callbacks or Callbacks(), Deadlines(settings.limits))
    master = Master(_options(settings, certificates))
    hooks = Hooks(master, runtime)
    runtime.run_hook = hooks.run
    listeners = Listeners(runtime, hooks)
    master.addons.add(
        core.Core(),
        listeners,
        NextLayer(runtime),
        Passthrough(runtime),
        Tls(certificates.authority),
        disable_h2c.DisableH2C(),
        Forget(),
        *addons,
        _Ready(runtime, listeners),
    )
    _settle_options(master, settings)
    Drain(master, listeners, runtime).install()
    sweep = asyncio.create_task(_sweep(runtime, listeners))
    try:
        await master.run()
    finally:
        sweep.cancel()
        runtime.pool.close()
    return 2 if listeners.failed else 0


def _options(settings: EngineSettings, certificates: Certificates) -> Options:
    modes = [f"regular@{_authority(settings.listen)}"]
    if settings.transparent:
        modes.append(f"transparent@{_authority(settings.transparent)}")
    if settings.reverse:
        # Always as http: for https the core would also open a UDP port; see next_layer.
        host, port = settings.reverse.target
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        modes.append(f"reverse:http://{target}@{_authority(settings.reverse.listen)}")
    limits = settings.limits
    longest = max(limits.first_byte_seconds, limits.idle_seconds, limits.connect_seconds)
    roots = certificates.upstream_roots
    return Options(
        mode=modes,
        confdir=str(settings.state_dir),
        http2=settings.http2,
        http3=False,
        rawtcp=False,
        websocket=True,
        upstream_cert=False,
        ssl_insecure=False,
        ssl_verify_upstream_trusted_ca=str(roots) if roots else None,
        tcp_timeout=int(longest) + TIMER_MARGIN_SECONDS,
    )


def _settle_options(master: Master, settings: EngineSettings) -> None:
    """Options that exist only once their addon is there."""
    limits = settings.limits
    largest = max(limits.request_body_bytes, limits.answer_body_bytes)
    master.options.update(
        connection_strategy="lazy",
        validate_inbound_headers=True,
        # Ours are checked first (http_stream); this is the net below them.
        body_size_limit=str(largest + 1),
    )


def _authority(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


class _Ready:
    """Tells the room above when the ports are open."""

    name = "ready"

    def __init__(self, runtime: Runtime, listeners: Listeners) -> None:
        self._runtime = runtime
        self._listeners = listeners

    def running(self) -> None:
        """The ports are open."""
        if self._listeners.failed:
            return
        try:
            self._runtime.callbacks.ready(self._listeners.listening())
        except OSError as error:
            # Nobody would learn where it listens: an error now, not a process nobody finds.
            logger.error("the start could not be announced: %s", error)
            self._listeners.failed = True
            ctx.master.shutdown()


async def _sweep(runtime: Runtime, listeners: Listeners) -> None:
    """Wake calls whose deadline has passed."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(runtime.deadlines.sweep_seconds):
                await runtime.deadlines.hurried.wait()
        runtime.deadlines.hurried.clear()
        for call in runtime.deadlines.expired(monotonic()):
            handler = listeners.connections.get(call.client_id)
            if handler is not None:
                await handler.server_event(Expired(call))
