"""The admin address: ``/healthz``, ``/readyz``, ``/metrics``, ``/status``.

Read only, and on loopback by default. Served by uvicorn on the proxy's own loop. It never
shows prompt text or keys, and the proxy refuses to be used as a way to reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

# Prometheus text format 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CONTAINED = "contained"
CONNECTIONS_MAX = 64  # probes and one or two scrapers; more is somebody else


class QuietServer(uvicorn.Server):
    """uvicorn that leaves signals to the proxy's own drain, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serving(routes: list[Route], connections_max: int, **more: Any) -> QuietServer:
    """A server of ``routes`` that logs nothing and says nothing of itself."""
    return QuietServer(
        uvicorn.Config(
            Starlette(routes=routes),
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=connections_max,
            timeout_graceful_shutdown=1,
            **more,
        )
    )


class Admin:
    """The admin server. ``ready`` and ``status`` are asked at each request."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Callable[[], bytes],
        ready: Callable[[], bool],
        status: Callable[[], Mapping[str, Any]],
        keys: Callable[[], Mapping[str, Any]] = dict,
        contained: Callable[[], bool] = bool,
    ) -> None:
        self.metrics = metrics
        self.ready = ready
        self.status = status
        self.keys = keys
        self.contained = contained
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Named as TCP, because asyncio switches delays off for such sockets only.
        self.socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((host, port))
        except OSError as error:
            self.socket.close()
            why = error.strerror or "not an address"
            raise OSError(f"cannot listen on the admin address {host}:{port}: {why}") from error
        self.address: tuple[str, int] = self.socket.getsockname()[:2]
        routes = [
            Route("/healthz", self.health),
            Route("/readyz", self.readiness),
            Route("/metrics", self.exposition),
            Route("/status", self.show_status),
            Route("/.well-known/jwks.json", self.show_keys),
        ]
        self.server = serving(routes, CONNECTIONS_MAX)
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve on the running loop until ``stop``."""
        self.task = asyncio.create_task(self.server.serve(sockets=[self.socket]))
        await self.server.listening.wait()

    async def stop(self) -> None:
        """Close the listener and wait for answers under way."""
        self.server.should_exit = True
        if self.task is not None:
            await self.task

    async def health(self, _request: Request) -> Response:
        """The process serves its loop."""
        return PlainTextResponse(self.said("ok"))

    async def readiness(self, _request: Request) -> Response:
        """New calls are welcome: listening, policy loaded, not draining."""
        if self.ready():
            return PlainTextResponse(self.said("ready"))
        return PlainTextResponse("not ready\n", status_code=503)

    def said(self, word: str) -> str:
        """The body of a probe's answer: for people, the status code is for probes."""
        return f"{word}, {CONTAINED}\n" if self.contained() else f"{word}\n"

    async def exposition(self, _request: Request) -> Response:
        return Response(self.metrics(), media_type=METRICS_TYPE)

    async def show_keys(self, _request: Request) -> Response:
        """The public key that stated identities are verified with."""
        return JSONResponse(dict(self.keys()))

    async def show_status(self, _request: Request) -> Response:
        return JSONResponse(dict(self.status()))
