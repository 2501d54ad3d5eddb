"""Large bodies are read and judged in a worker thread, so that the loop serves the others.

The heavy parts (orjson, RE2) release the interpreter lock; the rest is interrupted every
few milliseconds. What belongs to the loop (quotas, estimates) is asked on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from penstock.meter.quotas import Claim, Exceeded, Reservation
from penstock.policy.call import Call
from penstock.policy.state import Estimate
from penstock.proxy.governance import CallState

# Below this a body is judged in about a millisecond, and a hop to a thread costs a fifth of one.
OFFLOADED_BYTES = 64 * 1024
# One core is the usual share of a sidecar; a second worker keeps one slow body from blocking all.
WORKERS = 2
# The loop answers within milliseconds unless it is gone.
LOOP_SECONDS = 30.0

# Work that waits for a worker; each holds a body. What comes on top fails, and on_error decides.
WAITING_MAX = 512
ROOM_MAX = 4 * WORKERS

_workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="judge")
_waiting = 0


class BusyError(Exception):
    """More work waits for a worker than can be done in time."""


def has_room() -> bool:
    """True where a worker would take up more work soon: what need not go aside stays, else."""
    return _waiting < ROOM_MAX


async def offload[**Given, Answer](
    work: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
) -> Answer:
    """Run ``work`` in a worker thread; its exception is raised here. Of the loop only."""
    global _waiting
    if _waiting >= WAITING_MAX:
        raise BusyError
    loop = asyncio.get_running_loop()
    _waiting += 1
    try:
        return await loop.run_in_executor(_workers, lambda: work(*args, **kwargs))
    finally:
        _waiting -= 1


@dataclass(slots=True, frozen=True)
class ThreadState(CallState):
    """A CallState for use in a worker: what is not for threads is asked on the loop."""

    loop: asyncio.AbstractEventLoop

    @property
    def quotas(self) -> LoopQuotas:  # type: ignore[override]  # the part decide uses
        return LoopQuotas(self)

    def estimate(self, call: Call, exact: bool = False) -> Estimate:
        # Counted here, not on the loop.
        count = self.governance.counter.count(call.exchange, worker=True) if exact else None
        media = call.media
        estimate = self.governance.estimate
        return on_loop(self.loop, lambda: estimate(self.caller_key, call, media, count))


@dataclass(slots=True, frozen=True)
class LoopQuotas:
    """``policy.state.QuotaStore`` whose reservations are made on the loop."""

    state: ThreadState

    def reserve(
        self, now: float, claims: Iterable[Claim], force: bool = False
    ) -> Reservation | Exceeded:
        wanted, quotas = list(claims), self.state.governance.quotas
        return on_loop(self.state.loop, lambda: quotas.reserve(now, wanted, force))

    def short(self, now: float, claims: Iterable[Claim]) -> bool:
        wanted, quotas = list(claims), self.state.governance.quotas
        return on_loop(self.state.loop, lambda: quotas.short(now, wanted))


def on_loop[Answer](loop: asyncio.AbstractEventLoop, ask: Callable[[], Answer]) -> Answer:
    """Ask something on the loop from a worker thread."""

    async def asked() -> Answer:
        return ask()

    return asyncio.run_coroutine_threadsafe(asked(), loop).result(LOOP_SECONDS)
