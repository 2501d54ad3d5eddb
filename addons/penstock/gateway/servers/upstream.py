"""One server behind ``penstock mcp serve``: connected, and kept connected."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mcp.shared.exceptions import MCPError

from penstock.gateway.servers.connection import Connection
from penstock.gateway.servers.file import ServerEntry
from penstock.gateway.servers.keys import KeyUnavailableError, Opening
from penstock.gateway.servers.unreachable import name_of, unreachable
from penstock.gateway.stdio.process_keys import environment_of
from penstock.proxy.governance import Governance
from penstock.route.credentials.fetched import SourceError

# From the first failure to the longest pause: a server that was restarted is found in a second, one
# that is down costs one attempt a minute.
BACK_OFF_SECONDS = 1.0
BACK_OFF_SECONDS_MAX = 60.0
# A server that ran that long failed by an accident and not by its start.
STEADY_SECONDS = 60.0
# Connections of callers to one server, and how long one stays that nobody uses.
CALLERS_MAX = 256
IDLE_SECONDS = 600.0
# How often it is looked whether a process still has the keys that are good.
KEYS_SECONDS = 5.0


@dataclass(slots=True)
class Status:
    """What ``/status`` shows of a server; no addresses, no headers."""

    state: str = "starting"
    era: str | None = None
    failures: int = 0
    error: str | None = None
    tools: int | None = None
    since: float = field(default_factory=time.time)

    def set(self, state: str, error: str | None = None) -> None:
        self.state, self.error, self.since = state, error, time.time()


@dataclass(slots=True, frozen=True)
class Around:
    """What servers need of the endpoint they stand behind.

    ``hear`` takes what a server says besides answers; ``opening`` is how keys are found for
    connections that are nobody's.
    """

    governance: Governance
    tell: Callable[[str], None]
    changed: Callable[[str], None]
    hear: Callable[[Connection, str, dict[str, Any]], Awaitable[None]]
    opening: Callable[[Upstream], Opening]
    way_out: tuple[str, ...] = ()


class Upstream:
    """A server and its connections."""

    def __init__(self, name: str, entry: ServerEntry, around: Around) -> None:
        self.name, self.entry, self.around = name, entry, around
        self.status = Status()
        self.main: Connection | None = None
        self.callers: dict[str, Connection] = {}
        self.keys: dict[str, str] = {}  # what a process was started with
        self.dropped = 0  # messages of connections that have ended
        self._supervising = asyncio.create_task(self._supervise())

    @property
    def url(self) -> str:
        """What rules call the server."""
        return self.entry.url or f"stdio://{self.name}"

    @property
    def connections(self) -> list[Connection]:
        """All that are open or being opened."""
        return [*([] if self.main is None else [self.main]), *self.callers.values()]

    async def connection(self, owner: str, opening: Opening, older: bool) -> Connection:
        """The connection for this session; raises MCPError when the server cannot be had.

        ``older``: the session is a client's of the session era.
        """
        if not self.entry.per_caller:
            if self.main is None or self.main.closed.is_set():
                raise unreachable(self.name)
            return await self.main.ready()
        found = self.callers.get(owner)
        if found is None or found.closed.is_set():
            await self._make_room()
            found = self.callers.get(owner)  # somebody else may have opened it meanwhile
        if found is None or found.closed.is_set():
            found = self.callers[owner] = Connection(self, owner, opening, older=older)
        found.keyed.opening = opening
        return await found.ready()

    def of(self, owner: str) -> Connection | None:
        """The connection this session has now."""
        return self.callers.get(owner) if self.entry.per_caller else self.main

    async def release(self, owner: str) -> None:
        """A session is over: so is its connection."""
        found = self.callers.pop(owner, None)
        if found is not None:
            await found.close()

    async def _make_room(self) -> None:
        """Close what nobody uses, and the longest unused where there are too many."""
        now = time.monotonic()
        by_use = sorted(self.callers.items(), key=lambda pair: pair[1].used)
        over = len(by_use) - CALLERS_MAX + 1
        for number, (key, one) in enumerate(by_use):
            idle = not one.busy and now - one.used > IDLE_SECONDS
            crowded = number < over and not one.busy
            if one.closed.is_set() or idle or crowded:
                if self.callers.get(key) is one:
                    del self.callers[key]
                self.dropped += one.inbox.dropped
                await one.close()
        if len(self.callers) >= CALLERS_MAX:
            raise MCPError(-32603, f"too many callers use {self.name} at once")

    async def process_keys(self) -> dict[str, str]:
        """The variables a process is started with. SourceError when a key is not to be had."""
        self.keys = await environment_of(self.entry.keys, self.around.governance)
        return self.keys

    # ------------------------------------------------------------------ supervision

    async def _supervise(self) -> None:
        """Keep one connection open: for everybody, or to know that the server is there."""
        failed = 0
        while True:
            began = time.monotonic()
            self.main = main = Connection(self, None, self.around.opening(self))
            renewing = False
            try:
                await self._connected(main)
                renewing = await self._until_over(main)
            except Exception as error:  # noqa: BLE001 - whatever a server does, it is tried again
                main.error = main.error or name_of(error)
            await main.close()
            self.dropped += main.inbox.dropped
            if renewing:
                continue
            failed = 0 if time.monotonic() - began > STEADY_SECONDS else failed + 1
            if self.entry.per_caller and main.error == KeyUnavailableError.__name__:
                # Callers have keys of their own; without a caller there is none.
                self.status.set("by callers", None)
            else:
                self.status.failures += 1
                self.status.set("unreachable", main.error)
                self.around.tell(f"{self.name}: {main.error or 'the connection ended'}")
            pause = min(BACK_OFF_SECONDS * 2 ** min(max(failed - 1, 0), 10), BACK_OFF_SECONDS_MAX)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311

    async def _connected(self, main: Connection) -> None:
        await main.ready()
        client = main.client
        if client is None:
            raise unreachable(self.name)  # it has ended already
        self.status.era = client.protocol_version
        self.status.tools = len(await main.listed("tools"))
        self.status.set("connected")
        self.around.changed("tools")

    async def _until_over(self, main: Connection) -> bool:
        """Wait for its end; True when it was ended because a key of the process changed."""
        if not self.entry.keys:
            await main.closed.wait()
            return False
        while not main.closed.is_set():
            try:
                await asyncio.wait_for(main.closed.wait(), KEYS_SECONDS)
            except TimeoutError:
                if not main.running and await self._keys_changed():
                    self.around.tell(f"{self.name}: started again, a key of it has changed")
                    return True
        return False

    async def _keys_changed(self) -> bool:
        try:
            return await environment_of(self.entry.keys, self.around.governance) != self.keys
        except SourceError:
            return False  # the process has what was good last

    async def close(self) -> None:
        self._supervising.cancel()
        await asyncio.gather(self._supervising, return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self.connections), return_exceptions=True)
        self.status.set("stopped")
