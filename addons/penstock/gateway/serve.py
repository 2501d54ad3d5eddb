"""``penstock mcp serve``: the endpoint, the servers behind it, health, reload, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from penstock.gateway.clients.authenticated import Authenticated
from penstock.gateway.clients.endpoint import Endpoint
from penstock.gateway.servers.file import ServerEntry, load
from penstock.gateway.servers.upstream import Upstream
from penstock.gateway.stdio.process_keys import problems_of
from penstock.policy.language.problem import ConfigError
from penstock.proxy.control.admin import Admin, QuietServer
from penstock.proxy.service import Service
from penstock.proxy.settings import DRAIN_SECONDS, Address

PATH = "/mcp"
SDK_LOGGERS = ("mcp", "client")
# How often the file is looked at.
RELOAD_SECONDS = 1.0
# Clients at once; each has a stream or two open.
CONNECTIONS_MAX = 2000
# Streams that clients keep open have no end of their own: once no call runs, they are closed.
CLOSE_SECONDS = 1
DRAIN_STEP_SECONDS = 0.1


@dataclass(slots=True)
class Serve:
    """One serving process; ``service`` is prepared and ``file`` loaded before it runs."""

    service: Service
    file: Path
    listen: Address
    version: str
    tell: Callable[[str], None]
    way_out: tuple[str, ...] = ()
    ready: Callable[[Address, Address], None] = lambda _listen, _admin: None
    endpoint: Endpoint = field(init=False)
    servers: Mapping[str, ServerEntry] = field(default_factory=dict)
    draining: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Until SIGTERM or SIGINT.

        Raises:
            OSError: a port cannot be used.
        """
        for name in SDK_LOGGERS:  # their texts hold URLs with session ids, and what servers say
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self.endpoint = Endpoint(self.service, self.version, self.tell, self.way_out)
        listener = socket.create_server(self.listen, family=_family(self.listen))
        admin_address = self.service.settings.admin
        assert admin_address is not None  # the command line has a default
        admin = Admin(
            *admin_address,
            metrics=self.service.recording.metrics.expose,
            ready=lambda: self.service.ready,
            status=self.status,
            contained=lambda: self.service.contained.now,
            keys=self.service.governance.public_keys,
        )
        app = self.endpoint.server.streamable_http_app(
            streamable_http_path=PATH, host=self.listen[0]
        )
        server = QuietServer(
            uvicorn.Config(
                Authenticated(app, self.service.governance),
                log_level="critical",
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )
        self._on_signals(server)
        self.service.contained.hang_up = lambda _let_finish: hang_up(server)
        await admin.start()
        try:
            async with self.service.kept_up():
                await self._serve(server, listener, admin.address)
        finally:
            await admin.stop()
        return 0

    async def _serve(self, server: QuietServer, listener: socket.socket, admin: Address) -> None:
        self.adopt(self.servers)
        watching = asyncio.create_task(self.watch())
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        listen: Address = listener.getsockname()[:2]
        self.service.ready = True
        policy = self.service.governance.policy
        self.tell(f"policy {policy.name}: {len(policy.rules)} rules, mode {policy.mode}")
        if policy.callers is None and not ipaddress.ip_address(listen[0]).is_loopback:
            self.tell("warning: not on loopback: whoever reaches this address may call the tools")
        self.tell(f"serving http://{_text(listen)}{PATH}, health and metrics on {_text(admin)}")
        self.ready(listen, admin)
        try:
            await serving
        finally:
            self.service.ready = False
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await self.endpoint.close()

    def _on_signals(self, server: QuietServer) -> None:
        async def drain() -> None:
            until = time.monotonic() + DRAIN_SECONDS
            while self.endpoint.running and time.monotonic() < until:  # noqa: ASYNC110 - asked rarely
                await asyncio.sleep(DRAIN_STEP_SECONDS)
            self.endpoint.listening.close()
            server.should_exit = True

        def stop() -> None:
            if self.service.ready:
                self.tell("stopping: running answers may finish")
                self.draining = asyncio.create_task(drain())
            self.service.ready = False

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)

    # ------------------------------------------------------------------ the servers behind it

    def adopt(self, servers: Mapping[str, ServerEntry]) -> list[Upstream]:
        """Make ``servers`` the ones in use; those that stay the same stay connected."""
        gone = []
        current = self.endpoint.upstreams
        for name, upstream in list(current.items()):
            if servers.get(name) != upstream.entry:
                gone.append(current.pop(name))
        for name, entry in servers.items():
            if name not in current:
                current[name] = Upstream(name, entry, self.endpoint.around)
        self.servers = servers
        return gone

    async def watch(self) -> None:
        """Take up a changed file; a bad one changes nothing."""
        seen = _mark(self.file)
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            await self.endpoint.parking.expire()
            mark = _mark(self.file)
            if mark == seen:
                continue
            seen = mark
            try:
                servers = await asyncio.to_thread(self.load)
            except ConfigError as error:
                self.tell(f"the changed {self.file} was refused, the servers stay as they are:")
                for problem in error.problems:
                    self.tell(f"  {problem}")
                continue
            gone = self.adopt(servers)
            self.tell(f"servers reloaded: {', '.join(servers)}")
            for kind in ("tools", "prompts", "resources"):
                self.endpoint.changed(kind)
            await asyncio.gather(*(one.close() for one in gone), return_exceptions=True)

    def load(self) -> Mapping[str, ServerEntry]:
        """The file's servers; raises ConfigError, also where the policy has not their keys."""
        governance = self.service.governance
        return load(self.file, check=lambda name, entry: problems_of(name, entry, governance))

    def status(self) -> dict[str, Any]:
        """What ``/status`` shows."""
        return {
            **self.service.status(),
            "servers": {
                name: {
                    "state": upstream.status.state,
                    "protocol": upstream.status.era,
                    "tools": upstream.status.tools,
                    "failures": upstream.status.failures,
                    "error": upstream.status.error,
                    "since": upstream.status.since,
                    "connections": len(upstream.callers),
                    "dropped": upstream.dropped
                    + sum(one.inbox.dropped for one in upstream.connections),
                }
                for name, upstream in self.endpoint.upstreams.items()
            },
        }


def hang_up(server: QuietServer) -> int:
    """End every client's connection, its open streams with it; how many. What a server works on
    ends by itself, and nobody is there to hear it.
    """
    connections = list(server.server_state.connections)
    for connection in connections:
        transport = connection.transport
        if transport is not None:
            transport.abort()
    return len(connections)


def _mark(file: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_size
    return None


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
