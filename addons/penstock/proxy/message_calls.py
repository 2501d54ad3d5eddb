"""A WebSocket's messages as calls: read like bodies, judged like bodies.

Every message is judged; only one that asks for an answer counts against limits and gets a
Record. The caller is the socket's, and so is the model where a message names none.
"""

from __future__ import annotations

import time
from dataclasses import replace

from penstock import wire
from penstock.exchange import Exchange, HttpRequest
from penstock.policy.decide import decide, decide_limits
from penstock.policy.files import look_into_files
from penstock.policy.policy import Policy
from penstock.policy.rules.limit import Limit
from penstock.policy.unreadable import UNREADABLE, refused, refused_unread
from penstock.proxy.addons.govern import Govern
from penstock.proxy.call import LiveCall, new_id
from penstock.proxy.governance import CallState, Governance
from penstock.wire.openai import socket as openai_socket

CONNECT = "connect"  # the operation of what belongs to a socket and to no answer
# Headers of the upgrade that say nothing about a message.
NOT_ITS_OWN = ("upgrade", "connection", "content-encoding", "content-length")


class MessageCalls:
    """Makes and judges the calls of one socket. ``model`` is the one last named on it."""

    def __init__(self, governance: Governance, upgrade: LiveCall) -> None:
        self.governance = governance
        self.upgrade = upgrade
        self.model = upgrade.call.exchange.model
        self._govern = Govern(governance)
        self._lean: tuple[Policy, Policy] | None = None

    def read(self, content: bytes, is_text: bool) -> tuple[LiveCall, bool]:
        """A client's message as a call, and whether it asks for an answer."""
        event = openai_socket.event_of(content)
        kind = openai_socket.kind_of(event)
        creates = kind == openai_socket.CREATE
        self.model = openai_socket.model_in_event(event) or self.model
        request = self._request(content)
        exchange = wire.read_request(request, self.upgrade.call.destination)
        exchange.api = self.upgrade.family.api
        if kind not in openai_socket.CLIENT_EVENTS[exchange.api]:
            exchange.api = "unknown.json"
        live = self._live(request, exchange, None if creates else CONNECT)
        if not event:
            live.uninspectable = "it is no JSON object" if is_text else "it is binary"
        return live, creates

    def unasked(self) -> LiveCall:
        """The call of an answer nobody asked for: the server heard the speaker pause."""
        return self._live(self._request(b""), self._exchange(), None)

    def aside(self) -> LiveCall:
        """What stands for all that belongs to no answer. It is never settled."""
        live = self._live(self._request(b""), self._exchange(), CONNECT)
        live.settled = True
        return live

    def passes_without_socket(self, state: CallState) -> bool:
        """True when only the socket is refused: a call like it would be let through by POST."""
        live = self.unasked()
        self.judge(live, state, counts=False)
        return live.decision.verdict != "deny"

    def judge(self, live: LiveCall, state: CallState, *, counts: bool, full: bool = False) -> None:
        """Decide; ``counts``: limits apply; ``full``: no further answer can wait."""
        policy, began = self.governance.policy, time.perf_counter()
        passes = live.call.exchange.api.startswith("unknown") and policy.unknown_api == "pass"
        unreadable = look_into_files(policy, live.call, live.request.body, aside=False)
        live.uninspectable = live.uninspectable or unreadable
        unread = None if passes else self._govern.unread(live)
        if unread is not None:
            live.decision = refused_unread(policy, live.call, unread)
        elif full:
            live.decision = refused(live.call, UNREADABLE, "Too many requests wait here.", True)
            live.decision.policy_hash = policy.hash
        else:
            used = policy if counts else self._without_limits(policy)
            live.decision = decide(used, live.call, state, time.time())
            if live.decision.pending:  # a message cannot wait for the store, the next one has it
                self._govern.governance.lease_soon(list(live.decision.pending))
                decide_limits(used, live.call, live.decision, state, time.time())
        live.check_seconds = time.perf_counter() - began

    def _without_limits(self, policy: Policy) -> Policy:
        if self._lean is None or self._lean[0] is not policy:
            rules = tuple(rule for rule in policy.rules if not isinstance(rule.act, Limit))
            self._lean = policy, replace(policy, rules=rules)
        return self._lean[1]

    def _request(self, content: bytes) -> HttpRequest:
        opened = self.upgrade.request
        headers = {name: text for name, text in opened.headers.items() if name not in NOT_ITS_OWN}
        headers["content-type"] = "application/json"
        return replace(opened, method="POST", headers=headers, body=content)

    def _exchange(self) -> Exchange:
        return Exchange(self.upgrade.family.api, self.upgrade.call.destination.provider)

    def _live(self, request: HttpRequest, exchange: Exchange, operation: str | None) -> LiveCall:
        exchange.operation = operation or "chat"
        exchange.stream = True
        exchange.model = exchange.model or self.model
        call = replace(
            self.upgrade.call, exchange=exchange, id=new_id(), body_bytes=len(request.body)
        )
        return LiveCall(call, request, self.upgrade.family, streamed=True)
