"""Addon Callers: where the policy asks for it, nobody calls without saying who they are.

Looks at CONNECT, and at requests that come without a tunnel. Does nothing without ``callers``
in the policy. The proof of a tunnel is good for what comes through it, until it expires.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable
from inspect import isawaitable

from mitmproxy import connection, http

from penstock.caller.identity import Identity, NotProvedError
from penstock.proxy.authenticate import MISSING, Authentication
from penstock.proxy.governance import Governance

IDENTITY = "penstock.identity"  # in a flow's metadata
# As Identify: mitmproxy reports each end, so this bounds only what a missed report leaves.
CONNECTIONS_MAX = 10_000
NO_CERTIFICATE = "no client certificate"
EXPIRED = "what the connection was opened with has expired"


class Callers:
    """Asks for a proof and remembers it for the connection."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.tunnels: dict[str, Identity] = {}  # client connection id -> who opened the tunnel

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        authentication = self.governance.authentication
        if authentication is None or flow.response is not None:
            return None
        return self.ask(flow, authentication)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        authentication = self.governance.authentication
        if authentication is None or flow.response is not None or flow.error is not None:
            return None
        identity = self.tunnels.get(flow.client_conn.id)
        if identity is None:
            return self.ask(flow, authentication)
        flow.request.headers.pop("proxy-authorization", None)
        if identity.holds(time.time()):
            flow.metadata[IDENTITY] = identity
        else:
            self.not_proved(flow, authentication, EXPIRED)
            if flow.response is not None:
                # A client keeps its tunnels; only a new one can bring a new proof.
                flow.response.headers["connection"] = "close"
        return None

    def client_disconnected(self, client: connection.Client) -> None:
        self.tunnels.pop(client.id, None)
        self.governance.certificates.pop(client.id, None)

    def ask(self, flow: http.HTTPFlow, authentication: Authentication) -> Awaitable[None] | None:
        # Hop by hop (RFC 9110 section 11.7.2): read here, never forwarded.
        header = flow.request.headers.pop("proxy-authorization", None)
        certificate = self.governance.certificates.get(flow.client_conn.id)
        try:
            held = authentication.certified(certificate)
            if not header:
                if held is not None:
                    self.proved(flow, held)
                elif authentication.check.required:
                    self.not_proved(flow, authentication, missing(authentication))
                return None
            proved = authentication.prove(header)
        except NotProvedError as error:
            self.not_proved(flow, authentication, str(error))
            return None
        if isawaitable(proved):
            return self.wait(flow, authentication, proved, held)
        assert isinstance(proved, Identity)  # what is not to be awaited
        self.proved(flow, proved.on(held))
        return None

    async def wait(
        self,
        flow: http.HTTPFlow,
        authentication: Authentication,
        proof: Awaitable[Identity],
        held: Identity | None,
    ) -> None:
        try:
            self.proved(flow, (await proof).on(held))
        except NotProvedError as error:
            self.not_proved(flow, authentication, str(error))

    def proved(self, flow: http.HTTPFlow, identity: Identity) -> None:
        flow.metadata[IDENTITY] = identity
        if flow.request.method == "CONNECT" and len(self.tunnels) < CONNECTIONS_MAX:
            self.tunnels[flow.client_conn.id] = identity

    def not_proved(self, flow: http.HTTPFlow, authentication: Authentication, why: str) -> None:
        """Refuse, where the policy is enforced; elsewhere the caller stays unknown."""
        if self.governance.policy.mode == "enforce":
            self.governance.callers_refused += 1
            flow.response = challenge(authentication, why)


def missing(authentication: Authentication) -> str:
    """What a caller did not bring."""
    if authentication.check.mtls is None:
        return MISSING
    return f"{MISSING} and no client certificate" if authentication.challenges else NO_CERTIFICATE


def challenge(authentication: Authentication, why: str) -> http.Response:
    """407 and how to do better (RFC 9110 section 15.5.8); 403 where no header could."""
    ways = []
    if authentication.check.mtls is not None:
        ways.append("Connect to the proxy with a client certificate (https://HOST:PORT).")
    if authentication.challenges:
        ways.append(
            "Put credentials into the proxy's URL (http://NAME:PASSWORD@HOST:PORT), or send "
            "Proxy-Authorization."
        )
    message = " ".join([f"The proxy has to know who calls: {why}.", *ways])
    error = {"type": "authentication_error", "code": "proxy_authentication_required"}
    body = json.dumps({"error": {**error, "message": message}}).encode()
    status = 407 if authentication.challenges else 403
    made = http.Response.make(status, body, {"content-type": "application/json"})
    made.headers["x-should-retry"] = "false"
    made.headers.set_all("proxy-authenticate", authentication.challenges)
    return made
