"""Redis or Valkey (6 and later) behind the limits that several proxies share.

Renews leases in the background, so that a call asks the store only where its limit is new,
or nearly used up. Every message is bounded in time; a store that cannot be reached is the
policy's ``on_store_error``. redis-py is imported when a store is configured. The URL may
hold a password: it is never shown, only its host is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any, Literal
from weakref import WeakKeyDictionary

from penstock.meter.lease import GRACE, RENEW_SECONDS, Answer, Message
from penstock.meter.quotas import Claim
from penstock.meter.shared import Shared, SharedQuotas
from penstock.meter.store_url import StoreUrl

logger = logging.getLogger(__name__)

OnStoreError = Literal["deny", "local_share", "allow"]

# A message takes a fraction of a millisecond; a store that takes this long is not there.
MESSAGE_SECONDS = 0.5
# How long a call waits for the store in all: a store that has just begun grants after 2 s.
ASK_SECONDS = 3.0
# After a failure nobody tries again before: callers must not queue behind a dead store.
DOWN_SECONDS = 0.5
# A call that asks also leases for this many like it, where the limit is not near its end.
AHEAD_CALLS = 8
# Renewals in one round trip: some ten milliseconds of the store's time at most.
BATCH = 64
CONNECTIONS_MAX = 24
# One hash slot: a message reads the store's generation and the scope's hash together.
KEYS = "penstock:{limits}:"
GENERATION_KEY = f"{KEYS}generation"


class Store:
    """The connection, and the task that keeps leases renewed."""

    def __init__(self, url: StoreUrl, quotas: SharedQuotas, on_error: OnStoreError) -> None:
        self.url = url
        self.quotas = quotas
        self.on_error: OnStoreError = on_error
        self.failures = 0
        self.messages = 0
        self.asked = 0  # calls that had to wait for an answer
        self.decided = {"deny": 0, "local_share": 0, "allow": 0}  # without the store
        self.heard_at: float | None = None
        self.problem: str | None = None  # the kind of the last failure, while it lasts
        self._down_until = 0.0
        self._locks: WeakKeyDictionary[Shared, asyncio.Lock] = WeakKeyDictionary()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to renew. The store need not be there yet."""
        self._loop = asyncio.get_running_loop()
        await self.renew()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Give every lease back, as far as the store can be reached, and close."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        now = time.time()
        for share in self.quotas.shares():
            share.used_at = 0.0
            share.ahead(now)
        self._down_until = 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * MESSAGE_SECONDS):
                await self.renew()
        await self._client.aclose()

    def ask_soon(self, claims: Sequence[Claim]) -> None:
        """``ask`` without waiting, from any thread."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.ask(claims), self._loop)

    async def ask(self, claims: Sequence[Claim]) -> None:
        """Lease what ``claims`` need, or learn that it is not there. Then ``reserve`` decides."""
        self.asked += 1
        deadline = time.monotonic() + ASK_SECONDS
        while (short := self.quotas.first_short(time.time(), claims)) is not None:
            share, wanted = short
            left = deadline - time.monotonic()
            if left <= 0 or time.monotonic() < self._down_until:
                self._without_store(share, wanted)
                continue
            task = asyncio.create_task(self._fill(share, wanted))
            self._asking.add(task)  # the loop itself keeps no reference
            task.add_done_callback(self._asking.discard)
            # Shielded: a caller that goes away must not cut a message in two.
            await asyncio.wait((task,), timeout=min(left, 2 * MESSAGE_SECONDS))
            if not task.done():
                self._without_store(share, wanted)

    async def renew(self) -> None:
        """Tell the store of every share that is due; look whether it is there and the same."""
        before = self.quotas.clock.generation
        if self.problem is not None and not await self._touch():
            return  # it is enough that one message waits for a store that is not there
        if not await self._renew_due() and self.problem is None:
            await self._touch()
        if self.quotas.clock.generation != before:
            await self._renew_due()  # a new store: all that is known has to be told at once

    def status(self) -> dict[str, Any]:
        """For /status: no user name, no password."""
        return {
            "shared": True,
            "store": self.url.shown,
            "reachable": self.problem is None and self.heard_at is not None,
            "problem": self.problem,
            "on_store_error": self.on_error,
            "messages": self.messages,
            "failures": self.failures,
            "calls_that_asked": self.asked,
            "decided_without_store": dict(self.decided),
        }

    async def _touch(self) -> bool:
        """Hear which generation of the store is there; False when none is."""
        sent = time.time()
        answer = (await self._send([({"kind": "touch", "generation": ""}, "")]))[0]
        if answer is not None:
            self.quotas.clock.heard(sent, answer)
        return answer is not None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.renew()

    async def _renew_due(self) -> int:
        """Renew the shares that are due, several in one round trip; the number of them."""
        now = time.time()
        # A locked one is being asked about right now.
        due = [s for s in self.quotas.shares() if s.due(now) and not self._lock(s).locked()]
        for start in range(0, len(due), BATCH):
            await self._renew(due[start : start + BATCH])
        return len(due)

    async def _renew(self, shares: Sequence[Shared]) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for share in shares:
                await stack.enter_async_context(self._lock(share))
            sent = time.time()
            messages = [(one.message(sent, 0, one.ahead(sent)), one.name) for one in shares]
            answers = await self._send(messages)
            for share, answer in zip(shares, answers, strict=True):
                if answer is not None:
                    share.answered(time.time(), sent, answer)

    async def _fill(self, share: Shared, wanted: int) -> None:
        """Get the store's word on ``wanted``: granted, refused, or not there."""
        async with self._lock(share):
            now = time.time()
            if share.balance(now) >= wanted or now < share.refused_until:
                return  # another call's answer was enough
            if time.monotonic() < self._down_until:
                self._without_store(share, wanted)
                return
            if share.unanswered is not None and not await self._exchange(share, 0, 0):
                self._without_store(share, wanted)
                return
            # Debt is told with the message, so only what is at hand counts.
            need = max(0, wanted - share.free(time.time()))
            answer = await self._exchange(share, need, max(AHEAD_CALLS * need, share.hurry()))
            if answer is None:
                self._without_store(share, wanted)
        if answer is not None and answer.status == GRACE:
            await asyncio.sleep(min(answer.wait_seconds, MESSAGE_SECONDS))

    def _without_store(self, share: Shared, wanted: int) -> None:
        """What the policy says for a store that cannot be reached."""
        now = time.time()
        need = wanted - min(share.free(now), wanted)
        if self.on_error == "allow" or (
            self.on_error == "local_share" and share.share(now) >= need
        ):
            share.own(now, need + max(0, share.free(now) - share.balance(now)))
            self.decided[self.on_error] += 1
            return
        share.unavailable = True
        share.wait_seconds = 1.0
        share.refused_until = now + DOWN_SECONDS / 5
        self.decided["deny"] += 1

    async def _exchange(self, share: Shared, need: int, ahead: int) -> Answer | None:
        """One message about one share and its answer; None when there was none."""
        sent = time.time()
        answer = (await self._send([(share.message(sent, need, ahead), share.name)]))[0]
        if answer is not None:
            share.answered(time.time(), sent, answer)
        return answer

    async def _send(self, messages: Sequence[tuple[Message, str]]) -> list[Answer | None]:
        """The answers, None where there was none."""
        from redis.exceptions import RedisError

        self.messages += len(messages)
        texts = [
            (GENERATION_KEY, f"{KEYS}{name}", json.dumps(message, separators=(",", ":")))
            for message, name in messages
        ]
        try:
            answers: list[Answer | None] = [read_answer(one) for one in await self._evaluate(texts)]
        except (RedisError, OSError, TimeoutError, ValueError, IndexError) as error:
            self._failed(error)
            return [None] * len(messages)
        if self.problem is not None:
            logger.warning("the store of shared limits is reachable again")
        self.problem, self._down_until, self.heard_at = None, 0.0, time.time()
        return answers

    async def _evaluate(self, texts: Sequence[tuple[str, str, str]]) -> list[Any]:
        from redis.exceptions import NoScriptError

        script, client = self._script, self._client
        try:
            if len(texts) == 1 or self.url.kind == "cluster":
                return [await client.evalsha(script.sha, 2, *text) for text in texts]
            pipeline = client.pipeline(transaction=False)
            for text in texts:
                pipeline.evalsha(script.sha, 2, *text)
            replies: list[Any] = await pipeline.execute()
            return replies
        except NoScriptError:  # a store that has just begun; nothing was done with any of them
            return [await client.eval(script.text, 2, *text) for text in texts]

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._down_until = time.monotonic() + DOWN_SECONDS
        kind = type(error).__name__  # its text may hold what was sent
        if self.problem is None:
            logger.error("the store of shared limits cannot be reached: %s", kind)
        self.problem = kind

    def _lock(self, share: Shared) -> asyncio.Lock:
        return self._locks.setdefault(share, asyncio.Lock())

    @cached_property
    def _client(self) -> Any:
        return self.url.client(CONNECTIONS_MAX, MESSAGE_SECONDS)

    @cached_property
    def _script(self) -> Script:
        return Script((files("penstock.meter") / "limits.lua").read_text(encoding="utf-8"))


class Script:
    """The store's side, and the name it is called by."""

    def __init__(self, text: str) -> None:
        import hashlib

        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def read_answer(reply: Any) -> Answer:
    """The store's reply (limits.lua, ``answer``) as a value. ValueError when it is none."""
    if not isinstance(reply, list) or len(reply) < 8:
        raise ValueError("not an answer of the limits' script")
    words = [word.decode() if isinstance(word, bytes) else word for word in reply]
    status, now, generation, grant, piece, total, wait, pods = words[:8]
    rest = words[8:]
    totals = {str(name): float(value) for name, value in zip(rest[::2], rest[1::2], strict=True)}
    return Answer(
        str(status), int(now) / 1000, str(generation), int(grant), int(piece or 0),
        int(wait) / 1000, max(1, int(pods)), totals, int(total),
    )  # fmt: skip
