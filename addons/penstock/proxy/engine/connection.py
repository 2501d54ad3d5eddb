"""The life of one client connection: events in, commands carried out.

Differences from the stock handler: hooks fail closed; hooks that need no waiting run at
once instead of as tasks; pieces written to one peer leave in one write; an error in the
protocol core closes the connection instead of leaving it hanging; upstream addresses are
checked between resolving and connecting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any

from mitmproxy.connection import Address, Connection, ConnectionState, Server
from mitmproxy.master import Master
from mitmproxy.proxy import commands, events, server_hooks
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.utils import asyncio_utils

from penstock.proxy.engine import dial, fail_closed, pool
from penstock.proxy.engine.fail_closed import Hooks
from penstock.proxy.engine.refusal import CLOSED_ADDRESS, TIMED_OUT
from penstock.proxy.engine.runtime import Runtime

logger = logging.getLogger(__name__)


class Handler(ProxyConnectionHandler):
    """Carries one client and its upstreams."""

    def __init__(
        self,
        master: Master,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mode: ProxyMode,
        runtime: Runtime,
        hooks: Hooks,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call] # an untyped base
            master, reader, writer, master.options, mode
        )
        self.runtime = runtime
        self._hooks = hooks
        self._unsent: dict[Connection, list[bytes]] = {}

    def close_client(self) -> None:
        """End the client connection, whatever state it is in."""
        io = self.transports.get(self.client)
        if io is not None and io.handler is not None:
            self.close_connection(self.client)
        elif io is not None and io.writer is not None:
            self.client.error = "closed"

    async def handle_connection(self, connection: Connection) -> None:
        """Read from a peer until it is over."""
        if connection is self.client:
            # The core's tasks start at once, and that of a client who has said everything and is
            # gone would be over before the core has noted it.
            await asyncio.sleep(0)
        await super().handle_connection(connection)

    # ------------------------------------------------------------------ hooks

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run a hook of the connection's own life (connect, disconnect)."""
        rest = self._hooks.run(hook, self.close_client)
        if rest is not None:
            with self.timeout_watchdog.disarm():
                await rest
        if isinstance(hook, server_hooks.ClientDisconnectedHook):
            self._keep_upstreams()

    def _keep_upstreams(self) -> None:
        """The client is gone: what it leaves open and idle may serve the next one."""
        runtime = self.runtime
        for server, io in self.transports.items():
            stack, since = runtime.upstreams.get(server), runtime.idle_since.get(server)
            if stack is None or since is None or runtime.draining:
                continue
            assert isinstance(server, Server)  # only upstreams are in there
            key = pool.key_of(self.layer.context, server)
            kept = pool.kept_from(key, server, stack, io, since)
            if kept is not None and io.handler is not None:
                writer: Any = pool.KeptOpen()
                io.writer = writer
                runtime.pool.keep(kept, io.handler)

    async def _complete(self, hook: commands.StartHook, rest: Awaitable[None]) -> None:
        with self.timeout_watchdog.disarm():
            await rest
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    # ------------------------------------------------------------------ events and commands

    async def server_event(self, event: events.Event) -> None:
        """Give the layers an event and do what they ask, until nothing is left to do."""
        async with self._server_event_lock:
            # No await below: a hook's completion is handled in the order it happens.
            self.timeout_watchdog.register_activity()
            fail_closed.guarded(self._handle, event, self._crashed)
            for connection in list(self._unsent):
                self._flush(connection)

    def _handle(self, event: events.Event) -> None:
        pending = deque((event,))
        while pending:
            for command in self.layer.handle_event(pending.popleft()):
                self._carry_out(command, pending)

    def _carry_out(self, command: commands.Command, pending: deque[events.Event]) -> None:
        if isinstance(command, commands.SendData):
            if command.connection in self.transports:
                self._unsent.setdefault(command.connection, []).append(command.data)
        elif isinstance(command, commands.StartHook):
            # A stream has run its hook already when it hands one up with something to await.
            rest = vars(command).pop("rest", None)
            if rest is None:
                rest = self._hooks.run(command, self.close_client)
            if rest is not None:
                self._spawn(self._complete(command, rest), command.name)
            elif command.blocking:
                pending.append(events.HookCompleted(command))
        elif isinstance(command, commands.OpenConnection):
            assert command.connection not in self.transports
            task = self._spawn(self.open_connection(command), "upstream connection")
            self.transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.CloseConnection):
            if command.connection in self.transports:
                self._flush(command.connection)
                half = isinstance(command, commands.CloseTcpConnection) and command.half_close
                writer = self.transports[command.connection].writer
                if half and isinstance(writer, asyncio.StreamWriter):
                    half = writer.can_write_eof()  # TLS on our own port cannot
                self.close_connection(command.connection, half)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(self._spawn(self.wakeup(command), "wakeup"))
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise RuntimeError(f"unexpected command {type(command).__name__}")

    def _spawn(self, work: object, name: str) -> asyncio.Task[None]:
        return asyncio_utils.create_task(
            work,  # type: ignore[arg-type] # a coroutine
            name=name,
            keep_ref=True,
            client=self.client.peername,
        )

    def _crashed(self, error: Exception) -> None:
        self.runtime.failures["core:deny"] += 1
        logger.error(
            "%s in the protocol core at %s: connection closed",
            type(error).__name__,
            fail_closed.place(error),
        )
        self.close_client()

    def _flush(self, connection: Connection) -> None:
        pieces = self._unsent.pop(connection, None)
        io = self.transports.get(connection)
        if not pieces or io is None or io.writer is None or io.writer.is_closing():
            return
        if connection.state & ConnectionState.CAN_WRITE:
            io.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # ------------------------------------------------------------------ upstream connections

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Connect to an upstream and read from it until it is over."""
        try:
            await self._open_connection(command)
        finally:
            self.runtime.upstreams.pop(command.connection, None)

    async def _open_connection(self, command: commands.OpenConnection) -> None:
        server = command.connection
        data = server_hooks.ServerConnectionHookData(client=self.client, server=server)
        if not server.address:
            await self.server_event(events.OpenConnectionCompleted(command, "no address"))
            return
        await self.handle_hook(server_hooks.ServerConnectHook(data))
        kept = self.runtime.pool.collect(server) if isinstance(server, Server) else None
        if server.error:
            if kept is not None:
                kept.writer.close()
            await self._not_opened(command, data, server.error)
            return
        async with self.max_conns[server.address]:
            server.timestamp_start = time.time()
            try:
                if kept is None:
                    reader, writer = await dial.connect(server, self.runtime)
                else:
                    reader, writer = await kept.released()
            except asyncio.CancelledError:
                await self._not_opened(command, data, "connection cancelled")
                raise
            except dial.ClosedAddressError:
                await self._not_opened(command, data, CLOSED_ADDRESS)
                return
            except TimeoutError:
                await self._not_opened(command, data, TIMED_OUT)
                return
            except OSError as error:
                await self._not_opened(command, data, error.strerror or "connection failed")
                return
            server.timestamp_tcp_setup = time.time()
            server.state = ConnectionState.OPEN
            server.peername = _address(writer.get_extra_info("peername"))
            server.sockname = _address(writer.get_extra_info("sockname"))
            self.transports[server] = ConnectionIO(asyncio.current_task(), reader, writer)
            await self.handle_hook(server_hooks.ServerConnectedHook(data))
            await self.server_event(events.OpenConnectionCompleted(command, None))
            try:
                await self.handle_connection(server)
            finally:
                server.timestamp_end = time.time()
                await self.handle_hook(server_hooks.ServerDisconnectedHook(data))

    async def _not_opened(
        self,
        command: commands.OpenConnection,
        data: server_hooks.ServerConnectionHookData,
        error: str,
    ) -> None:
        data.server.error = error
        await self.handle_hook(server_hooks.ServerConnectErrorHook(data))
        self.transports.pop(data.server, None)
        await self.server_event(events.OpenConnectionCompleted(command, error))


def _address(name: tuple[str, int]) -> Address:
    return name[0], name[1]
