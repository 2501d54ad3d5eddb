"""Takes the server's name off what `penstock mcp serve` says, and puts it before what it is asked.

The suite calls tools and resources by fixed names, and behind one address they have their server's
name before them. Nothing else is touched: bodies are the same JSON with other names, streams pass
as they come.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

SERVER = "suite"
NOT_PASSED_ON = ("content-length", "transfer-encoding", "connection", "date", "server")


def named(message: Any) -> Any:
    """A client's message with the server's name before its things."""
    params = message.get("params") if isinstance(message, dict) else None
    if not isinstance(params, dict):
        return message
    method = message.get("method", "")
    if method in ("tools/call", "prompts/get") and isinstance(params.get("name"), str):
        params["name"] = f"{SERVER}__{params['name']}"
    if method.startswith("resources/") and isinstance(params.get("uri"), str):
        params["uri"] = f"{SERVER}+{params['uri']}"
    reference = params.get("ref")
    if isinstance(reference, dict):
        for key, between in (("name", "__"), ("uri", "+")):
            if isinstance(reference.get(key), str):
                reference[key] = f"{SERVER}{between}{reference[key]}"
    wanted = params.get("notifications")
    if isinstance(wanted, dict) and isinstance(wanted.get("resourceSubscriptions"), list):
        uris = wanted["resourceSubscriptions"]
        wanted["resourceSubscriptions"] = [f"{SERVER}+{uri}" for uri in uris]
    return message


def unnamed(said: bytes) -> bytes:
    """What the endpoint says, with the names the suite knows."""
    for between in ("__", "+"):
        said = said.replace(f'"{SERVER}{between}'.encode(), b'"')
    return said


def application(origin: str) -> Starlette:
    """``origin`` is where the endpoint listens: ``http://127.0.0.1:8090``."""
    client = httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=None))

    async def pass_on(request: Request) -> Response:
        body = await request.body()
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in (*NOT_PASSED_ON, "host", "accept-encoding")
        ]
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        if isinstance(message, dict):
            method = message.get("method")
            body = json.dumps(named(message), ensure_ascii=False).encode()
            between = "+" if method == "resources/read" else "__"
            if method in ("tools/call", "prompts/get", "resources/read"):
                headers = [
                    (name, f"{SERVER}{between}{value}" if name == "mcp-name" else value)
                    for name, value in headers
                ]
        headers += [("host", request.headers.get("host", "")), ("accept-encoding", "identity")]
        sent = client.build_request(request.method, origin + "/mcp", headers=headers, content=body)
        answer = await client.send(sent, stream=True)
        kept = {k: v for k, v in answer.headers.items() if k not in NOT_PASSED_ON}
        if "text/event-stream" not in answer.headers.get("content-type", ""):
            said = unnamed(await answer.aread())
            await answer.aclose()
            return Response(said, answer.status_code, kept)

        async def events() -> AsyncIterator[bytes]:
            waiting = b""
            try:
                async for chunk in answer.aiter_raw():
                    *whole, waiting = (waiting + chunk).split(b"\n")
                    yield b"".join(unnamed(line) + b"\n" for line in whole)
                yield unnamed(waiting)
            finally:
                await answer.aclose()

        return StreamingResponse(events(), answer.status_code, kept)

    methods = ["GET", "POST", "DELETE", "OPTIONS"]
    return Starlette(routes=[Route("/mcp", pass_on, methods=methods)])
