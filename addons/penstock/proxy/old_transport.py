"""Refusals on the older MCP transport: the client waits for its answers on another call.

HTTP+SSE (2024-11-05): a GET opens a stream whose first event names the address calls are posted
to, and every answer comes on that stream. A refusal said to the POST would be a transport error
to the client; said here it is an answer.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urljoin
from weakref import WeakValueDictionary

from mitmproxy import ctx, http

from penstock.exchange import HttpRequest
from penstock.policy.grants import person
from penstock.proxy.call import LiveCall
from penstock.proxy.engine.deadlines import Said

# Longer addresses are no endpoints.
ADDRESS_CHARACTERS_MAX = 4096


class OldStreams:
    """The open streams by the address their calls are posted to. They end with their flows."""

    def __init__(self) -> None:
        self._open: WeakValueDictionary[tuple[str, str], http.HTTPFlow] = WeakValueDictionary()
        self._saying: set[asyncio.Task[None]] = set()

    def opened(self, live: LiveCall, flow: http.HTTPFlow, endpoint: str) -> None:
        """The stream of ``flow`` named the address ``endpoint`` (as it stands in the event)."""
        address = urljoin(_address(live.request), endpoint.strip())
        if len(endpoint) <= ADDRESS_CHARACTERS_MAX:
            self._open[(address, person(live.call.caller))] = flow

    def say(self, live: LiveCall, event: bytes) -> bool:
        """Say ``event`` on the caller's own stream that answers its call; False without one.

        Somebody else may know the address: nothing of theirs is said on this caller's stream.
        """
        flow = self._open.get((_address(live.request), person(live.call.caller)))
        if flow is None or not flow.live:
            return False
        listeners: Any = ctx.master.addons.get("proxyserver")
        handler = listeners.connections.get(flow.client_conn.id)
        exchange = listeners.exchange_of(flow)
        if handler is None or exchange is None:
            return False
        task = asyncio.get_running_loop().create_task(handler.server_event(Said(exchange, event)))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)
        return True


def _address(request: HttpRequest) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    default = {"https": 443, "http": 80}.get(request.scheme)
    port = "" if request.port == default else f":{request.port}"
    return f"{request.scheme}://{host}{port}{request.path}"
