"""Small addons the engine tests load into a real process.

The request's path says what they do, so that one process serves many cases.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

from mitmproxy import http

from penstock.proxy.aside import Work
from penstock.proxy.engine.stream import StreamTransform


def tell(**what: object) -> None:
    """One JSON line to the test."""
    print(json.dumps(what), flush=True)


class Watch:
    """Tells about the ends of calls."""

    def error(self, flow: http.HTTPFlow) -> None:
        tell(hook="error", path=flow.request.path, refused=flow.metadata.get("penstock.refused"))

    def response(self, flow: http.HTTPFlow) -> None:
        tell(hook="response", path=flow.request.path)


class Raises(Watch):
    """``/raise/HOOK`` raises in that hook; ``/async/HOOK`` after waiting."""

    def _maybe(self, hook: str, flow: http.HTTPFlow) -> None:
        if flow.request.path == f"/raise/{hook}":
            raise ValueError("a text that holds sk-secret-canary")

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self._maybe("requestheaders", flow)

    async def request(self, flow: http.HTTPFlow) -> None:
        self._maybe("request", flow)
        if flow.request.path == "/async/request":
            await asyncio.sleep(0.05)
            raise ValueError("later")
        if flow.request.path == "/async/fine":
            await asyncio.sleep(0.05)
            flow.request.headers["x-seen"] = "later"

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        self._maybe("responseheaders", flow)

    def response(self, flow: http.HTTPFlow) -> None:
        self._maybe("response", flow)


class Transform:
    """Passes everything on; the base of the others."""

    changes_length = True
    finished = False

    def feed(self, chunk: bytes) -> list[bytes]:
        return [chunk]

    def end(self) -> list[bytes]:
        return []

    def failed(self, error: BaseException) -> list[bytes]:
        return [b"event: error\n\n"]


class Upper(Transform):
    changes_length = False

    def feed(self, chunk: bytes) -> list[bytes]:
        return [chunk.upper()]


class Grow(Upper):
    """Says that it keeps the length, and does not."""

    def feed(self, chunk: bytes) -> list[bytes]:
        return [chunk + b"HTTP/1.1 200 OK\r\n\r\n"]


class Hold(Transform):
    def __init__(self) -> None:
        self.held: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        self.held.append(chunk)
        return []

    def end(self) -> list[bytes]:
        return [b"".join(self.held), b"+end"]


class Empty(Transform):
    def feed(self, chunk: bytes) -> list[bytes]:
        return [b"", chunk, b""]


class BoomFeed(Transform):
    def feed(self, chunk: bytes) -> list[bytes]:
        raise ValueError(chunk)


class BoomEnd(Transform):
    def end(self) -> list[bytes]:
        raise ValueError("end")


class BoomTwice(BoomFeed):
    def failed(self, error: BaseException) -> list[bytes]:
        raise ValueError("failed")


class Finish(Transform):
    def feed(self, chunk: bytes) -> list[bytes]:
        self.finished = b"stop" in chunk
        return [chunk.replace(b"stop", b"refused")]


class AsideHold(Hold):
    """Asks slow detectors: the engine feeds it in a worker."""

    aside = True

    def feed(self, chunk: bytes) -> list[bytes]:
        assert threading.current_thread() is not threading.main_thread()
        time.sleep(0.2)  # the loop would be held
        return super().feed(chunk)


class AsideBoom(BoomFeed):
    aside = True


class AsideFinish(Finish):
    aside = True


TRANSFORMS: dict[str, type[Transform]] = {
    "/upper": Upper,
    "/grow": Grow,
    "/hold": Hold,
    "/empty": Empty,
    "/boom-feed": BoomFeed,
    "/boom-end": BoomEnd,
    "/boom-twice": BoomTwice,
    "/finish": Finish,
    "/same": Transform,
    "/aside-hold": AsideHold,
    "/aside-boom": AsideBoom,
    "/aside-finish": AsideFinish,
}


class Streams(Watch):
    """``/NAME`` streams through that transform; ``/true`` streams untouched."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.request.path == "/refuse":
            flow.response = http.Response.make(403, b"refused", {"x-by": "test"})

    async def work_aside(self, work: Work[Any]) -> None:
        work.outcome = await asyncio.to_thread(work.run)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        assert flow.response
        if flow.request.path == "/replace":
            flow.response = http.Response.make(403, b"replaced")
        elif flow.request.path == "/true":
            flow.response.stream = True
        elif flow.request.path == "/callable":
            flow.response.stream = lambda chunk: chunk
        elif made := TRANSFORMS.get(flow.request.path):
            transform: StreamTransform = made()
            flow.response.stream = transform  # type: ignore[assignment] # the engine's contract


class Sockets(Watch):
    """Lets WebSocket messages pass, drops ``drop``, raises on ``boom``."""

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        assert flow.websocket
        message = flow.websocket.messages[-1]
        tell(messages=len(flow.websocket.messages))
        if message.content == b"boom":
            raise ValueError("boom")
        if message.content == b"drop":
            message.drop()
