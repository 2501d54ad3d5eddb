"""The HTTP layer: makes our streams and our HTTP/1 connections, and forgets dead upstreams.

Hung in where the stock layer would be, by our ``next_layer`` hook. Upstream connections
are opened when a request needs one, reused while they live, and never blamed for a later
request (the stock layer answers every later request with the first connection error).
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpClient,
    HttpLayer,
    HTTPMode,
    RegisterHttpConnection,
)

from penstock.proxy.engine import http1, http2, pool
from penstock.proxy.engine.deadlines import Expired, Said
from penstock.proxy.engine.failover import RoutedStream
from penstock.proxy.engine.http_stream import Stream
from penstock.proxy.engine.problem import CONNECT_TIMEOUT
from penstock.proxy.engine.runtime import Runtime

Commands = layer.CommandGenerator[None]


class Connections(dict[Connection, Any]):
    """The layers of the open connections.

    A stream that waited for a worker may have something to say to an upstream that was closed
    and forgotten meanwhile: nobody listens any more, and that is no error.
    """

    def __missing__(self, connection: Connection) -> Nobody:
        return Nobody()


class Nobody:
    """What stands for a connection that is gone."""

    def handle_event(self, event: events.Event) -> Iterator[commands.Command]:
        return iter(())


class Http(HttpLayer):
    """HTTP with one client, over as many upstreams as it asks for."""

    def __init__(self, context: Context, mode: HTTPMode, runtime: Runtime) -> None:
        super().__init__(context, mode)
        self.runtime = runtime
        self.connections = Connections()

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, Expired):
            yield from self._expired(event)
            return
        if isinstance(event, events.Start):
            context = self.context.fork()
            if self.context.client.alpn == b"h2":
                self.connections[self.context.client] = http2.Server(context, self.runtime)
            else:
                self.connections[self.context.client] = http1.Server(context, self.runtime)
        elif isinstance(event, events.ConnectionEvent) and event.connection not in self.connections:
            return  # the last words of an upstream we have forgotten
        yield from super()._handle_event(event)
        if isinstance(event, events.ConnectionClosed) and event.connection in self.connections:
            # Not the others that are closed: in an outer layer they may just be opening.
            self._forget(event.connection)

    def make_stream(self, stream_id: int) -> Commands:
        """A new exchange begins."""
        stream = RoutedStream(self.context.fork(), stream_id, self.runtime)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def _expired(self, event: Expired) -> Commands:
        for stream in list(self.streams.values()):
            assert isinstance(stream, Stream)
            if stream != event.call:
                if stream.child_layer is not None:
                    yield from self.event_to_child(stream, event)
                continue
            wanted = stream._paused.command if stream._paused else None
            if isinstance(event, Said):
                if wanted is None:
                    yield from self.event_to_child(stream, event)
            elif isinstance(wanted, GetHttpConnection):
                # Paused: it cannot take the event. Ending the attempt wakes it with an error.
                stream.timed_out = CONNECT_TIMEOUT
                for connection, waiting in list(self.waiting_for_establishment.items()):
                    if wanted in waiting:
                        yield commands.CloseConnection(connection)
            else:
                yield from self.event_to_child(stream, event)

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> Commands:
        """A live connection to the wanted address, or a new one."""
        self._forget_dead()
        if reuse:
            for connection in self.connections:
                if not event.connection_spec_matches(connection):
                    continue
                if connection in self.waiting_for_establishment:
                    self.waiting_for_establishment[connection].append(event)
                    return
                if connection.connected and self._too_old(connection):
                    yield commands.CloseConnection(connection)
                elif connection.connected and self._may_share(connection):
                    stream = self.command_sources.pop(event)
                    yield from self.event_to_child(
                        stream, GetHttpConnectionCompleted(event, (connection, None))
                    )
                    return
        yield from self._open(event)

    def _too_old(self, connection: Connection) -> bool:
        since = self.runtime.idle_since.get(connection)
        return (
            since is not None and monotonic() - since > self.runtime.settings.limits.reuse_seconds
        )

    def _may_share(self, connection: Connection) -> bool:
        """One HTTP/1 upstream connection cannot carry several HTTP/2 streams of a client."""
        return self.context.client.alpn != b"h2" or connection.alpn == b"h2"

    def _forget_dead(self) -> None:
        for connection in list(self.connections):
            if connection not in self.waiting_for_establishment:
                self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection != self.context.client and connection.state is ConnectionState.CLOSED:
            del self.connections[connection]

    def _open(self, event: GetHttpConnection) -> Commands:
        context = self.context.fork()
        context.server = Server(address=event.address)
        stack = tunnel.LayerStack()
        if event.tls:
            # A redirected connection knows an address only; the name is the client's.
            redirected = event.address == self.context.server.address
            name = self.context.client.sni if redirected else None
            context.server.sni = name or event.address[0]
            context.server.tls = True
        kept = self._kept(context)
        if kept is not None:
            context.server = pool.resumed(kept)
            self.runtime.pool.hand_over(kept, context.server)
        if event.tls:
            secure = pool.Tls(context)
            secure.kept = kept.ssl if kept is not None else None
            stack /= secure
        stack /= UpstreamClient(context, self.runtime)
        self.runtime.upstreams[context.server] = stack[0]
        self.connections[context.server] = stack[0]
        self.waiting_for_establishment[context.server].append(event)
        yield from self.event_to_child(stack[0], events.Start())

    def _kept(self, context: Context) -> pool.Kept | None:
        """An open connection another client of the same kind left; none for HTTP/2 clients."""
        if context.client.alpn == b"h2":
            return None
        return self.runtime.pool.take(pool.key_of(context, context.server))


class UpstreamClient(HttpClient):
    """Opens an upstream connection and speaks what was negotiated."""

    def __init__(self, context: Context, runtime: Runtime) -> None:
        super().__init__(context)
        self.runtime = runtime

    def _handle_event(self, event: events.Event) -> Commands:
        error: str | None = yield commands.OpenConnection(self.context.server)
        if not error:
            if self.context.server.alpn == b"h2":
                self.child_layer = http2.Client(self.context)
            else:
                self.child_layer = http1.Client(self.context, self.runtime)
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            yield from self._handle_event(event)
        yield RegisterHttpConnection(self.context.server, error)
