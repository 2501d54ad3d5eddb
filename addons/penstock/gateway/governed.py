"""One request to a server behind the endpoint: judged, sent, its answer judged.

The message that is judged is the message that is sent: it is written once, from what was read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp.shared.exceptions import MCPError

from penstock.caller.identity import Identity
from penstock.exchange import Caller, HttpAnswer
from penstock.gateway.calls import Calls
from penstock.gateway.servers.keys import CURRENT, Key, KeyUnavailableError, key_of
from penstock.gateway.servers.unreachable import UnreachableError
from penstock.gateway.stdio.session import speaks
from penstock.proxy.call import LiveCall
from penstock.proxy.engine.runtime import Failure
from penstock.proxy.judge import Judged
from penstock.proxy.service import Service
from penstock.wire.json_leaves import parse
from penstock.wire.jsonrpc.refusal import POLICY_DENIED
from penstock.wire.jsonrpc.shape import VERSION_HEADER
from penstock.wire.loose import as_dict

Params = dict[str, Any]
Send = Callable[[Params], Awaitable[dict[str, Any]]]
IDENT = 0  # of our own messages; the client's id stays with the client's message


@dataclass(slots=True, frozen=True)
class Asks:
    """Who asks: the caller, what it proved, and the protocol version it speaks."""

    caller: Caller
    version: str
    identity: Identity | None = None


class Governed:
    """Judges what one caller and one server say to each other."""

    def __init__(self, service: Service, calls: Calls, asks: Asks) -> None:
        self.service, self.calls, self.asks = service, calls, asks
        self.caller = asks.caller
        self.headers = {VERSION_HEADER: asks.version}

    async def call(self, method: str, params: Params, send: Send) -> dict[str, Any]:
        """The server's result as the client may have it; raises MCPError for all else."""
        live = self._read({"id": IDENT, "method": method, "params": params})
        before = CURRENT.set(None)
        try:
            refusal = await self._checked(live, self.calls.decide(live))
            if refusal is not None:
                return outcome(refusal.body)
            key = await key_of(self.service.governance, live)
            if isinstance(key, HttpAnswer):
                return outcome(key.body)
            CURRENT.set(key)
            if live.edited_body is not None:
                params = parse(live.edited_body).value["params"]
            try:
                said: dict[str, Any] = {"result": await send(params)}
            except UnreachableError:
                live.outcome = "failed"
                raise
            except asyncio.CancelledError:
                live.outcome = "aborted"
                raise
            except MCPError as error:
                said = {"error": error.error.model_dump(exclude_none=True)}
            return await self._answer(live, said)
        finally:
            CURRENT.reset(before)
            await self.calls.close(live)

    async def opening_key(self) -> Key | None:
        """The key a connection is opened with; raises KeyUnavailableError."""
        live = self._read({"id": IDENT, "method": "initialize", "params": {}})
        live.decision.credential, why = self.calls.credential(live)
        key = None if why else await key_of(self.service.governance, live)
        if why or isinstance(key, HttpAnswer):
            raise KeyUnavailableError(self.calls.server.host, why or live.failure_reason or "")
        return key

    def _read(self, message: dict[str, Any]) -> LiveCall:
        live = self.calls.read(_bytes({"jsonrpc": "2.0", **message}), self.caller, self.headers)
        if self.asks.identity is not None:
            live.subject, live.proved = self.asks.identity.token, True
        return live

    async def _answer(self, live: LiveCall, said: dict[str, Any]) -> dict[str, Any]:
        body = _bytes({"jsonrpc": "2.0", "id": IDENT, **said})
        judged: Judged = await self._checked(live, self.calls.judge(live, body), Judged())
        if judged.refusal is not None:
            return outcome(judged.refusal.body)
        return outcome(body if judged.body is None else judged.body)

    async def asked(self, method: str, params: Params, ask: Send) -> dict[str, Any]:
        """A request of the server's, and what the client answers it; raises MCPError."""
        body = _bytes({"jsonrpc": "2.0", "id": IDENT, "method": method, "params": params})
        live = self.calls.aside(self.caller)
        try:
            judged: Judged = await self._checked(live, self.calls.judge(live, body), Judged())
            if judged.refusal is not None:
                outcome(judged.refusal.body)  # raises
            if judged.body is not None:
                params = parse(judged.body).value["params"]
        finally:
            await self.calls.close(live)
        message = {"id": IDENT, "result": await ask(params)}
        said, answer = _bytes({"jsonrpc": "2.0", **message}), self._read(message)
        try:
            refusal = await self._checked(answer, self.calls.decide(answer))
            if refusal is not None:
                outcome(refusal.body)  # raises
            return outcome(said if answer.edited_body is None else answer.edited_body)
        finally:
            await self.calls.close(answer)

    async def told(self, method: str, params: Params) -> Params | None:
        """What the server says that nobody asked for, as the client may hear it; None: not."""
        body = _bytes({"jsonrpc": "2.0", "method": method, "params": params})
        live = self.calls.aside(self.caller)
        try:
            judged: Judged = await self._checked(live, self.calls.judge(live, body), Judged())
            if judged.refusal is not None:
                return None
            return params if judged.body is None else as_dict(parse(judged.body).value["params"])
        except MCPError:
            return None
        finally:
            if speaks(live):
                await self.calls.close(live)

    async def _checked(self, live: LiveCall, check: Awaitable[Any], passes: Any = None) -> Any:
        """What the check says; one that raises is the policy's ``on_error``."""
        try:
            return await check
        except Exception as error:  # noqa: BLE001 - a check that raises is a decision
            verdict = self.service.on_error(Failure("gateway", None, error))
            live.failure = "failed_closed" if verdict == "deny" else "failed_open"
            live.failure_reason = f"gateway: {type(error).__name__}"
            if verdict == "deny":
                live.outcome = "refused"
                raise MCPError(POLICY_DENIED, "A check of this call failed.") from None
            return passes


def outcome(body: bytes) -> dict[str, Any]:
    """The result of a JSON-RPC answer; its error is raised."""
    document = as_dict(parse(body).value)
    error = document.get("error")
    if isinstance(error, dict):
        raise MCPError(error["code"], error["message"], error.get("data"))
    return as_dict(document.get("result"))


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
