"""``subscriptions/listen``: a newer client's stream of changes, from all servers it asks about.

The acknowledgement comes first and names what is honoured: resources that may not be read, or whose
server does not tell of changes, are left out. A client that does not read loses its stream, and
opens another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.subscriptions import InMemorySubscriptionBus, ServerEvent
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourceUpdated,
    event_matches,
    event_to_notification,
)
from mcp.types import (
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenResult,
)

from penstock.gateway.clients.parties import Party
from penstock.gateway.clients.subscriptions import SUBSCRIPTIONS_MAX, Subscriptions
from penstock.gateway.governed import Params
from penstock.gateway.names import uri_of

# Streams at once: of everybody, and of one client, which needs one for each of its views.
STREAMS_MAX = 2000
STREAMS_OF_ONE_MAX = 32
# Changes that wait for a client to read.
WAITING_MAX = 256
# How long the acknowledgement waits for servers to agree.
ACKNOWLEDGE_SECONDS = 10.0


class Stream:
    """One open stream; a ``subscriptions.Listener``."""

    def __init__(self, lists: SubscriptionFilter) -> None:
        self.lists = lists
        self.events: asyncio.Queue[ServerEvent | None] = asyncio.Queue(WAITING_MAX)

    def changed(self, event: ServerEvent) -> None:
        """A list changed."""
        if event_matches(self.lists, frozenset(), event):
            self._put(event)

    async def updated(self, uri: str, _params: Params) -> None:
        self._put(ResourceUpdated(uri))

    def end(self) -> None:
        """Close it in good order."""
        while self.events.full():
            self.events.get_nowait()
        self.events.put_nowait(None)

    def _put(self, event: ServerEvent) -> None:
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.end()


class Listening:
    """All open streams."""

    def __init__(self, bus: InMemorySubscriptionBus, subscriptions: Subscriptions) -> None:
        self.bus, self.subscriptions = bus, subscriptions
        self.streams: dict[Stream, str] = {}  # whose

    async def serve(
        self, context: Any, party: Party, wanted: SubscriptionFilter
    ) -> SubscriptionsListenResult:
        """One stream, until the client is gone or ``close``."""
        lists = SubscriptionFilter(
            tools_list_changed=wanted.tools_list_changed or None,
            prompts_list_changed=wanted.prompts_list_changed or None,
            resources_list_changed=wanted.resources_list_changed or None,
        )
        stream = Stream(lists)
        meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        with self._open(stream, party):
            honoured = await self._subscribe(party, wanted.resource_subscriptions or [], stream)
            granted = lists.model_copy(update={"resource_subscriptions": honoured or None})
            params = SubscriptionsAcknowledgedNotificationParams(notifications=granted, _meta=meta)
            await context.session.send_notification(
                SubscriptionsAcknowledgedNotification(params=params),
                related_request_id=context.request_id,
            )
            while (event := await stream.events.get()) is not None:
                await context.session.send_notification(
                    event_to_notification(event, meta), related_request_id=context.request_id
                )
        return SubscriptionsListenResult(_meta=meta)

    @contextmanager
    def _open(self, stream: Stream, party: Party) -> Iterator[None]:
        own = sum(1 for key in self.streams.values() if key == party.key)
        if len(self.streams) >= STREAMS_MAX or own >= STREAMS_OF_ONE_MAX:
            raise MCPError(-32603, "Subscription limit reached")
        self.streams[stream] = party.key
        leave = self.bus.subscribe(stream.changed)
        try:
            yield
        finally:
            leave()
            self.subscriptions.forget(stream)
            del self.streams[stream]

    async def _subscribe(self, party: Party, uris: list[str], stream: Stream) -> list[str]:
        async def one(named: str) -> bool:
            server, own = uri_of(named)
            upstream = self.subscriptions.upstreams.get(server)
            if upstream is None or not own:
                return False
            try:
                async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                    await self.subscriptions.add(party, upstream, own, stream)
            except (MCPError, TimeoutError):
                return False
            return True

        asked = list(dict.fromkeys(uris))[:SUBSCRIPTIONS_MAX]
        agreed = [await one(named) for named in asked[:1]]
        agreed += await asyncio.gather(*(one(named) for named in asked[1:]))
        return [named for named, yes in zip(asked, agreed, strict=True) if yes]

    def close(self) -> None:
        """End all streams in good order."""
        for stream in list(self.streams):
            stream.end()
