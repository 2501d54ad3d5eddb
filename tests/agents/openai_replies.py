"""A fake OpenAI Responses API that plays one turn of an agent: read a file, then say what it holds.

Over a WebSocket and over HTTP, in shapes after the provider's documentation ("Streaming events",
"WebSocket mode"). It keeps every body and message it received, which is what left the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

# The agent asks the last two for models, plug-ins and metrics: it finds nothing there.
HOSTS = ["api.openai.com", "chatgpt.com", "ab.chatgpt.com"]
PIECE_CHARACTERS = 7  # a placeholder arrives over several events
USAGE = {"input_tokens": 900, "output_tokens": 40, "total_tokens": 940}

Event = dict[str, Any]


def events(item: Event, number: int, field: str, model: str) -> Iterator[Event]:
    """One streamed response of one output item; ``field`` is the item's text that grows."""
    response = {"id": f"resp_{number}", "object": "response", "model": model, "output": []}
    done = {**response, "status": "completed", "output": [item], "usage": USAGE}
    kinds = {"arguments": "function_call_arguments", "input": "custom_tool_call_input"}
    kind = f"response.{kinds.get(field, 'output_text')}"
    text = item[field] if field in item else item["content"][0]["text"]
    empty = {**item, field: ""} if field in item else {**item, "content": []}
    where = {"item_id": item["id"], "output_index": 0}
    if field == "text":
        where["content_index"] = 0
    yield {"type": "response.created", "response": {**response, "status": "in_progress"}}
    yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
    for at in range(0, len(text), PIECE_CHARACTERS):
        yield {"type": f"{kind}.delta", "delta": text[at : at + PIECE_CHARACTERS], **where}
    yield {"type": f"{kind}.done", field: text, **where}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": done}


def tool_result(items: list[Event]) -> str | None:
    """The text of the last tool result in the conversation."""
    for item in reversed(items):
        if item.get("type") in ("function_call_output", "custom_tool_call_output"):
            output = item["output"]
            if isinstance(output, str):
                return output
            return "".join(part.get("text", "") for part in output)
    return None


class Agency:
    """The application and what it received. ``file`` is what the agent is told to read.

    Without ``sockets`` an upgrade is refused: HTTP is required (426).
    """

    def __init__(self, file: str, *, sockets: bool = True) -> None:
        self.file = file
        self.sockets = sockets
        self.posts: list[bytes] = []
        self.messages: list[str] = []
        self.upgrades = 0
        self.others: list[bytes] = []
        self.application = Starlette(
            routes=[
                WebSocketRoute("/v1/responses", self.socket),
                Route("/v1/responses", self.post, methods=["POST"]),
                Route("/{path:path}", self.other, methods=["GET", "POST", "PUT"]),
            ]
        )

    async def socket(self, socket: WebSocket) -> None:
        self.upgrades += 1
        if not self.sockets:
            await socket.send_denial_response(Response(status_code=426))
            return
        await socket.accept()
        try:
            while True:
                message = await socket.receive_text()
                self.messages.append(message)
                for event in self.reply(json.loads(message)):
                    await socket.send_text(json.dumps(event))
        except WebSocketDisconnect:
            return

    async def post(self, request: Request) -> Response:
        raw = await request.body()
        self.posts.append(raw)
        lines = [
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            for event in self.reply(json.loads(raw))
        ]
        return StreamingResponse(iter(lines), media_type="text/event-stream")

    def reply(self, body: Event) -> Iterator[Event]:
        number = len(self.posts) + len(self.messages)
        model = body["model"]
        if body.get("generate") is False:  # it only warms up
            warm = {"id": f"resp_{number}", "object": "response", "model": model, "output": []}
            none = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
            yield {"type": "response.created", "response": {**warm, "status": "in_progress"}}
            done = {**warm, "status": "completed", "usage": none}
            yield {"type": "response.completed", "response": done}
            return
        found = tool_result(body["input"])
        item: Event = {"id": f"item_{number}", "status": "completed"}
        if found is not None:
            text = {"type": "output_text", "text": f"The file says: {found}", "annotations": []}
            item |= {"type": "message", "role": "assistant", "content": [text]}
            yield from events(item, number, "text", model)
        elif any(tool.get("name") == "exec_command" for tool in body.get("tools", ())):
            arguments = json.dumps({"cmd": f"cat {self.file}"})
            item |= {"type": "function_call", "name": "exec_command", "arguments": arguments}
            yield from events({**item, "call_id": f"call_{number}"}, number, "arguments", model)
        else:
            # The agent's other way: tools are called from a script of the model's.
            script = f"text((await tools.exec_command({{cmd: 'cat {self.file}'}})).output)"
            item |= {"type": "custom_tool_call", "name": "exec", "input": script}
            item["namespace"] = "functions"
            yield from events({**item, "call_id": f"call_{number}"}, number, "input", model)

    async def other(self, request: Request) -> Response:
        """Models, plug-ins, metrics: there is nothing of the kind here."""
        self.others.append(await request.body())
        return JSONResponse({"error": {"message": "not found"}}, 404)
