"""What servers say that is no answer: judged, and passed on to whom it concerns.

A connection of a caller's own concerns that caller. On one that all share it is known only while
calls of one caller run there, or while there is nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.types import LoggingMessageNotification

from penstock.gateway.clients.parties import Parties, Party
from penstock.gateway.clients.subscriptions import Subscriptions
from penstock.gateway.governed import Governed, Params
from penstock.gateway.servers.connection import LEVELS, UPDATED, Connection
from penstock.gateway.servers.upstream import Upstream

MESSAGE = "notifications/message"
PROGRESS = "notifications/progress"
ASKED_ELSEWHERE = "notifications/elicitation/complete"

GovernedFor = Callable[[Upstream, Party], Governed]


class Relay:
    """Takes the messages of all connections, one connection's in order."""

    def __init__(
        self, parties: Parties, subscriptions: Subscriptions, governed: GovernedFor
    ) -> None:
        self.parties, self.subscriptions, self.governed = parties, subscriptions, governed
        self.for_nobody = 0  # messages of which it is not known whom they concern

    async def hear(self, connection: Connection, method: str, params: Params) -> None:
        """``Around.hear``."""
        if method == UPDATED:
            await self.subscriptions.updated(connection, params)
            return
        if method not in (MESSAGE, ASKED_ELSEWHERE):
            return
        party = self._concerned(connection)
        if party is None:
            self.for_nobody += 1
        elif method == MESSAGE:
            await self._log(connection, party, params)
        elif not party.modern:  # the newer era has no such message
            allowed = await self.governed(connection.upstream, party).told(method, params)
            if allowed is not None:
                await party.notify(method, allowed)

    def _concerned(self, connection: Connection) -> Party | None:
        if connection.owner is not None:
            return self.parties.known.get(connection.owner)
        owners = {one.party for one in connection.running}
        if not owners and len(self.parties.known) == 1:
            owners = set(self.parties.known)
        return self.parties.known.get(owners.pop()) if len(owners) == 1 else None

    async def _log(self, connection: Connection, party: Party, params: Params) -> None:
        running = [one for one in connection.running if one.party == party.key]
        call = running[0] if len(running) == 1 else None
        level = (call.level if call is not None else None) if party.modern else party.level
        if (level is None and party.modern) or not loud_enough(params, level):
            return
        if not party.may_hear():
            return
        allowed = await self.governed(connection.upstream, party).told(MESSAGE, params)
        if allowed is None:
            return
        said = {**allowed, "logger": logger_of(connection.upstream.name, allowed)}
        if call is not None and call.notify is not None:
            await call.notify(
                LoggingMessageNotification.model_validate({"method": MESSAGE, "params": said})
            )
        else:
            await party.notify(MESSAGE, said)


def loud_enough(params: Mapping[str, Any], level: str | None) -> bool:
    """True for a message of at least this level."""
    said = params.get("level")
    return said in LEVELS and (level is None or LEVELS.index(said) >= LEVELS.index(level))


def logger_of(server: str, params: Mapping[str, Any]) -> str:
    """Who says it: the server, and what it calls its own logger."""
    own = params.get("logger")
    return f"{server}.{own}" if isinstance(own, str) and own else server
