"""The SDK's two transports to a server by URL, each request with the key it is to carry."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from penstock.gateway.servers.file import ServerEntry
from penstock.gateway.servers.keys import Keyed

CONNECT_SECONDS = 30.0
# Answers: as long as an agent waits for a tool (the SDKs' own bound for silent streams).
ANSWER_SECONDS = 300.0


async def transport_to(
    entry: ServerEntry, keyed: Keyed, failed: Callable[[], None], stack: AsyncExitStack
) -> Any:
    """A transport to the entry's URL; ``failed`` is told when it is of no use any more."""
    assert entry.url is not None  # asked for servers by URL
    headers = dict(entry.headers)
    if entry.transport == "sse":
        factory = partial(WatchedClient, failed)
        return sse_client(entry.url, headers=headers, auth=keyed, httpx_client_factory=factory)
    timeout = httpx2.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS)
    http = httpx2.AsyncClient(headers=headers, timeout=timeout, auth=keyed)
    return streamable_http_client(entry.url, http_client=await stack.enter_async_context(http))


class WatchedClient(httpx2.AsyncClient):
    """Says when a request fails: the SDK's older transport is of no use then, and does not say."""

    def __init__(self, failed: Callable[[], None], **given: Any) -> None:
        super().__init__(**{name: value for name, value in given.items() if value is not None})
        self._failed = failed

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            response = await super().send(request, **how)
        except httpx2.HTTPError:
            self._failed()
            raise
        if response.status_code >= 400:
            self._failed()
        return response
