"""A fake Gemini API that answers a streamed question; shapes after the provider's documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

HOST = "generativelanguage.googleapis.com"
PIECE_CHARACTERS = 7
USAGE = {"promptTokenCount": 500, "candidatesTokenCount": 20, "totalTokenCount": 520}


def last_text(body: dict[str, Any]) -> str:
    parts = body["contents"][-1]["parts"]
    return "".join(part.get("text", "") for part in parts)


def answer(text: str, *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "index": 0,
    }
    if last:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-2.5-pro"}


def streamed(text: str) -> Iterator[str]:
    for at in range(0, len(text), PIECE_CHARACTERS):
        last = at + PIECE_CHARACTERS >= len(text)
        piece = answer(text[at : at + PIECE_CHARACTERS], last=last)
        yield f"data: {json.dumps(piece)}\r\n\r\n"


class Gemini:
    """The application, and the bodies it received."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.application = Starlette(
            routes=[
                Route("/v1beta/models/{call:path}", self.generate, methods=["POST"]),
                Route("/{path:path}", self.other, methods=["GET", "POST"]),
            ]
        )

    async def generate(self, request: Request) -> Response:
        raw = await request.body()
        self.received.append(raw)
        body = json.loads(raw)
        call = request.path_params["call"]
        if call.endswith(":countTokens"):
            return JSONResponse({"totalTokens": 500})
        text = f"You said: {last_text(body)}"
        if call.endswith(":streamGenerateContent"):
            return StreamingResponse(streamed(text), media_type="text/event-stream")
        return JSONResponse(answer(text, last=True))

    async def other(self, request: Request) -> Response:
        self.received.append(await request.body())
        return JSONResponse({"error": {"code": 404, "status": "NOT_FOUND"}}, 404)
