"""An exchange that became a tunnel (CONNECT) or a socket: bytes between it and its child layer.

A WebSocket gets our relay of messages in place of the stock layer. Nothing here decides.
"""

from __future__ import annotations

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    ErrorCode,
    HttpStream,
    RequestData,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
    SendHttp,
)

from penstock.proxy.engine.runtime import Runtime
from penstock.proxy.engine.websocket_layer import Relay

Commands = layer.CommandGenerator[None]


class Tunnelled(HttpStream):
    """What our stream does once its messages are no requests and answers any more."""

    runtime: Runtime

    def flow_done(self) -> Commands:
        """Both sides are through; after an upgrade to WebSocket our relay takes over."""
        if self.flow.websocket is None:
            yield from super().flow_done()
            return
        limit = self.runtime.settings.limits.request_body_bytes
        self.child_layer = Relay(self.context, self.flow, limit)
        self._handle_event = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def passthrough(self, event: events.Event) -> Commands:
        """Inside a tunnel or after an upgrade: bytes to the child layer and its bytes out.

        Unlike the stock method, bytes for the client skip the outer HTTP layer (it would
        pass them on as they are), and a half-close stays a half-close.
        """
        assert self.flow.response
        assert self.child_layer
        client, server = self.context.client, self.context.server
        if isinstance(event, RequestData):
            event = events.DataReceived(client, event.data)
        elif isinstance(event, ResponseData):
            event = events.DataReceived(server, event.data)
        elif isinstance(event, RequestEndOfMessage):
            event = events.ConnectionClosed(client)
        elif isinstance(event, ResponseEndOfMessage):
            event = events.ConnectionClosed(server)
        upgraded = self.flow.response.status_code == 101
        for command in self.child_layer.handle_event(event):
            if isinstance(command, commands.SendData):
                if upgraded and command.connection == server:
                    yield SendHttp(RequestData(self.stream_id, command.data), server)
                else:
                    yield command
            elif isinstance(command, commands.CloseConnection):
                yield from self._close_in_tunnel(command, upgraded=upgraded)
            else:
                yield command

    def _close_in_tunnel(self, command: commands.CloseConnection, *, upgraded: bool) -> Commands:
        half = isinstance(command, commands.CloseTcpConnection) and command.half_close
        if upgraded and command.connection == self.context.server:
            yield SendHttp(
                RequestProtocolError(self.stream_id, "EOF", ErrorCode.PASSTHROUGH_CLOSE),
                self.context.server,
            )
        elif command.connection == self.context.client and not (half and not upgraded):
            yield SendHttp(
                ResponseProtocolError(self.stream_id, "EOF", ErrorCode.PASSTHROUGH_CLOSE),
                self.context.client,
            )
        else:
            yield command
