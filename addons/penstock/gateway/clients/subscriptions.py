"""Which client wants to be told of which resource, and that the servers tell.

A subscription is judged when it is made, and again at delivery once the policy has changed. A task
for each server and session keeps the server telling: after a lost connection, a restart or another
entry in the file it subscribes again, and tells the client of each resource, since nobody knows
what changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcp.shared.exceptions import MCPError

from penstock.gateway.clients.parties import Party
from penstock.gateway.governed import Governed, Params
from penstock.gateway.names import BEFORE_URI
from penstock.gateway.servers.connection import UPDATED, Connection
from penstock.gateway.servers.upstream import Upstream

# Of one client, over all servers; an editor watches the files it has open.
SUBSCRIPTIONS_MAX = 500
# Between tries to subscribe again, doubled up to the second.
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 1.0, 60.0
SUBSCRIBE = "resources/subscribe"

Place = tuple[str, str]  # server, session
GovernedFor = Callable[[Upstream, Party], Governed]


class Listener(Protocol):
    """Who is told: a session of the older era, or a stream of the newer."""

    async def updated(self, uri: str, params: Params) -> None:
        """The resource, by its name here, has changed."""
        ...


@dataclass(slots=True)
class Watch:
    """What one session wants to hear of one server, by the server's own URIs."""

    party: Party
    listeners: dict[str, set[Listener]] = field(default_factory=dict)
    judged: dict[str, str] = field(default_factory=dict)  # URI -> hash of the policy it passed
    again: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None
    lost: bool = False


class Subscriptions:
    """``upstreams`` are those in use, by name."""

    def __init__(self, upstreams: Mapping[str, Upstream], governed: GovernedFor) -> None:
        self.upstreams, self.governed = upstreams, governed
        self.watches: dict[Place, Watch] = {}

    async def add(self, party: Party, upstream: Upstream, uri: str, listener: Listener) -> None:
        """Tell ``listener`` of the resource; raises MCPError where it may not or cannot be."""
        count = sum(len(one.listeners) for one in self.watches.values() if one.party is party)
        if count >= SUBSCRIPTIONS_MAX:
            raise MCPError(-32603, f"a client has {SUBSCRIPTIONS_MAX} subscriptions at most")
        governed = self.governed(upstream, party)

        async def send(sent: Params) -> dict[str, Any]:
            connection = await upstream.connection(party.key, governed.opening_key, party.older)
            if not tells(connection):
                raise MCPError(-32601, f"{upstream.name} does not tell of changed resources")
            await connection.watch(self._wanted(connection) | {str(sent["uri"])})
            return {}

        await governed.call(SUBSCRIBE, {"uri": uri}, send)
        place = upstream.name, party.key
        watch = self.watches.setdefault(place, Watch(party))
        watch.party = party
        watch.listeners.setdefault(uri, set()).add(listener)
        watch.judged[uri] = self._policy(governed)
        if watch.keeper is None:
            watch.keeper = asyncio.create_task(self._keep(place, watch))

    def remove(self, party: Party, server: str, uri: str, listener: Listener) -> None:
        """Tell it no more of this one; nothing where it was not told."""
        watch = self.watches.get((server, party.key))
        if watch is not None:
            self._drop(watch, uri, listener)

    def forget(self, listener: Listener) -> None:
        """Tell it nothing more."""
        for watch in list(self.watches.values()):
            for uri in list(watch.listeners):
                self._drop(watch, uri, listener)

    def forget_party(self, party: Party) -> None:
        """Its session is over."""
        for place in [place for place in self.watches if place[1] == party.key]:
            watch = self.watches[place]
            watch.listeners.clear()
            watch.again.set()

    def _drop(self, watch: Watch, uri: str, listener: Listener) -> None:
        told = watch.listeners.get(uri)
        if told is None:
            return
        told.discard(listener)
        if not told:
            del watch.listeners[uri]
            watch.judged.pop(uri, None)
            watch.again.set()

    async def close(self) -> None:
        keepers = [one.keeper for one in self.watches.values() if one.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    # ------------------------------------------------------------------ keeping

    def _wanted(self, connection: Connection) -> frozenset[str]:
        """What the sessions of a connection want to hear."""
        name = connection.upstream.name
        if connection.owner is not None:
            own = self.watches.get((name, connection.owner))
            return frozenset(own.listeners if own is not None else ())
        shared = (one for place, one in self.watches.items() if place[0] == name)
        return frozenset(uri for one in shared for uri in one.listeners)

    async def _keep(self, place: Place, watch: Watch) -> None:
        pause = AGAIN_SECONDS
        while True:
            watch.again.clear()
            try:
                connection = await self._subscribed(place, watch)
            except MCPError:
                watch.lost = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watch.again.wait(), pause)
                pause = min(2 * pause, AGAIN_SECONDS_MAX)
                if watch.listeners:
                    continue
                connection = None
            if not watch.listeners:
                del self.watches[place]
                return
            assert connection is not None  # it is subscribed
            pause = AGAIN_SECONDS
            if watch.lost:
                watch.lost = False
                for uri in list(watch.listeners):
                    await self._tell(connection.upstream, watch, uri, {"uri": uri})
            await self._until_other(connection, watch)
            watch.lost = connection.closed.is_set()

    async def _subscribed(self, place: Place, watch: Watch) -> Connection:
        upstream = self.upstreams.get(place[0])
        if upstream is None:
            raise MCPError(-32603, "the server is not in the file any more")
        opening = self.governed(upstream, watch.party).opening_key
        connection = await upstream.connection(watch.party.key, opening, watch.party.older)
        await connection.watch(self._wanted(connection))
        return connection

    async def _until_other(self, connection: Connection, watch: Watch) -> None:
        waits = [
            asyncio.create_task(connection.closed.wait()),
            asyncio.create_task(watch.again.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    # ------------------------------------------------------------------ telling

    async def updated(self, connection: Connection, params: Params) -> None:
        """A server says that a resource changed; it may be a part of the one subscribed to."""
        uri = str(params.get("uri") or "")
        upstream = connection.upstream
        for (server, owner), watch in list(self.watches.items()):
            if server != upstream.name or connection.owner not in (None, owner):
                continue
            if any(is_part(uri, wanted) for wanted in watch.listeners):
                await self._tell(upstream, watch, uri, params)

    async def _tell(self, upstream: Upstream, watch: Watch, uri: str, params: Params) -> None:
        governed = self.governed(upstream, watch.party)
        if not await self._may_hear(governed, watch, uri):
            return
        allowed = await governed.told(UPDATED, params)
        if allowed is None:
            return
        named = f"{upstream.name}{BEFORE_URI}{uri}"
        listeners = [
            one for wanted, told in watch.listeners.items() if is_part(uri, wanted) for one in told
        ]
        for listener in dict.fromkeys(listeners):
            await listener.updated(named, {**allowed, "uri": named})

    async def _may_hear(self, governed: Governed, watch: Watch, uri: str) -> bool:
        """Judged again where the policy changed since, or it is not the resource itself."""
        policy = self._policy(governed)
        if watch.judged.get(uri) == policy:
            return True

        async def nothing(_sent: Params) -> dict[str, Any]:
            return {}

        try:
            await governed.call(SUBSCRIBE, {"uri": uri}, nothing)
        except MCPError:
            watch.listeners.pop(uri, None)
            watch.again.set()
            return False
        if uri in watch.listeners:
            watch.judged[uri] = policy
        return True

    @staticmethod
    def _policy(governed: Governed) -> str:
        return governed.service.governance.policy.hash


def is_part(uri: str, of: str) -> bool:
    """True for the resource itself and what lies below it."""
    return uri == of or uri.startswith(of if of.endswith("/") else f"{of}/")


def tells(connection: Connection) -> bool:
    """True when the server may be asked to tell of resources. One of the newer era says so when it
    acknowledges ``subscriptions/listen``; what it can do need not be known before."""
    if connection.modern:
        return True
    able: Any = connection.client.server_capabilities if connection.client is not None else None
    return bool(getattr(getattr(able, "resources", None), "subscribe", None))
