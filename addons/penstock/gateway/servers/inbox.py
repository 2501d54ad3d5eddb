"""What a server says besides answers, worked on in order by one task, and bounded.

A server may say anything at any rate. What does not fit is dropped and counted: none of it is an
answer anybody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

# Messages that wait. Judging one takes some tenths of a millisecond, so this is a moment's work.
WAITING_MAX = 256
# How long an answer waits for what was said before it: a client that does not read cannot hold it.
DRAIN_SECONDS = 1.0

Work = Callable[[], Awaitable[None]]


class Inbox:
    """``serve`` runs until it is cancelled."""

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: asyncio.Queue[Work] = asyncio.Queue(WAITING_MAX)
        self._put = self._done = 0
        self._step = asyncio.Event()

    def put(self, work: Work) -> None:
        """Do it when its turn comes; forget it where too much waits."""
        try:
            self._waiting.put_nowait(work)
        except asyncio.QueueFull:
            self.dropped += 1
        else:
            self._put += 1

    async def drained(self) -> None:
        """Wait for what is in it now, not for ever."""
        until = self._put
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._done < until:
                    self._step.clear()
                    await self._step.wait()

    async def serve(self) -> None:
        while True:
            work = await self._waiting.get()
            try:
                with contextlib.suppress(Exception):  # the client is gone, or does not take it
                    await work()
            finally:
                self._done += 1
                self._step.set()
