"""The queue in front of the workers has an end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from penstock.proxy import offload
from penstock.proxy.offload import BusyError


async def test_work_beyond_the_queue_fails_at_once_and_the_rest_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offload, "WAITING_MAX", 3)
    go_on = threading.Event()
    running = [asyncio.create_task(offload.offload(go_on.wait, 60)) for _ in range(3)]
    await asyncio.sleep(0)  # all of them have begun to wait
    with pytest.raises(BusyError):
        await offload.offload(len, "one too many")
    go_on.set()
    assert await asyncio.gather(*running) == [True] * 3
    assert await offload.offload(len, "room again") == 10


async def test_an_exception_is_raised_where_the_work_was_asked_for() -> None:
    with pytest.raises(ZeroDivisionError):
        await offload.offload(divmod, 1, 0)
    assert await offload.offload(divmod, 7, 2) == (3, 1)
