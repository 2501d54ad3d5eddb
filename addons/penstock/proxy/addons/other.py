"""Addon Other: one Record for what was refused because other traffic may not leave.

The engine's passthrough refuses it before there is a call: a plain request by its head, a
tunnel by the host it names, a redirected TLS connection by its server name. What a refused
request would have said is not read; its path tells whether it was meant for a model.
"""

from __future__ import annotations

import time

from mitmproxy import http
from mitmproxy.tls import ClientHelloData

from penstock import wire
from penstock.destinations import by_shape, identify
from penstock.exchange import Caller, Destination, Exchange, HttpRequest
from penstock.policy.decision import Reason
from penstock.proxy.addons.identify import Identify
from penstock.proxy.call import new_id
from penstock.proxy.capture import headers_of, request_head_of
from penstock.proxy.engine.fail_closed import REFUSED
from penstock.proxy.engine.guard import normal_host
from penstock.proxy.engine.problem import NOT_ALLOWED
from penstock.proxy.engine.request_head import HTTPS_PORT
from penstock.proxy.engine.tls import DENIED
from penstock.proxy.governance import Governance
from penstock.record.record import Record

# The key of the policy that refused it, in place of a rule's id.
OTHER_TRAFFIC = "other_traffic"


class Other:
    """Tells of calls and connections that never became a call."""

    def __init__(self, governance: Governance, identify: Identify) -> None:
        self.governance = governance
        self.identify = identify  # knows who opened a connection

    def response(self, flow: http.HTTPFlow) -> None:
        """A plain request was refused."""
        if flow.metadata.get(REFUSED) == NOT_ALLOWED.code:
            self.tell_of(flow)

    def http_connect_error(self, flow: http.HTTPFlow) -> None:
        """A tunnel was refused."""
        if flow.metadata.get(REFUSED) == NOT_ALLOWED.code:
            self.tell_of(flow)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """A TLS connection was refused: no request says more than the name it asked for."""
        context = data.context
        if context.client.error != DENIED:
            return
        address = context.server.address or ("", HTTPS_PORT)
        host = normal_host(data.client_hello.sni or address[0])
        caller = self.identify.caller(context.client.id, HttpRequest("", "https", host, 0, "", {}))
        self.tell(caller, identify(host, address[1], ""))

    def tell_of(self, flow: http.HTTPFlow) -> None:
        self.identify.remember_credentials(flow)
        host = normal_host(flow.request.host)  # what passthrough judged
        tunnel = flow.request.method == "CONNECT"
        path = "" if tunnel else flow.request.path
        destination = identify(host, flow.request.port, path)
        request = request_head_of(flow, headers_of(flow.request), host)
        exchange = None if tunnel else wire.read_request(request, destination)
        if exchange is not None:
            destination = by_shape(destination, exchange.api)
        caller = self.identify.caller(flow.client_conn.id, request)
        self.tell(caller, destination, request.method, path.partition("?")[0], exchange)

    def tell(
        self,
        caller: Caller,
        destination: Destination,
        method: str = "",
        path: str = "",
        exchange: Exchange | None = None,
    ) -> None:
        policy = self.governance.policy
        is_ai = exchange is not None and not exchange.api.startswith("unknown")
        self.governance.recorder.record(
            Record(
                id=new_id(),
                time=time.time(),
                caller=caller,
                destination=destination,
                mode=policy.mode,
                policy_hash=policy.hash,
                method=method,
                path=path,
                api=exchange.api if exchange is not None and is_ai else None,
                operation=exchange.operation if exchange is not None and is_ai else None,
                verdict="deny",
                would="deny",
                reasons=[Reason(OTHER_TRAFFIC, "deny", "deny", NOT_ALLOWED.message)],
                outcome="refused",
                status=NOT_ALLOWED.status if method else None,
            )
        )
