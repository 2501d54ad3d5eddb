"""One client and one server that speak over a pipe: each line of either side judged.

Lines leave as they came unless a rule changes them. A refused request is answered to the
client under its own id; a refused request of the server's is answered to the server, so that
neither waits for nothing. Sans-io: lines in, lines out; ``wrap.py`` reads and writes them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from penstock.exchange import Caller, Exchange
from penstock.gateway.calls import Calls
from penstock.proxy.call import LiveCall
from penstock.proxy.engine.runtime import Failure
from penstock.proxy.judge import AS_IT_CAME, Judged
from penstock.wire.json_leaves import parse
from penstock.wire.jsonrpc.refusal import POLICY_DENIED
from penstock.wire.jsonrpc.shape import BATCH_VERSION, VERSION_HEADER, kind_of

# Calls that wait for their answer. Agents run dozens at once; a hostile one could leave any
# number behind, each with its arguments in memory.
PENDING_MAX = 1000
# Said of lines that do not pass; a server that prints its log to stdout says the same of each.
COMPLAINTS_MAX = 20

CARRIAGE = "a carriage return inside a message, where some servers begin another one"
BATCH = "a batch with more than one request: over a pipe their answers cannot be told apart"
IN_USE = "an id that another running call has"
FULL = "too many calls wait for their answer"

Key = tuple[str, str]


@dataclass(slots=True)
class Said:
    """Lines to send, in order."""

    to_client: list[bytes] = field(default_factory=list)
    to_server: list[bytes] = field(default_factory=list)


class Session:
    """Judges the lines of one conversation. ``tell`` hears, without contents, what was dropped.

    ``on_error`` says what a check that raised means (design rule 5). ``later`` takes what leaves
    for a call that a person had to be asked about.
    """

    def __init__(
        self,
        calls: Calls,
        caller: Caller,
        tell: Callable[[str], None],
        on_error: Callable[[Failure], Literal["deny", "allow"]],
    ) -> None:
        self.calls = calls
        self.caller = caller
        self.version: str | None = None  # what initialize agreed on
        self.pending: dict[Key, LiveCall] = {}
        self.later: Callable[[Said], Awaitable[None]] = _nowhere
        self._held: set[asyncio.Task[None]] = set()
        self._tell = tell
        self._on_error = on_error
        self._complaints = 0

    # ------------------------------------------------------------------ what the client says

    async def from_client(self, line: bytes) -> Said:
        """What leaves for a client's line."""
        body = line.rstrip(b"\r\n")
        if not body.strip():
            return Said(to_server=[line])
        headers = {} if self.version is None else {VERSION_HEADER: self.version}
        live = self.calls.read(body, self.caller, headers)
        exchange = live.call.exchange
        exchange.problem = exchange.problem or self._doubt(body, ids_of(live))
        try:
            await self.calls.look(live)
            if live.decision.hold_seconds:
                await self._expect(live)
                self._hold(live, line)
                return Said()
            return await self._conclude(live, line)
        except Exception as error:  # noqa: BLE001 - a check that raises is a decision
            return await self._check_failed(live, line, error)

    async def _conclude(self, live: LiveCall, line: bytes) -> Said:
        """What leaves once the decision stands."""
        exchange, ids = live.call.exchange, ids_of(live)
        refusal = self.calls.conclude(live)
        if refusal is not None:
            self._forget(live)
            await self.calls.close(live)
            return self._refused(exchange, refusal.body)
        await self._expect(live)
        await self._note_cancelled(exchange)
        if not ids:
            await self.calls.close(live)
        sent = line if live.edited_body is None else live.edited_body + ending(line)
        return Said(to_server=[sent])

    def _hold(self, live: LiveCall, line: bytes) -> None:
        """A person is asked; what else the two say does not wait for that."""

        async def held() -> None:
            try:
                await self.calls.wait_for_person(live)
                if live.settled:
                    return  # given up meanwhile
                said = await self._conclude(live, line)
            except Exception as error:  # noqa: BLE001 - a check that raises is a decision
                self._forget(live)
                said = await self._check_failed(live, line, error)
            await self.later(said)

        task = asyncio.create_task(held())
        self._held.add(task)
        task.add_done_callback(self._held.discard)

    async def _expect(self, live: LiveCall) -> None:
        for ident in ids_of(live):
            await self._wait_for(key_of(ident), live)

    def _forget(self, live: LiveCall) -> None:
        for key in [key for key, one in self.pending.items() if one is live]:
            del self.pending[key]

    def _doubt(self, body: bytes, ids: list[str | int]) -> str | None:
        """What only a pipe makes ambiguous."""
        if b"\r" in body:
            return CARRIAGE
        if len(ids) > 1:
            return BATCH
        if any(key_of(ident) in self.pending for ident in ids):
            return IN_USE
        return FULL if ids and len(self.pending) >= PENDING_MAX else None

    async def _wait_for(self, key: Key, live: LiveCall) -> None:
        """Keep the call until it is answered; where nothing is enforced the oldest makes room."""
        gone = self.pending.pop(key, None)
        if gone is None and len(self.pending) >= PENDING_MAX:
            gone = self.pending.pop(next(iter(self.pending)))
        self.pending[key] = live
        if gone is not None and gone is not live:
            gone.outcome = "failed"
            await self.calls.close(gone)

    def _refused(self, exchange: Exchange, refusal: bytes) -> Said:
        """A refusal under the id of what it refuses; what has none is only told here."""
        if exchange.mcp is not None and any(ident is not None for ident in exchange.mcp.ids):
            return Said(to_client=[refusal + b"\n"])
        document = exchange.document
        if kind_of(document) == "response" and document.get("id") is not None:
            return Said(to_server=[error_for(document["id"], refusal)])
        self._complain("a client's message was refused; it has no id to answer")
        return Said()

    async def _check_failed(self, live: LiveCall, line: bytes, error: Exception) -> Said:
        verdict = self._on_error(Failure("gateway", None, error))
        live.failure = "failed_closed" if verdict == "deny" else "failed_open"
        live.failure_reason = f"gateway: {type(error).__name__}"
        if verdict == "deny":
            live.outcome = "refused"
        await self.calls.close(live)
        if verdict == "allow":
            return Said(to_server=[line])
        return Said(to_client=[error_for(ident, b"") for ident in ids_of(live)])

    async def _note_cancelled(self, exchange: Exchange) -> None:
        """A call the client gave up: nobody answers it any more."""
        if exchange.mcp is None or "notifications/cancelled" not in exchange.mcp.methods:
            return
        messages = exchange.document if isinstance(exchange.document, list) else [exchange.document]
        for message in messages:
            params = message.get("params") if isinstance(message, dict) else None
            ident = params.get("requestId") if isinstance(params, dict) else None
            live = self.pending.pop(key_of(ident), None)
            if live is not None:
                live.outcome = "aborted"
                await self.calls.close(live)

    # ------------------------------------------------------------------ what the server says

    async def from_server(self, line: bytes) -> Said:
        """What leaves for a server's line."""
        body = line.rstrip(b"\r\n")
        if not body.strip():
            return Said(to_client=[line])
        document = parse(body).value
        messages = document if isinstance(document, list) else [document]
        kinds = {kind_of(message) for message in messages}
        batched = isinstance(document, list) and self.version != BATCH_VERSION
        if b"\r" in body or not messages or "none" in kinds or batched:
            return self._unread(line, "a line of the server's is no MCP message")
        keys = [key_of(one.get("id")) for one in messages if kind_of(one) == "response"]
        if any(key not in self.pending for key in keys):
            return self._unread(line, "the server answered a call that does not wait")
        live = self.pending[keys[0]] if keys else self.calls.aside(self.caller)
        judged: Judged | None
        try:
            judged = await self.calls.judge(live, body)
        except Exception as error:  # noqa: BLE001 - a check that raises is a decision
            judged = self._answer_failed(live, error)
        return await self._answered(live, keys, messages, line, judged)

    def _answer_failed(self, live: LiveCall, error: Exception) -> Judged | None:
        verdict = self._on_error(Failure("gateway", None, error))
        live.failure = "failed_closed" if verdict == "deny" else "failed_open"
        live.failure_reason = f"gateway: {type(error).__name__}"
        live.outcome = "refused" if verdict == "deny" else live.outcome
        return None if verdict == "deny" else AS_IT_CAME

    async def _answered(
        self,
        live: LiveCall,
        keys: list[Key],
        messages: list[Any],
        line: bytes,
        judged: Judged | None,
    ) -> Said:
        mcp = live.call.exchange.mcp
        if mcp is not None and "initialize" in mcp.methods and judged is not None:
            self.version = mcp.protocol_version
        for key in keys:
            closing = self.pending.pop(key, None)
            if closing is not None:
                await self.calls.close(closing)
        asks = [one["id"] for one in messages if kind_of(one) == "request"]
        if not keys and (asks or speaks(live)):
            await self.calls.close(live)
        refusal = judged.refusal.body if judged is not None and judged.refusal is not None else b""
        if judged is None or judged.refusal is not None:
            ids = ids_of(live)
            if keys and ids:
                return Said(to_client=[refusal + b"\n" if refusal else error_for(ids[0], b"")])
            return Said(to_server=[error_for(ident, refusal) for ident in asks])
        if judged.body is None:
            return Said(to_client=[line])
        return Said(to_client=[judged.body + ending(line)])

    def _unread(self, line: bytes, why: str) -> Said:
        """A line nobody can judge: passed on only where nothing is enforced."""
        policy = self.calls.governance.policy
        if policy.mode == "enforce" and policy.on_error == "deny":
            self._complain(f"{why}; it was not passed on")
            return Said()
        return Said(to_client=[line])

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints <= COMPLAINTS_MAX:
            self._tell(text)
        if self._complaints == COMPLAINTS_MAX:
            self._tell("further lines like these are not told")

    async def end(self, by_client: bool) -> None:
        """The pipe is gone: close the books of what was not answered."""
        for task in list(self._held):
            task.cancel()
        waiting, self.pending = list(self.pending.values()), {}
        for live in waiting:
            live.outcome = "aborted" if by_client else "failed"
            await self.calls.close(live)


async def _nowhere(_said: Said) -> None:
    """Nobody is there to hear it."""


def ids_of(live: LiveCall) -> list[str | int]:
    """The ids of the requests in a client's message."""
    mcp = live.call.exchange.mcp
    return [ident for ident in mcp.ids if ident is not None] if mcp is not None else []


def key_of(ident: Any) -> Key:
    """What tells ids apart. 1 and 1.0 are one number to JavaScript, and "1" is another id."""
    if isinstance(ident, float) and ident.is_integer():
        ident = int(ident)
    return type(ident).__name__, str(ident)


def ending(line: bytes) -> bytes:
    """The line's own end."""
    return line[len(line.rstrip(b"\r\n")) :]


def speaks(live: LiveCall) -> bool:
    """True when there is something to record of a message that belongs to no call."""
    judged = live.answer_decision
    return live.failure != "" or (
        judged is not None and bool(judged.reasons or judged.findings or judged.restored)
    )


def error_for(ident: Any, refusal: bytes) -> bytes:
    """A JSON-RPC error under ``ident``, in the words of ``refusal`` where there are any."""
    said = parse(refusal).value if refusal else None
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict):
        error = {"code": POLICY_DENIED, "message": "A check of this message failed."}
    document = {"jsonrpc": "2.0", "id": ident, "error": error}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
