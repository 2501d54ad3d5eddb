"""Ending well: accept nothing new, let running calls finish, then stop.

The first SIGTERM or SIGINT starts the drain, a second one ends it at once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from time import monotonic

from mitmproxy.master import Master

from penstock.proxy.listeners import Listeners
from penstock.proxy.runtime import Runtime

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02


class Drain:
    """Handles the signals of one engine."""

    def __init__(self, master: Master, listeners: Listeners, runtime: Runtime) -> None:
        self._master = master
        self._listeners = listeners
        self._runtime = runtime
        self._task: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Take SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin)

    def begin(self) -> None:
        """Start to drain; called again, stop without waiting."""
        if self._task is None:
            self._runtime.draining = True
            self._runtime.callbacks.draining()
            self._task = asyncio.create_task(self._drain())
        else:
            self._master.shutdown()

    async def _drain(self) -> None:
        await self._listeners.close()
        end = monotonic() + self._runtime.settings.limits.drain_seconds
        while self._calls() and monotonic() < end:  # noqa: ASYNC110 - calls end in many places
            await asyncio.sleep(POLL_SECONDS)
        left = self._calls()
        if left:
            logger.warning("%d calls were still running when the grace period ended", left)
        self._master.shutdown()

    def _calls(self) -> int:
        """Exchanges that have begun and not ended; opaque tunnels are not waited for."""
        connections = self._listeners.connections
        return sum(
            exchange.flow.live and exchange.context.client.id in connections
            for exchange in self._runtime.exchanges
        )
