"""Addon Identify: who calls, what is called, and what the call says.

Runs capture, identify and parse. A flow that is no AI call gets no LiveCall and is left
alone by every later addon; a body that cannot be read gets one that says so, because what
cannot be inspected must not slip through as if it had been.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable

from mitmproxy import connection, http

from penstock import wire
from penstock.caller import identify_caller
from penstock.caller.identity import Identity
from penstock.destinations import by_shape, identify
from penstock.exchange import Caller, Destination, Exchange, HttpRequest, Process
from penstock.policy.call import Call
from penstock.proxy.addons.callers import IDENTITY
from penstock.proxy.call import FAILED, KEY, LiveCall, call_of, new_id, tell_failure
from penstock.proxy.capture import (
    UninspectableError,
    called_host,
    headers_of,
    request_head_of,
    request_of,
)
from penstock.proxy.governance import Governance
from penstock.proxy.offload import OFFLOADED_BYTES, offload

# Connections whose proxy credentials and process are remembered; mitmproxy reports each end,
# so this bounds only what a missed report could leave behind.
CONNECTIONS_MAX = 10_000


class Identify:
    """Puts a LiveCall into the flow's metadata when the flow is an AI call."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.credentials: dict[str, str] = {}  # connection id -> Proxy-Authorization
        self.processes: dict[str, Process | None] = {}
        self.searching = asyncio.Lock()

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Remember who opened the tunnel: the header comes with CONNECT and never again."""
        self.remember_credentials(flow)

    async def client_connected(self, client: connection.Client) -> None:
        """Look up the local process behind a loopback connection.

        One that called lately is found on the loop; the search for another is made off it, and
        once for all connections that a program opens at the same time.
        """
        finder = self.governance.processes
        if finder is None or len(self.processes) >= CONNECTIONS_MAX:
            return
        ends = client.peername[:2], client.sockname[:2]
        if not ipaddress.ip_address(ends[0][0].partition("%")[0]).is_loopback:
            return
        found = finder.at_once(*ends)
        if found is None:
            async with self.searching:
                found = finder.at_once(*ends) or await asyncio.to_thread(finder.find, *ends)
        self.processes[client.id] = found

    def client_disconnected(self, client: connection.Client) -> None:
        self.credentials.pop(client.id, None)
        self.processes.pop(client.id, None)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if flow.response is not None or flow.error is not None:
            return None
        began = time.perf_counter()
        self.remember_credentials(flow)
        if len(flow.request.raw_content or b"") > OFFLOADED_BYTES:
            return self.identify_aside(flow, began)
        self.keep(flow, self.identify(flow), began)
        return None

    async def identify_aside(self, flow: http.HTTPFlow, began: float) -> None:
        self.keep(flow, await offload(self.identify, flow), began)

    def keep(self, flow: http.HTTPFlow, live: LiveCall | None, began: float) -> None:
        if live is not None:
            flow.metadata[KEY] = live
            live.began = began
            live.own_seconds = time.perf_counter() - began

    def response(self, flow: http.HTTPFlow) -> None:
        """A call whose identification failed still gets its Record."""
        if FAILED in flow.metadata:
            self.identify_late(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """So does one that ended before its request was complete."""
        self.identify_late(flow)

    def identify_late(self, flow: http.HTTPFlow) -> None:
        """Tell from the request's head what a call was that nobody got to look into."""
        if call_of(flow) is not None or flow.request.method == "CONNECT":
            return
        self.remember_credentials(flow)
        host = called_host(flow)
        port = flow.request.port or (flow.server_conn.address or ("", 0))[1]
        destination = identify(host, port, flow.request.path)
        request = request_head_of(flow, headers_of(flow.request), host)
        exchange = wire.read_request(request, destination)
        if self.is_ai(exchange, destination):
            call = self.call(flow, request, exchange, destination)
            flow.metadata[KEY] = LiveCall(call, request, wire.family_of(exchange.api))
            if FAILED in flow.metadata:
                result, where = flow.metadata[FAILED]
                tell_failure(flow, result, where)

    def remember_credentials(self, flow: http.HTTPFlow) -> None:
        # Hop by hop (RFC 9110 section 11.7.2): read here, never forwarded.
        if "proxy-authorization" not in flow.request.headers:
            return
        value = flow.request.headers.pop("proxy-authorization", None)
        if value and len(self.credentials) < CONNECTIONS_MAX:
            self.credentials[flow.client_conn.id] = value

    def identify(self, flow: http.HTTPFlow) -> LiveCall | None:
        headers = headers_of(flow.request)
        host = called_host(flow)
        destination = identify(host, flow.request.port, flow.request.path)
        problem = None
        try:
            request = request_of(flow, headers, host)
        except UninspectableError as error:
            problem = str(error)
            request = request_head_of(flow, headers, host)
        exchange = wire.read_request(request, destination)
        if not destination.known:
            destination = by_shape(destination, exchange.api)
        if problem is None and not self.is_ai(exchange, destination):
            if not self.governance.governs_other:
                return None
            # Where it may go is the policy's; what it says is not AI and none of our business.
            exchange.leaves, exchange.problem = [], None
        live = LiveCall(
            self.call(flow, request, exchange, destination), request, wire.family_of(exchange.api)
        )
        live.uninspectable = problem
        if (identity := flow.metadata.get(IDENTITY)) is not None:
            live.subject, live.proved = identity.token, True
        return live

    def is_ai(self, exchange: Exchange, destination: Destination) -> bool:
        """AI by catalogue, by a rule that names the host, or by the shape of the call."""
        if destination.category != "other" or not exchange.api.startswith("unknown"):
            return True
        return self.governance.names(destination.host, destination.port)

    def call(
        self,
        flow: http.HTTPFlow,
        request: HttpRequest,
        exchange: Exchange,
        destination: Destination,
    ) -> Call:
        return Call(
            exchange=exchange,
            caller=self.caller(flow.client_conn.id, request, flow.metadata.get(IDENTITY)),
            destination=destination,
            id=new_id(),
            body_bytes=len(request.body),
            method=request.method,
            scheme=request.scheme,
            path=request.path.partition("?")[0],
        )

    def caller(
        self, connection_id: str, request: HttpRequest, identity: Identity | None = None
    ) -> Caller:
        """Who makes a request over a connection."""
        return identify_caller(
            request.headers,
            fingerprint_key=self.governance.keys.fingerprint,
            path=request.path,
            workload=self.governance.workload,
            proxy_authorization=self.credentials.get(connection_id),
            process=self.processes.get(connection_id),
            identity=identity,
        )
