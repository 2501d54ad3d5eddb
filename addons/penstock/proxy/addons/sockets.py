"""Addon Sockets: AI calls over WebSocket, message by message.

The upgrade itself is judged like any request; from then on every message of either side
goes through the socket's Conversation. APIs whose messages nobody here can read are not
upgraded where rules look into content (``Govern.unread``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from mitmproxy import http

from penstock.proxy.addons.report import Report
from penstock.proxy.addons.settle import Settle
from penstock.proxy.call import LiveCall, call_of
from penstock.proxy.conversation import Conversation, Outbox
from penstock.proxy.engine.websocket_layer import OUTBOX
from penstock.proxy.governance import Governance
from penstock.proxy.message_calls import CONNECT, MessageCalls
from penstock.proxy.offload import OFFLOADED_BYTES, ThreadState, offload
from penstock.wire.openai.socket import CLIENT_EVENTS, RESPONSES, model_in_query

CONVERSATION = "penstock.conversation"  # flow.metadata


class Sockets:
    """Reads, judges and relays the messages of governed sockets."""

    def __init__(self, governance: Governance) -> None:
        self.governance = governance
        self.settle = Settle(governance)
        self.report = Report(governance)

    def request(self, flow: http.HTTPFlow) -> None:
        """An upgrade: no call of its own, and without compression."""
        live = call_of(flow)
        if live is None or live.request.headers.get("upgrade", "").lower() != "websocket":
            return
        exchange = live.call.exchange
        exchange.operation = CONNECT
        exchange.model = exchange.model or model_in_query(live.request.path)
        if exchange.api in CLIENT_EVENTS:
            # Negotiated hop by hop (RFC 6455 section 9.1). The protocol library inflates without
            # a bound, so a few bytes could fill the memory.
            flow.request.headers.pop("sec-websocket-extensions", None)

    def response(self, flow: http.HTTPFlow) -> None:
        """The upgrade was accepted: limits count answers, not sockets."""
        live = call_of(flow)
        if live is None:
            return
        if live.outcome == "refused" and live.call.exchange.operation == CONNECT:
            self.send_to_http(flow, live)
        elif flow.websocket is not None:
            for reservation in live.decision.reservations:
                self.governance.quotas.release(time.time(), reservation)
            live.decision.reservations.clear()

    def send_to_http(self, flow: http.HTTPFlow, live: LiveCall) -> None:
        """A refused socket whose calls would pass by POST: 426, on which clients go there at once.

        At 403 Codex tries seven times before it does (docs/decisions/006).
        """
        assert flow.response is not None  # the hook's promise
        state = self.governance.state_for(live.call.caller)
        if live.family.api != RESPONSES or flow.response.status_code != HTTPStatus.FORBIDDEN:
            return  # Realtime has no other way in, and a limit says when to come back
        if MessageCalls(self.governance, live).passes_without_socket(state):
            live.status = flow.response.status_code = HTTPStatus.UPGRADE_REQUIRED
            flow.response.reason = HTTPStatus.UPGRADE_REQUIRED.phrase
            flow.response.headers["upgrade"] = "HTTP/1.1"  # RFC 9110 section 15.5.22
            flow.response.headers["connection"] = "upgrade"

    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        conversation = self.conversation(flow)
        if conversation is None or flow.websocket is None:
            return None
        message = flow.websocket.messages[-1]
        slow = self.governance.detectors.slow  # of a policy that came after the socket
        if not message.from_client and slow:
            hear = partial(conversation.from_server, message.content, message.is_text)
            return self.worked(flow, conversation, hear)
        if not message.from_client:
            put(flow, conversation.from_server(message.content, message.is_text))
        elif len(message.content) > OFFLOADED_BYTES or slow:
            return self.judge_aside(flow, conversation)
        else:
            state = self.governance.state_for(conversation.calls.upgrade.call.caller)
            put(flow, conversation.from_client(message.content, message.is_text, state))
        return self.close_books(conversation)

    async def judge_aside(self, flow: http.HTTPFlow, conversation: Conversation) -> None:
        """A large message: judged in a worker thread; the socket waits, the others do not."""
        assert flow.websocket is not None  # see websocket_message
        message = flow.websocket.messages[-1]
        key = self.governance.state_for(conversation.calls.upgrade.call.caller).caller_key
        state = ThreadState(self.governance, key, asyncio.get_running_loop())
        hear = partial(conversation.from_client, message.content, message.is_text, state)
        await self.worked(flow, conversation, hear)

    async def worked(
        self, flow: http.HTTPFlow, conversation: Conversation, hear: Callable[[], Outbox | None]
    ) -> None:
        put(flow, await offload(hear))
        await self.settled(conversation)

    def websocket_closing(self, flow: http.HTTPFlow) -> None:
        """A side says goodbye: what was held back leaves first."""
        conversation = self.conversation(flow)
        if conversation is not None:
            put(flow, conversation.closing())

    def websocket_end(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        conversation = self.conversation(flow)
        if conversation is None or flow.websocket is None:
            return None
        conversation.end(by_client=flow.websocket.closed_by_client is True)
        return self.close_books(conversation)

    def conversation(self, flow: http.HTTPFlow) -> Conversation | None:
        """The flow's conversation; None for a socket that is not read."""
        live = call_of(flow)
        if live is None or live.family.api not in CLIENT_EVENTS:
            return None
        found: Conversation | None = flow.metadata.get(CONVERSATION)
        if found is None:
            found = flow.metadata[CONVERSATION] = Conversation(self.governance, live)
        return found

    def close_books(self, conversation: Conversation) -> Awaitable[None] | None:
        return self.settled(conversation) if conversation.over else None

    async def settled(self, conversation: Conversation) -> None:
        """Settle and report every call that is over."""
        over, conversation.over = conversation.over, []
        for live in over:
            if not live.settled:
                waiting = self.settle.settle(live)
                if waiting is not None:
                    await waiting
            self.report.tell(live)


def put(flow: http.HTTPFlow, out: Outbox | None) -> None:
    """Let ``out`` leave in place of the message; None: the message itself."""
    if out is not None:
        flow.metadata[OUTBOX] = out
