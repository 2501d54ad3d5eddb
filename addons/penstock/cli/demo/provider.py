"""The embedded provider: an HTTPS server on loopback that answers as the documented APIs do.

OpenAI chat completions, Anthropic messages (streamed) and a real MCP server, under their
own host names. Answers repeat what was received, so that a placeholder sent upstream comes
back in the answer; everything received is kept for the demo to look at.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

OPENAI_HOST = "api.openai.com"
ANTHROPIC_HOST = "api.anthropic.com"
TOOLS_HOST = "tools.example.com"
HOSTS = [OPENAI_HOST, ANTHROPIC_HOST, TOOLS_HOST]

PIECE_CHARACTERS = 5  # a placeholder arrives in several events
START_SECONDS = 10


def last_user_text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def count(text: str) -> int:
    """Tokens, roughly: the provider's own count is what Penstock must take."""
    return max(1, len(text) // 4)


class Provider:
    """Serves until ``stop``; ``received`` holds the body of every call, in order."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.received: list[bytes] = []
        tools = self.tool_server().streamable_http_app(
            transport_security=TransportSecuritySettings(allowed_hosts=[TOOLS_HOST])
        )
        application = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                *tools.routes,
            ],
            lifespan=tools.router.lifespan_context,
        )
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.server = uvicorn.Server(
            uvicorn.Config(
                application,
                ssl_certfile=str(certificate),
                ssl_keyfile=str(key),
                log_level="critical",
                timeout_graceful_shutdown=1,
            )
        )
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def start(self) -> None:
        self.thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.server.started:
            if time.monotonic() > deadline or not self.thread.is_alive():
                raise RuntimeError("the embedded provider did not start")
            time.sleep(0.01)

    def serve(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=5)

    async def chat(self, request: Request) -> Response:
        """OpenAI chat completions, not streamed (API reference: POST /v1/chat/completions)."""
        raw = await request.body()
        self.received.append(raw)
        body = json.loads(raw)
        question = last_user_text(body)
        answer = f"You asked: {question}"
        return JSONResponse(
            {
                "id": "chatcmpl-demo",
                "object": "chat.completion",
                "created": 1767225600,
                "model": f"{body['model']}-2026-01-01",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": answer, "refusal": None},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": count(question),
                    "completion_tokens": count(answer),
                    "total_tokens": count(question) + count(answer),
                },
            }
        )

    async def messages(self, request: Request) -> Response:
        """Anthropic messages, streamed (API reference: POST /v1/messages, stream=true)."""
        raw = await request.body()
        self.received.append(raw)
        body = json.loads(raw)
        return StreamingResponse(
            self.message_events(body["model"], last_user_text(body)),
            media_type="text/event-stream",
        )

    async def message_events(self, model: str, question: str) -> AsyncIterator[bytes]:
        answer = f"I was told: {question}"
        start: dict[str, Any] = {
            "id": "msg_demo",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": count(question), "output_tokens": 1},
        }
        yield event("message_start", {"message": start})
        block = {"type": "text", "text": ""}
        yield event("content_block_start", {"index": 0, "content_block": block})
        yield event("ping", {})
        for at in range(0, len(answer), PIECE_CHARACTERS):
            piece = {"type": "text_delta", "text": answer[at : at + PIECE_CHARACTERS]}
            yield event("content_block_delta", {"index": 0, "delta": piece})
            await asyncio.sleep(0.002)
        yield event("content_block_stop", {"index": 0})
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield event("message_delta", {"delta": delta, "usage": {"output_tokens": count(answer)}})
        yield event("message_stop", {})

    def tool_server(self) -> MCPServer:
        server = MCPServer("demo-tools", log_level="ERROR")

        @server.tool()
        def get_weather(city: str) -> str:
            """The weather in a city."""
            return f"It is sunny in {city}."

        @server.tool()
        def delete_repository(name: str) -> str:
            """Delete a repository for ever."""
            self.received.append(f"DELETED {name}".encode())
            return f"{name} is gone."

        return server


def event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
