"""Who may speak to the endpoint: the policy's ``callers``, proved by ``Authorization``.

The same proofs as on the proxy. The answer to a caller without one is that of an origin server:
401 and how to do better, without a pointer to a login that does not exist.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from inspect import isawaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.caller.identity import Identity, NotProvedError
from penstock.proxy.authenticate import Authentication
from penstock.proxy.governance import Governance

IDENTITY = "penstock.identity"  # in the scope of a request
SESSION = b"mcp-session-id"
# Sessions whose callers are remembered; the SDK's server keeps as many open at most.
SESSIONS_MAX = 10_000
MISSING = "there is no Authorization header"


Headers = Iterable[tuple[bytes, bytes]]


class Authenticated:
    """ASGI in front of the endpoint."""

    def __init__(self, app: ASGIApp, governance: Governance) -> None:
        self.app, self.governance = app, governance
        self._owners: OrderedDict[bytes, str | None] = OrderedDict()

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
        identity: Identity | None = scope.get(IDENTITY)
        user = identity.user if identity is not None else None
        if not self._owns(user, scope["headers"]):
            await answer(send, 404, "session_not_found", "There is no such session.")
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(user, message.get("headers", ()))
            await send(message)

        await self.app(scope, receive, noting)

    def _owns(self, user: str | None, headers: Headers) -> bool:
        """False for another caller's session: its id is no proof of who somebody is."""
        named = (_digest(value) for name, value in headers if name == SESSION)
        return all(self._owners.get(one, user) == user for one in named)

    def _note(self, user: str | None, headers: Headers) -> None:
        for name, value in headers:
            if name.lower() == SESSION:
                self._owners[_digest(value)] = user
                self._owners.move_to_end(_digest(value))
        while len(self._owners) > SESSIONS_MAX:
            self._owners.popitem(last=False)

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
    """401, and how to do better."""
    message = f"The caller has to prove who it is: {why}."
    challenges = [(b"www-authenticate", one.encode()) for one in authentication.challenges]
    await answer(send, 401, "authentication_error", message, challenges)


async def answer(
    send: Send, status: int, kind: str, message: str, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """An error of ours."""
    body = json.dumps({"error": {"type": kind, "message": message}}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _digest(session: bytes) -> bytes:
    """Session ids are as good as tokens to whoever holds them: none is kept."""
    return blake2b(session, digest_size=16).digest()
