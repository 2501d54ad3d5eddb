"""A call that runs at a server, and what the server asks in the middle of it.

A client of the session era is asked at once and the call waits. One of the newer era is answered
``input_required`` under a token, and brings its answers with the token in another request; until
then the call is parked. What such a server answers, an older client is asked one by one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp.shared.exceptions import MCPError

# Calls that wait for a person, and for how long; a person who is asked answers within minutes.
PARKED_MAX = 200
PARKED_SECONDS = 600.0
# Questions one call may ask; the SDKs' clients stop at ten.
ROUNDS_MAX = 10
TOKEN_PREFIX = "penstock."  # noqa: S105 - not a password
ASK = "ask"  # the name of our question among input requests

Answer = dict[str, Any]
Notify = Callable[[Any], Awaitable[None]]
Ask = Callable[[str, dict[str, Any]], Awaitable[Answer]]


@dataclass(slots=True)
class Question:
    """What the server asked and where its answer goes."""

    method: str
    params: dict[str, Any]
    answer: asyncio.Future[Answer]


class RunningCall:
    """A call under way. ``ask``: how the client is asked at once; None: it cannot be.

    ``party`` is whose call it is; log messages from ``level`` on go to its own stream.
    """

    def __init__(
        self,
        ask: Ask | None,
        party: str = "",
        level: str | None = None,
        notify: Notify | None = None,
    ) -> None:
        self._ask = ask
        self.party, self.level, self.notify = party, level, notify
        self._questions: asyncio.Queue[Question] = asyncio.Queue()
        self._asked = 0
        self.task: asyncio.Task[Answer] | None = None
        self.open: Question | None = None

    async def asked(self, method: str, params: dict[str, Any]) -> Answer:
        """``upstream.Running``."""
        self._asked += 1
        if self._asked > ROUNDS_MAX:
            raise MCPError(-32603, "too many questions in one call")
        if self._ask is not None:
            return await self._ask(method, params)
        question = Question(method, params, asyncio.get_running_loop().create_future())
        await self._questions.put(question)
        return await question.answer

    async def step(self) -> Answer | Question:
        """The call's answer, or the next question; raises what the call raises."""
        assert self.task is not None  # set by whoever started it
        waiting = asyncio.create_task(self._questions.get())
        try:
            await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                self.open = waiting.result()
                return self.open
            return self.task.result()
        finally:
            waiting.cancel()

    async def stop(self) -> None:
        """Nobody waits for it any more. It tells the server so by itself, which takes a moment:
        waited for is it without being cancelled again, whatever happens to whoever waits."""
        if self.task is not None and not self.task.done():
            self.task.cancel()
        if self.task is not None:
            await asyncio.wait({self.task})


@dataclass(slots=True)
class _Parked:
    call: RunningCall
    owner: tuple[str, ...]
    until: float = field(default_factory=lambda: time.monotonic() + PARKED_SECONDS)


class Parking:
    """Calls that wait for answers in another request. A token is good for its owner, once."""

    def __init__(self) -> None:
        self._parked: OrderedDict[str, _Parked] = OrderedDict()

    async def park(self, call: RunningCall, owner: tuple[str, ...]) -> str:
        """Keep the call; the token it is found by."""
        await self.expire()
        while len(self._parked) >= PARKED_MAX:
            _, oldest = self._parked.popitem(last=False)
            await oldest.call.stop()
        token = TOKEN_PREFIX + secrets.token_urlsafe(24)
        self._parked[token] = _Parked(call, owner)
        return token

    def take(self, token: str, owner: tuple[str, ...]) -> RunningCall:
        """The call; raises MCPError where there is none for this owner."""
        found = self._parked.get(token)
        if found is None or found.owner != owner or found.until < time.monotonic():
            raise MCPError(-32602, "Unknown or expired requestState")
        del self._parked[token]
        return found.call

    async def drop(self, token: str) -> None:
        """Stop a call whose question may not be asked; nothing where it was answered."""
        found = self._parked.pop(token, None)
        if found is not None:
            await found.call.stop()

    async def expire(self) -> None:
        """Stop what was not answered in time."""
        now = time.monotonic()
        for token in [token for token, one in self._parked.items() if one.until < now]:
            await self._parked.pop(token).call.stop()

    async def close(self) -> None:
        parked, self._parked = list(self._parked.values()), OrderedDict()
        for one in parked:
            await one.call.stop()
