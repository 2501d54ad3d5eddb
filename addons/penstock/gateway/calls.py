"""JSON-RPC messages as calls: judged like the same message over HTTP, settled, recorded.

A message is read as the body of the POST it would have been. What is decided and how a refusal
is worded is the policy's and the wire room's; this gives them what they ask for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from penstock.exchange import Caller, Destination, HttpAnswer, HttpRequest
from penstock.mcp.servers import origin, url_of
from penstock.policy.call import Call
from penstock.policy.credentials import choose_credential
from penstock.policy.decision import Use
from penstock.policy.judge import Judge
from penstock.proxy.addons.govern import Govern
from penstock.proxy.addons.report import Report
from penstock.proxy.addons.settle import Settle
from penstock.proxy.call import LiveCall, new_id
from penstock.proxy.governance import Governance
from penstock.proxy.judge import Judged, judge
from penstock.proxy.mcp_promises import hear_cancelled, hold, keep_promises
from penstock.proxy.offload import OFFLOADED_BYTES, ThreadState, offload
from penstock.wire.jsonrpc.calls import MCP

JSON = {"content-type": "application/json"}
PORTS = {"http": 80, "https": 443}


@dataclass(slots=True, frozen=True)
class Server:
    """A server as rules and records name it: by URL, or ``stdio://name`` for one behind a pipe."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def at(cls, url: str) -> Server:
        """The server at an ``http``, ``https`` or ``stdio`` URL."""
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
        path = parts.path or ("/" if parts.scheme in PORTS else "")
        return cls(parts.scheme, parts.hostname or "", port, path)

    @property
    def origin(self) -> str:
        return origin(self.scheme, self.host, self.port)


class Calls:
    """Makes, judges and closes the calls to one server."""

    def __init__(self, governance: Governance, server: Server) -> None:
        self.governance = governance
        self.server = server
        self.destination = Destination(
            server.host, server.port, category="mcp", known=True, source="gateway"
        )
        self.url = url_of(server.scheme, server.host, server.port, server.path)  # as rules have it
        self._govern = Govern(governance)
        self._settle = Settle(governance)
        self._report = Report(governance)

    def read(self, body: bytes, caller: Caller, headers: Mapping[str, str]) -> LiveCall:
        """A client's message as a call. ``headers``: what a POST of it would have said."""
        return self._live("POST", body, caller, {**JSON, **headers})

    def aside(self, caller: Caller) -> LiveCall:
        """What a server says that belongs to no call: read like a GET stream's event."""
        live = self._live("GET", b"", caller, {"accept": "text/event-stream"})
        live.decision.policy_hash = self.governance.policy.hash
        self._govern.expect_answer(live)
        return live

    def credential(self, live: LiveCall) -> tuple[Use | None, str]:
        """Which rule's key the call gets, its other rules left aside; or why it may get none."""
        policy = self.governance.policy
        if not policy.credentials:
            return None, ""
        state = self.governance.state_for(live.call.caller)
        judge = Judge(policy, live.call, state, time.time())
        choose_credential(judge, policy.credentials, live.call)
        denials = [one.message for one in judge.decision.reasons if one.verdict == "deny"]
        refused = judge.decision.verdict == "deny"
        return judge.decision.credential, "; ".join(denials) if refused else ""

    async def decide(self, live: LiveCall) -> HttpAnswer | None:
        """Judge the request; the refusal that answers it, None when it may go.

        What leaves is then ``live.edited_body`` or, where that is None, the body as it came. A call
        that lacks a person's yes waits for it here.
        """
        await self.look(live)
        if live.decision.hold_seconds:
            await self.wait_for_person(live)
        return self.conclude(live)

    async def look(self, live: LiveCall) -> None:
        """Decide; ``live.decision.hold_seconds`` says that a person has to be asked first."""
        governance, caller = self.governance, live.call.caller
        with live.own_time():
            if live.call.body_bytes > OFFLOADED_BYTES or governance.detectors.slow:
                key = governance.state_for(caller).caller_key
                state = ThreadState(governance, key, asyncio.get_running_loop())
                await offload(self._govern.decide, live, state)
            else:
                self._govern.decide(live, governance.state_for(caller))
            if live.decision.pending:
                await self._govern.ask(live)

    async def wait_for_person(self, live: LiveCall) -> None:
        """Wait for the yes, no longer than the call is wanted, and decide again after it."""
        if await hold(self.governance, live, lambda: live.settled):
            await self._govern.decide_again(live)

    def conclude(self, live: LiveCall) -> HttpAnswer | None:
        """Act on the decision: the refusal, or None."""
        with live.own_time():
            hear_cancelled(self.governance, live)
            mcp = live.call.exchange.mcp
            if mcp is not None and mcp.tool is not None:
                keep_promises(self.governance, live)
            if live.decision.verdict == "deny":
                assert live.decision.refusal is not None  # a denial carries its refusal
                live.outcome = "refused"
                refusal = live.family.refusal(live.decision.refusal)
                live.status = refusal.status
                return refusal
            self._govern.expect_answer(live)
        return None

    async def judge(self, live: LiveCall, body: bytes) -> Judged:
        """Judge one message of the server as the call's answer."""
        live.status, live.first_byte = 200, live.first_byte or time.perf_counter()
        live.answer_bytes += len(body)
        with live.own_time():
            if len(body) > OFFLOADED_BYTES or self.governance.reads_answers_slowly:
                return await offload(judge, self.governance, live, 200, JSON, body)
            return judge(self.governance, live, 200, JSON, body)

    async def close(self, live: LiveCall) -> None:
        """Settle and record, once."""
        if live.settled:
            return
        held, ticket = live.decision.hold_seconds, live.decision.ticket
        waiting = self._settle.settle(live)
        if waiting is not None:
            await waiting
        if held:
            self.governance.approvals.wake(ticket)
        self._report.tell(live)

    def _live(self, method: str, body: bytes, caller: Caller, headers: dict[str, str]) -> LiveCall:
        server = self.server
        request = HttpRequest(
            method, server.scheme, server.host, server.port, server.path, headers, body
        )
        call = Call(
            exchange=MCP.read_request(request, self.destination),
            caller=caller,
            destination=self.destination,
            id=new_id(),
            body_bytes=len(body),
            method=method,
            scheme=server.scheme,
            path=server.path,
        )
        return LiveCall(call, request, MCP)
