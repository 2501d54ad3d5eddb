"""Which destinations are decrypted, decided before any certificate is shown.

``wants(host, port)`` is asked about what CONNECT names and about the ClientHello's server
name. Every name must be content: one "deny" refuses, one "intercept" decrypts (so a
tunnel to a harmless name cannot carry an AI service's handshake past the checks), and
only when all say "tunnel" do the bytes pass as they are, with the destination's own
certificate. With encrypted ClientHello the visible name is a cover name: in a tunnel
CONNECT still names the destination; on a redirected connection its sight is reported
(no more: browsers also send the extension without meaning it, to keep it usable).
"""

from __future__ import annotations

from mitmproxy import http
from mitmproxy.tls import ClientHelloData

from penstock.proxy.engine.fail_closed import REFUSED
from penstock.proxy.engine.guard import closed_address, literal_address, normal_host
from penstock.proxy.engine.problem import FORBIDDEN, NOT_ALLOWED, Problem
from penstock.proxy.engine.runtime import Runtime, Wish
from penstock.proxy.engine.tls import DENIED

ENCRYPTED_CLIENT_HELLO = 0xFE0D  # RFC 9849


class Passthrough:
    """The addon that tells interception, tunnel and refusal apart."""

    name = "passthrough"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a CONNECT that can never be served, where the client can read why."""
        host, port = flow.request.host, flow.request.port
        literal = literal_address(host)
        settings = self._runtime.settings
        if (
            literal is not None
            and (normal_host(host), port) not in settings.connect_to
            and closed_address(literal, port, self._runtime.own_ports)
        ):
            self._refuse(flow, FORBIDDEN)
        elif self._runtime.callbacks.wants(normal_host(host), port) == "deny":
            self._refuse(flow, NOT_ALLOWED)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse what came without a tunnel to a destination that would get none.

        A port that stands for one server is as good as the policy naming it.
        """
        if (
            flow.response is not None
            or flow.error is not None
            or flow.client_conn.tls_established
            or flow.client_conn.proxy_mode.type_name == "reverse"
        ):
            return
        wish = self._runtime.callbacks.wants(normal_host(flow.request.host), flow.request.port)
        if wish == "deny":
            self._refuse(flow, NOT_ALLOWED)

    def _refuse(self, flow: http.HTTPFlow, problem: Problem) -> None:
        headers, body = self._runtime.callbacks.error_page(problem.status, problem.code)
        flow.response = http.Response.make(problem.status, body)
        for name, value in headers:
            flow.response.headers[name] = value
        flow.metadata[REFUSED] = problem.code
        self._runtime.callbacks.refused(problem.code, normal_host(flow.request.host))

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Decide what happens to a TLS connection."""
        context = data.context
        server_name = data.client_hello.sni
        address = context.server.address
        names = [server_name] if server_name else []
        # On a redirected connection the address says nothing the name does not say better.
        redirected = context.client.proxy_mode.type_name == "transparent"
        if address is not None and not (redirected and server_name):
            names.append(address[0])
        port = address[1] if address else 443
        shown = normal_host(names[0]) if names else ""
        wish = self._strictest(names, port)
        if wish == "deny":
            context.client.error = DENIED
            self._runtime.callbacks.refused(NOT_ALLOWED.code, shown)
        elif wish == "tunnel":
            data.ignore_connection = True
            if redirected:
                context.server.sni = server_name  # --connect-to goes by the name
        if redirected and any(
            kind == ENCRYPTED_CLIENT_HELLO for kind, _ in data.client_hello.extensions
        ):
            self._runtime.callbacks.refused("encrypted_client_hello_seen", shown)

    def _strictest(self, names: list[str], port: int) -> Wish:
        wishes = {self._runtime.callbacks.wants(normal_host(name), port) for name in names}
        if "deny" in wishes or not wishes:
            return "deny"
        return "intercept" if "intercept" in wishes else "tunnel"
