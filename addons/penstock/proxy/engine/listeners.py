"""The listening sockets: the stock proxy server addon, serving with our connection handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy import ctx, http, platform
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.mode_servers import ServerInstance

from penstock.proxy.engine.connection import Handler
from penstock.proxy.engine.fail_closed import Hooks
from penstock.proxy.engine.listen_tls import HANDSHAKE_SECONDS, ListenTls, client_certificate
from penstock.proxy.engine.runtime import Listening, Runtime
from penstock.proxy.settings import Address

logger = logging.getLogger(__name__)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listeners(Proxyserver):
    """Opens and closes the ports; knows every live client connection."""

    name = "proxyserver"

    def __init__(self, runtime: Runtime, hooks: Hooks) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # an untyped base
        self._runtime = runtime
        self._hooks = hooks
        self.failed = False

    def exchange_of(self, flow: http.HTTPFlow) -> Any:
        """The running exchange of a flow; None when it is over."""
        return next((one for one in self._runtime.exchanges if one.flow is flow), None)

    async def setup_servers(self) -> bool:
        """Open every port, or none: a port that cannot be opened ends the engine."""
        for text in ctx.options.mode:
            mode = mode_specs.ProxyMode.parse(text)
            instance: Any = ServerInstance.make(mode, self)
            instance.handle_stream = self._serving(instance)
            instance.listen = self._listen_on(instance)
            self.servers._instances[mode] = instance
            try:
                await instance.start()
            except (OSError, ValueError) as error:
                logger.error("cannot listen: %s", error)
                self.failed = True
                ctx.master.shutdown()
                return False
        self._runtime.own_ports |= {address[1] for address in self.listen_addrs()}
        if self._runtime.settings.admin:
            self._runtime.own_ports.add(self._runtime.settings.admin[1])
        return True

    def listening(self) -> Listening:
        """The addresses in use, with the ports the system chose where 0 was asked for."""
        found: dict[str, Address] = {}
        for instance in self.servers:
            host, port, *_ = instance.listen_addrs[0]
            found[instance.mode.type_name] = (host, port)
        return Listening(
            found["regular"], found.get("transparent"), found.get("reverse"), self.hang_up
        )

    def hang_up(self, let_finish: bool) -> int:
        """End every client connection, tunnels included; how many. ``let_finish`` spares those
        with a call that ends by itself, so not those with a WebSocket.
        """
        spared = {
            exchange.context.client.id
            for exchange in self._runtime.exchanges
            if let_finish and exchange.flow.live and exchange.flow.websocket is None
        }
        handlers = [
            handler
            for client, handler in self.connections.items()
            if isinstance(handler, Handler) and client not in spared
        ]
        for handler in handlers:
            handler.close_client()
        return len(handlers)

    async def close(self) -> None:
        """Accept nothing more; running connections go on."""
        await self.servers.update([])

    def _listen_on(self, instance: Any) -> Callable[[str, int], Awaitable[list[asyncio.Server]]]:
        async def listen(host: str, port: int) -> list[asyncio.Server]:
            secure = self._tls(instance)
            server = await asyncio.start_server(
                instance.handle_stream,
                host,
                port,
                reuse_port=self._runtime.settings.reuse_port or None,
                ssl=None if secure is None else secure.context(),
                ssl_handshake_timeout=None if secure is None else HANDSHAKE_SECONDS,
            )
            return [server]

        return listen

    def _tls(self, instance: Any) -> ListenTls | None:
        """The TLS of the proxy's own port: what comes to the others is meant for somebody else."""
        settings = self._runtime.settings
        if settings.tls_certificate is None or not isinstance(
            instance.mode, mode_specs.RegularMode
        ):
            return None
        key = settings.tls_key or settings.tls_certificate
        callbacks = self._runtime.callbacks
        return ListenTls(settings.tls_certificate, key, callbacks.client_ca, callbacks.refused)

    def _serving(self, instance: Any) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handler = Handler(ctx.master, reader, writer, instance.mode, self._runtime, self._hooks)
            handler.layer = instance.make_top_layer(handler.layer.context)
            certificate = client_certificate(writer.get_extra_info("ssl_object"))
            if certificate is not None:
                self._runtime.callbacks.certified(handler.client.id, certificate)
            if isinstance(instance.mode, mode_specs.TransparentMode):
                try:
                    assert platform.original_addr
                    original = platform.original_addr(writer.get_extra_info("socket"))
                except OSError:
                    logger.error("the original destination of a redirected connection is unknown")
                    writer.close()
                    return
                handler.layer.context.client.sockname = original
                handler.layer.context.server.address = original
            with self.register_connection(handler.client.id, handler):
                await handler.handle_client()

        return serve
