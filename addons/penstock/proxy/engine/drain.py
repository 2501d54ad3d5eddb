"""Ending well: accept nothing new, let running calls finish, then stop.

The first SIGTERM or SIGINT starts the drain, a second one ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from time import monotonic
from typing import Any

from mitmproxy.master import Master

from penstock.proxy.engine.connection import Handler
from penstock.proxy.engine.listeners import Listeners
from penstock.proxy.engine.runtime import Runtime

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
# A call that is hung up on ends within a few turns of the loop, or once prices are loaded.
LAST_WORDS_SECONDS = 2.0


class Drain:
    """Handles the signals of one engine."""

    def __init__(self, master: Master, listeners: Listeners, runtime: Runtime) -> None:
        self._master = master
        self._listeners = listeners
        self._runtime = runtime
        self._task: asyncio.Task[None] | None = None
        self._hurried = False

    def install(self) -> None:
        """Take SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin)

    def begin(self) -> None:
        """Start to drain; called again, wait for nobody any more."""
        if self._task is None:
            self._runtime.draining = True
            self._runtime.callbacks.draining()
            self._task = asyncio.create_task(self._drain())
        else:
            self._hurried = True

    async def _drain(self) -> None:
        await self._listeners.close()
        end = monotonic() + self._runtime.settings.limits.drain_seconds
        while self._running() and monotonic() < end:
            if self._hurried:
                break
            await asyncio.sleep(POLL_SECONDS)
        if left := self._running():
            logger.warning("%d calls were still running when the grace period ended", len(left))
            await self._cut(left)
        self._master.shutdown()

    async def _cut(self, left: list[Any]) -> None:
        """Hang up, so that what still runs ends as any call that broke off: settled, recorded."""
        for client in {exchange.context.client for exchange in left}:
            handler = self._listeners.connections.get(client.id)
            if isinstance(handler, Handler):
                handler.close_client()
        end = monotonic() + LAST_WORDS_SECONDS
        # Polled: calls end in many places.
        while any(exchange.flow.live for exchange in left) and monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def _running(self) -> list[Any]:
        """Exchanges that have begun and not ended; opaque tunnels are not waited for."""
        connections = self._listeners.connections
        return [
            exchange
            for exchange in self._runtime.exchanges
            if exchange.flow.live and exchange.context.client.id in connections
        ]
