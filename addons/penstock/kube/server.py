"""The admission webhook: `review` behind HTTPS, with certificates that are renewed under it.

It answers POST /mutate and GET /healthz and nothing else, keeps no state, and needs no access
to the Kubernetes API. A review it cannot answer gets an HTTP error: the webhook configuration's
failurePolicy then decides, in the one place a cluster's owner looks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.kube.review import review
from penstock.kube.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from uvicorn import Server

BODY_BYTES_MAX = 7 * 1024 * 1024  # etcd holds 1.5 MiB an object; a review carries two, as JSON
BODY_SECONDS_MAX = 5.0  # the API server gives a webhook 10 s in all
CONCURRENT_MAX = 64  # a review costs about a millisecond; more than this is not an API server
RELOAD_SECONDS = 10.0  # a renewed certificate is on disk long before the old one ends
HEAD_BYTES_MAX = 16 * 1024  # the API server's request head is below 1 KiB

log = logging.getLogger(__name__)


def application(settings: Settings) -> Starlette:
    """The webhook as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def mutate(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return PlainTextResponse("content type must be application/json", 415)
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                body = await _read(request)
        except TimeoutError:
            return PlainTextResponse("the review did not arrive in time", 408)
        if body is None:
            return PlainTextResponse(f"the review is over {BODY_BYTES_MAX} bytes", 413)
        try:
            answer = review(json.loads(body), settings)
        except (ValueError, RecursionError) as error:
            return PlainTextResponse(_reason(error), 400)
        _say(answer)
        return JSONResponse(answer)

    async def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/mutate", mutate, methods=["POST"]),
            Route("/healthz", healthy, methods=["GET"]),
        ]
    )


def build_server(settings: Settings, host: str, port: int, cert: Path, key: Path) -> Server:
    """A uvicorn server over TLS. Raises OSError or ssl.SSLError when cert or key is unusable."""
    from uvicorn import Config, Server

    config = Config(
        application(settings),
        host=host,
        port=port,
        ssl_certfile=str(cert),
        ssl_keyfile=str(key),
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONCURRENT_MAX,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    config.load()
    context = config.ssl
    if context is None:
        raise ValueError("the webhook is served over TLS only")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return Server(config)


async def serve(server: Server, cert: Path, key: Path, reload: float = RELOAD_SECONDS) -> None:
    """Serve until SIGTERM or SIGINT; a renewed certificate is used from the next handshake on."""
    context = server.config.ssl
    if context is None:
        raise ValueError("the webhook is served over TLS only")
    async with _reloading(context, cert, key, reload):
        await server.serve()


@contextlib.asynccontextmanager
async def _reloading(
    context: ssl.SSLContext, cert: Path, key: Path, seconds: float
) -> AsyncIterator[None]:
    task = asyncio.create_task(_reload_for_ever(context, cert, key, seconds))
    try:
        yield
    finally:
        task.cancel()


async def _reload_for_ever(context: ssl.SSLContext, cert: Path, key: Path, seconds: float) -> None:
    known = _fingerprint(cert, key)
    while True:
        await asyncio.sleep(seconds)
        seen = _fingerprint(cert, key)
        if seen in (known, None):
            continue
        try:
            # Into a scratch context first: a half-written pair must not spoil the one in use.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            log.warning("the renewed certificate cannot be used yet: %s", error)
            continue
        known = seen
        log.warning("certificate reloaded from %s", cert)


def _fingerprint(*files: Path) -> tuple[tuple[int, int], ...] | None:
    try:
        # A Secret's update swaps a symbolic link: time and inode both change.
        return tuple((file.stat().st_mtime_ns, file.stat().st_ino) for file in files)
    except OSError:
        return None


async def _read(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def _reason(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "the review is not JSON"  # its message would quote the body
    return "the review is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _say(answer: dict[str, object]) -> None:
    response = answer["response"]
    if isinstance(response, dict) and not response["allowed"]:
        log.warning("refused %s: %s", response["uid"], response["status"]["message"])
