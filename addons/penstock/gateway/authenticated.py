"""Who may speak to the endpoint: the policy's ``callers``, proved by ``Authorization``.

The same proofs as on the proxy. The answer to a caller without one is that of an origin server:
401 and how to do better, without a pointer to a login that does not exist.
"""

from __future__ import annotations

import json
from inspect import isawaitable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from penstock.caller.identity import Identity, NotProvedError
from penstock.proxy.authenticate import Authentication
from penstock.proxy.governance import Governance

IDENTITY = "penstock.identity"  # in the scope of a request
MISSING = "there is no Authorization header"


class Authenticated:
    """ASGI in front of the endpoint."""

    def __init__(self, app: ASGIApp, governance: Governance) -> None:
        self.app, self.governance = app, governance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authentication = self.governance.authentication
        if scope["type"] != "http" or authentication is None:
            await self.app(scope, receive, send)
            return
        try:
            scope[IDENTITY] = await self._proved(scope, authentication)
        except NotProvedError as error:
            if self.governance.policy.mode == "enforce":
                self.governance.callers_refused += 1
                await refuse(send, authentication, str(error))
                return
        await self.app(scope, receive, send)

    async def _proved(self, scope: Scope, authentication: Authentication) -> Identity | None:
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(values) != 1:
            if values or authentication.check.required:
                raise NotProvedError(MISSING if not values else "there are several")
            return None
        proof = authentication.prove(values[0].decode("latin-1"))
        identity: Identity = await proof if isawaitable(proof) else proof
        return identity


async def refuse(send: Send, authentication: Authentication, why: str) -> None:
    message = f"The caller has to prove who it is: {why}."
    body = json.dumps({"error": {"type": "authentication_error", "message": message}}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((b"www-authenticate", one.encode()) for one in authentication.challenges),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": 401, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
