"""Which protocol comes next on a connection. Three answers only, and no guessing.

To the proxy itself, and to a port that stands for one server: HTTP. Inside a tunnel or on a
redirected connection: TLS or HTTP, or opaque bytes where the destination is not to be looked
into. Everything the stock addon
also knows (raw TCP by guess, DNS, UDP, QUIC) does not exist here: it would be a way
around the checks.
"""

from __future__ import annotations

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import TCPLayer, modes
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import ServerTLSLayer

from penstock.proxy.engine.layers import Http
from penstock.proxy.engine.runtime import Runtime
from penstock.proxy.engine.tls import ClientTls

# A TLS record is recognised by three bytes, a request line by its method and a space.
TLS_PREFIX_BYTES = 3
METHOD_BYTES_MAX = 24


class NextLayer:
    """The addon the core asks for the next layer."""

    name = "nextlayer"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def next_layer(self, data: layer.NextLayer) -> None:
        """Set ``data.layer`` once enough bytes are there."""
        context = data.context
        received = data.data_client()
        if len(context.layers) == 1 and isinstance(context.layers[0], modes.HttpProxy):
            data.layer = Http(context, HTTPMode.regular, self._runtime)
        elif len(received) < TLS_PREFIX_BYTES:
            return
        elif len(context.layers) == 1 and isinstance(context.layers[0], modes.ReverseProxy):
            data.layer = self._reverse(context, received)
        elif starts_like_tls_record(received) and not context.client.tls:
            tls = ServerTLSLayer(context)
            tls.child_layer = ClientTls(context)
            data.layer = tls
        elif self._opaque(context, received):
            data.layer = TCPLayer(context, ignore=True)
        else:
            data.layer = Http(context, HTTPMode.transparent, self._runtime)

    def _reverse(self, context: Context, received: bytes) -> layer.Layer:
        """A client that takes this port for the server itself: plain HTTP only."""
        if starts_like_tls_record(received):
            return Hangup(context)
        reverse = self._runtime.settings.reverse
        context.server.tls = reverse is not None and reverse.scheme == "https"
        return Http(context, HTTPMode.transparent, self._runtime)

    def _opaque(self, context: Context, received: bytes) -> bool:
        """Bytes that are neither TLS nor HTTP, to a destination that is not looked into."""
        if context.client.tls or context.server.address is None or _starts_like_http(received):
            return False
        host, port = context.server.address[:2]
        return self._runtime.callbacks.wants(host, port) == "tunnel"


class Hangup(layer.Layer):
    """Closes the connection: there is nothing to say in the client's protocol."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield commands.CloseConnection(self.context.client)


def _starts_like_http(received: bytes) -> bool:
    method, space, _ = received[: METHOD_BYTES_MAX + 1].partition(b" ")
    if not space:
        return len(received) <= METHOD_BYTES_MAX and received.isalpha()
    return method.isalpha()
