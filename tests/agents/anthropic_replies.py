"""A fake Anthropic Messages API that plays one turn of an agent: read a file, then answer.

Shapes after the provider's documentation of Messages and of streaming. It keeps every body it
received, which is what left the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

HOST = "api.anthropic.com"
PIECE_CHARACTERS = 7  # a placeholder arrives over several events
USAGE = {"input_tokens": 900, "output_tokens": 40}


def event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def streamed(model: str, blocks: list[dict[str, Any]], stop_reason: str) -> Iterator[str]:
    """One assistant message as the events of a stream."""
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": 1},
    }
    yield event("message_start", message=message)
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            start, text = {"type": "text", "text": ""}, block["text"]
            kind, name = "text_delta", "text"
        else:
            start, text = {**block, "input": {}}, json.dumps(block["input"])
            kind, name = "input_json_delta", "partial_json"
        yield event("content_block_start", index=index, content_block=start)
        for at in range(0, len(text), PIECE_CHARACTERS):
            delta = {"type": kind, name: text[at : at + PIECE_CHARACTERS]}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    yield event(
        "message_delta",
        delta={"stop_reason": stop_reason, "stop_sequence": None},
        usage=USAGE,
    )
    yield event("message_stop")


def tool_result(messages: list[dict[str, Any]]) -> str | None:
    """The text of the last tool result in the conversation."""
    for message in reversed(messages):
        content = message["content"] if isinstance(message["content"], list) else []
        for block in content:
            if block.get("type") == "tool_result":
                inner = block["content"]
                return inner if isinstance(inner, str) else "".join(b["text"] for b in inner)
    return None


class Agency:
    """The application and what it received. ``file`` is what the agent is told to read."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.received: list[bytes] = []
        self.paths: list[str] = []
        everything = ["GET", "POST", "PUT", "DELETE", "HEAD"]
        self.application = Starlette(
            routes=[
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self.count, methods=["POST"]),
                Route("/{path:path}", self.other, methods=everything),
            ]
        )

    async def messages(self, request: Request) -> Response:
        raw = await request.body()
        self.received.append(raw)
        self.paths.append(request.url.path)
        body = json.loads(raw)
        blocks, reason = self.reply(body)
        if body.get("stream"):
            events = streamed(body["model"], blocks, reason)
            return StreamingResponse(events, media_type="text/event-stream")
        message = {"id": "msg_02", "type": "message", "role": "assistant", "model": body["model"]}
        ending = {"content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": USAGE}
        return JSONResponse({**message, **ending})

    def reply(self, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        tools = {tool.get("name") for tool in body.get("tools", [])}
        if "Read" not in tools:  # a side errand of the agent: a title, a quota probe
            return [{"type": "text", "text": "ok"}], "end_turn"
        found = tool_result(body["messages"])
        if found is None:
            call = {
                "type": "tool_use",
                "id": "toolu_01",
                "name": "Read",
                "input": {"file_path": self.file},
            }
            return [{"type": "text", "text": "Reading."}, call], "tool_use"
        return [{"type": "text", "text": f"The file says: {found}"}], "end_turn"

    async def count(self, request: Request) -> Response:
        self.received.append(await request.body())
        return JSONResponse({"input_tokens": 900})

    async def other(self, request: Request) -> Response:
        """Settings, telemetry and the like: there is nothing of the kind here."""
        self.received.append(await request.body())
        self.paths.append(request.url.path)
        error = {"type": "not_found_error", "message": "not found"}
        return JSONResponse({"type": "error", "error": error}, 404)
