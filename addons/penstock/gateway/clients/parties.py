"""Who is at the endpoint: one party for each session of an older client, and for each newer caller.

A party remembers what it wants to hear. What it holds at servers ends with it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from mcp.types import LOG_LEVEL_META_KEY

from penstock.exchange import Caller
from penstock.gateway.governed import Asks, Params
from penstock.gateway.servers.connection import LEVELS, UPDATED
from penstock.proxy.governance import caller_key
from penstock.wire.jsonrpc.shape import is_modern
from penstock.wire.loose import as_dict

# As many as the SDK's server keeps sessions; the longest unused is forgotten.
PARTIES_MAX = 10_000
# What servers say unasked and a client is told: as much at once as the first, then at this rate.
# A person reads a few lines a second; more would fill the client's memory.
TOLD_AT_ONCE = 100
TOLD_PER_SECOND = 20.0
PROTOCOL_META = "io.modelcontextprotocol/"
CAPABILITIES = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


@dataclass(slots=True, eq=False)
class Party:
    """One client. ``connections`` are those of an older one, that can be told things unasked."""

    key: str
    asks: Asks
    connections: WeakSet[Any] = field(default_factory=WeakSet)
    level: str | None = None  # of log messages; None: what servers say by themselves
    room: float = TOLD_AT_ONCE
    looked: float = field(default_factory=time.monotonic)
    dropped: int = 0
    tasks: dict[str, bool] = field(default_factory=dict)  # by name here; True: over

    async def updated(self, _uri: str, params: Params) -> None:
        """``subscriptions.Listener``, for a session of the older era."""
        await self.notify(UPDATED, params)

    @property
    def modern(self) -> bool:
        return is_modern(self.asks.version)

    @property
    def older(self) -> bool:
        return not self.modern

    def may_hear(self) -> bool:
        """True while it is told no more than it may be; counted."""
        now = time.monotonic()
        self.room = min(TOLD_AT_ONCE, self.room + (now - self.looked) * TOLD_PER_SECOND)
        self.looked = now
        if self.room < 1:
            self.dropped += 1
            return False
        self.room -= 1
        return True

    async def notify(self, method: str, params: Params) -> None:
        """Tell it on the stream that belongs to no call; it has to be an older client."""
        for connection in list(self.connections):
            await connection.notify(method, params)


class Parties:
    """``ended`` is told of a session that is over."""

    def __init__(self, ended: Callable[[Party], Awaitable[None]]) -> None:
        self.known: OrderedDict[str, Party] = OrderedDict()
        self._ended = ended

    def of(self, context: Any, asks: Asks) -> Party:
        """The party a request is from."""
        key = session_key(asks.caller)
        party = self.known.get(key)
        if party is None:
            party = self.known[key] = Party(key, asks)
            while len(self.known) > PARTIES_MAX:
                self.known.popitem(last=False)
        party.asks = asks
        self.known.move_to_end(key)
        connection = connection_of(context)
        if not party.modern and connection not in party.connections:
            party.connections.add(connection)
            connection.exit_stack.push_async_callback(self._gone, party, connection)
        return party

    async def _gone(self, party: Party, connection: Any) -> None:
        party.connections.discard(connection)
        if not party.connections:
            self.known.pop(party.key, None)
            await self._ended(party)


def connection_of(context: Any) -> Any:
    """The client's connection. The SDK hands out sessions that live as long as one request."""
    return context.session._connection


def session_key(caller: Caller) -> str:
    """Whose connection: the caller's, and of its sessions (an older client's) this one's."""
    return f"{caller_key(caller)}\x1f{caller.session or ''}"


def own_params(context: Any) -> Params:
    """The request's parameters as they came, without what belongs to the client's own hop."""
    params = dict(context.params or {})
    meta = {
        name: value
        for name, value in (params.pop("_meta", None) or {}).items()
        if name != "progressToken" and not name.startswith(PROTOCOL_META)
    }
    return {**params, "_meta": meta} if meta else params


def able(context: Any, method: str) -> bool:
    """True when the client said that it can be asked this."""
    capabilities = context.session.client_capabilities
    return getattr(capabilities, CAPABILITIES[method], None) is not None


def abilities(context: Any) -> Params:
    """What the client says it can, as a server of the newer era is told with each request."""
    capabilities = context.session.client_capabilities
    if capabilities is None:
        return {}
    said = capabilities.model_dump(by_alias=True, mode="json", exclude_none=True)
    passed = (*CAPABILITIES.values(), "extensions")
    return {name: value for name, value in said.items() if name in passed}


def extended(context: Any, extension: str) -> bool:
    """True when a client of the newer era said that it knows the extension."""
    capabilities = context.session.client_capabilities
    return extension in (getattr(capabilities, "extensions", None) or {})


def level_of(context: Any, party: Party) -> str | None:
    """From which level on the client wants log messages of this request."""
    if not party.modern:
        return party.level
    asked = as_dict(as_dict(context.params).get("_meta")).get(LOG_LEVEL_META_KEY)
    return asked if asked in LEVELS else None
