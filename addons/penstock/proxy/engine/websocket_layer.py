"""The relay of WebSocket messages: the stock layer with bounds, and with more than one way out.

The stock layer sends a message on or drops it. Here an addon may also say, in the flow's
metadata under OUTBOX, what leaves instead: any number of messages, to either side, and an
end of the socket. Messages larger than a body may be close the socket; so does what is no
WebSocket. What no addon touches is relayed in the fragments it came in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import wsproto.events
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import (
    Fragmentizer,
    WebsocketConnection,
    WebsocketEndHook,
    WebsocketLayer,
    WebsocketMessageHook,
)
from mitmproxy.websocket import WebSocketMessage
from wsproto.connection import ConnectionState
from wsproto.frame_protocol import CloseReason, Opcode

Commands = layer.CommandGenerator[None]

OUTBOX = "penstock.outbox"  # flow.metadata: what leaves in place of a message


@dataclass(slots=True, frozen=True)
class Outgoing:
    """A message that leaves."""

    to_client: bool
    content: bytes
    is_text: bool = True


@dataclass(slots=True, frozen=True)
class Ending:
    """The socket ends, with this code towards both sides (RFC 6455 section 7.4)."""

    code: int
    reason: str


@dataclass
class WebsocketClosingHook(StartHook):
    """One side says goodbye: the last chance to send what is held back."""

    flow: http.HTTPFlow


@dataclass(slots=True)
class _Arriving:
    """A message whose last frame has not come yet."""

    pieces: list[bytes] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)  # sizes of the complete ones
    size: int = 0


class Relay(WebsocketLayer):
    """Carries the messages of one socket."""

    def __init__(self, context: Context, flow: http.HTTPFlow, limit_bytes: int) -> None:
        super().__init__(context, flow)
        self._limit_bytes = limit_bytes
        self._arriving = {True: _Arriving(), False: _Arriving()}

    def relay_messages(self, event: events.Event) -> Commands:
        """Bytes of one side: its messages go through the hook to the other."""
        assert isinstance(event, events.DataReceived | events.ConnectionClosed)
        from_client = event.connection == self.context.client
        source = self.client_ws if from_client else self.server_ws
        target = self.server_ws if from_client else self.client_ws
        source.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        for message in source.events():
            if isinstance(message, wsproto.events.Message):
                yield from self._piece(message, from_client, target)
            elif isinstance(message, wsproto.events.CloseConnection):
                yield WebsocketClosingHook(self.flow)
                yield from self._send(self.flow.metadata.pop(OUTBOX, []))
                yield from self._end(message.code, message.reason or "", from_client)
            elif target.state is ConnectionState.OPEN:
                yield target.send2(message)  # ping and pong
            if self._handle_event == self.done:
                return

    _handle_event = WebsocketLayer.start

    def _piece(
        self, event: wsproto.events.Message[Any], from_client: bool, target: WebsocketConnection
    ) -> Commands:
        arriving = self._arriving[from_client]
        piece = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        arriving.pieces.append(piece)
        arriving.size += len(piece)
        if arriving.size > self._limit_bytes:
            yield from self._end(CloseReason.MESSAGE_TOO_BIG, "message too large", None)
            return
        if event.frame_finished or event.message_finished:
            arriving.frames.append(arriving.size - sum(arriving.frames))
        if event.message_finished:
            self._arriving[from_client] = _Arriving()
            yield from self._message(arriving, from_client, isinstance(event.data, str), target)

    def _message(
        self, arrived: _Arriving, from_client: bool, is_text: bool, target: WebsocketConnection
    ) -> Commands:
        kind = Opcode.TEXT if is_text else Opcode.BINARY
        message = WebSocketMessage(kind, from_client, b"".join(arrived.pieces))
        assert self.flow.websocket is not None  # the layer exists because of it
        self.flow.websocket.messages.append(message)
        yield WebsocketMessageHook(self.flow)
        outbox = self.flow.metadata.pop(OUTBOX, None)
        if outbox is not None:
            yield from self._send(outbox)
        elif not message.dropped and target.state is ConnectionState.OPEN:
            yield from self._fragments(target, message.content, is_text, arrived.frames)

    def _send(self, outbox: list[Outgoing | Ending]) -> Commands:
        for one in outbox:
            if isinstance(one, Ending):
                yield from self._end(one.code, one.reason, None)
                return
            target = self.client_ws if one.to_client else self.server_ws
            if target.state is ConnectionState.OPEN:
                yield from self._fragments(target, one.content, one.is_text, [])

    def _fragments(
        self, target: WebsocketConnection, content: bytes, is_text: bool, frames: list[int]
    ) -> Commands:
        cut = Fragmentizer([], is_text)
        # One frame, unless the sender chose others: some servers take no continuation frames.
        cut.fragment_lengths = frames if sum(frames) == len(content) and frames else [len(content)]
        for piece in cut(content):
            yield target.send2(piece)

    def _end(self, code: int, reason: str, by_client: bool | None) -> Commands:
        """Close both sides; ``by_client`` None: the proxy ends it."""
        socket = self.flow.websocket
        assert socket is not None
        socket.timestamp_end = time.time()
        socket.closed_by_client, socket.close_code, socket.close_reason = by_client, code, reason
        for side in (self.server_ws, self.client_ws):
            if side.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                yield side.send2(wsproto.events.CloseConnection(code, reason))
            yield commands.CloseConnection(side.conn)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done
