"""The real key of each request to a server by URL, as the policy's credential rules say.

A call brings its key with it. What the connection itself sends (its opening, the stream it
listens on, its end) gets the key of a call that opens it. The caller's own token is in none.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp.shared.exceptions import MCPError

from penstock.exchange import HttpAnswer
from penstock.policy.decision import Use
from penstock.proxy.call import LiveCall
from penstock.proxy.governance import Governance
from penstock.proxy.real_key import Sent, rejects, with_key, without
from penstock.route.credentials.fetched import Fetched, SourceError
from penstock.wire.json_leaves import parse
from penstock.wire.jsonrpc.refusal import POLICY_DENIED


class KeyUnavailableError(MCPError):
    """The policy gives a connection a key that is not to be had."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(POLICY_DENIED, f"the key for the server {server} is not to be had: {why}")


@dataclass(slots=True)
class Key:
    """The key of one call."""

    governance: Governance
    live: LiveCall
    use: Use
    fetched: Fetched

    def put(self, request: httpx2.Request) -> None:
        """Place it in the request. SourceError when it cannot be."""
        path = request.url.raw_path.decode("ascii")
        host = request.headers.get("host", "")
        sent = Sent(request.method, host, path, request.headers.raw, request.content)
        fields, placed = with_key(self.use, self.fetched, sent, self.live.call.destination)
        request.headers = httpx2.Headers(fields)
        if placed != path:
            request.url = request.url.copy_with(raw_path=placed.encode("ascii"))

    async def replaced(self) -> bool:
        """True when there is another one in place of one the server did not take."""
        subject = self.live.subject_for(self.use.spec)
        fetched = await self.governance.credentials.replaced(self.use.spec, self.fetched, subject)
        if fetched is None:
            return False
        self.fetched = fetched
        return True


async def key_of(governance: Governance, live: LiveCall) -> Key | HttpAnswer | None:
    """The key of a call that was let through, or its refusal where one is not to be had.

    None: no rule gives one, or the rule lets the call go without. A process has its key from its
    start, see ``process_keys``.
    """
    use = live.decision.credential
    if use is None or live.call.scheme == "stdio":
        return None
    subject = live.subject_for(use.spec)
    try:
        fetched = await governance.credentials.obtain(use.spec, subject)
    except SourceError as error:
        return without(live, use, error)
    return Key(governance, live, use, fetched)


# The key of the call under way; the SDK's transports keep the sender's context.
CURRENT: ContextVar[Key | None] = ContextVar("penstock_key", default=None)

Opening = Callable[[], Awaitable[Key | None]]
# Secrets a connection is known by: the call's, its own, and those before a rotation.
SECRETS_MAX = 16


def nobody_calls() -> Context:
    """A context for what outlives the call that began it."""
    context = copy_context()
    context.run(CURRENT.set, None)
    return context


class Keyed(httpx2.Auth):
    """Puts keys into the requests of one connection; one that is not taken is replaced once."""

    requires_request_body = True  # a signature covers it

    def __init__(self, governance: Governance, opening: Opening) -> None:
        self.governance, self.opening = governance, opening
        self._secrets: OrderedDict[str, None] = OrderedDict()

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        key = CURRENT.get() or await self.opening()
        if key is None:
            yield request
            return
        self._put(key, request)
        response = yield request
        if rejects(key.use, response.status_code) and await key.replaced():
            self._put(key, request)
            yield request

    def _put(self, key: Key, request: httpx2.Request) -> None:
        key.put(request)
        self._secrets.update(dict.fromkeys(key.fetched.secrets))
        while len(self._secrets) > SECRETS_MAX:
            self._secrets.popitem(last=False)

    def mask(self, said: Any) -> Any:
        """What came from the server (JSON), without the keys that were sent to it."""
        if not self._secrets:
            return said
        from penstock.route.credentials.echoes import Echoes

        echoes = Echoes(tuple(self._secrets))
        masked = echoes.mask(json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        if not echoes.seen:
            return said
        self.governance.credentials.echoes += echoes.seen
        return parse(masked).value
