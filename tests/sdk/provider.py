"""A provider for SDK tests: the documented answer shapes of four APIs, echoing what it got.

Written from the API references (OpenAI chat completions, responses, embeddings; Anthropic
messages; Gemini generateContent). A prompt that starts with ``tool:`` is answered by a tool
call whose argument is the rest of the prompt; all streams come in pieces of PIECE characters.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PIECE = 3
HOSTS = ["api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"]


def pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), PIECE):
        yield text[at : at + PIECE]


def tokens(text: str) -> int:
    return max(1, len(text) // 4)


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class Provider:
    """``received`` holds every request body; ``attempts`` counts calls by path."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.application = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/responses", self.responses, methods=["POST"]),
                Route("/v1/embeddings", self.embeddings, methods=["POST"]),
                Route("/v1/messages", self.messages, methods=["POST"]),
                Route("/v1beta/models/{call:path}", self.gemini, methods=["POST"]),
                Route("/v1/models/{call:path}", self.gemini, methods=["POST"]),
            ]
        )

    async def body(self, request: Request) -> dict[str, Any]:
        raw = await request.body()
        self.received.append(raw)
        self.headers.append(dict(request.headers))
        parsed: dict[str, Any] = json.loads(raw)
        return parsed

    # ------------------------------------------------------------------ OpenAI chat

    async def chat(self, request: Request) -> Response:
        body = await self.body(request)
        question = text_of(body["messages"][-1]["content"])
        common = {"id": "chatcmpl-1", "created": 1767225600, "model": body["model"] + "-2026-01-01"}
        if body.get("stream"):
            wanted = (body.get("stream_options") or {}).get("include_usage", False)
            return StreamingResponse(
                self.chat_events(common, question, wanted), media_type="text/event-stream"
            )
        message: dict[str, Any] = {"role": "assistant", "content": f"Echo: {question}"}
        finish = "stop"
        if question.startswith("tool:"):
            message = {"role": "assistant", "content": None, "tool_calls": [tool_call(question)]}
            finish = "tool_calls"
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        usage = chat_usage(question)
        return JSONResponse(
            {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        )

    async def chat_events(
        self, common: dict[str, Any], question: str, wanted: bool
    ) -> AsyncIterator[bytes]:
        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            return data({**common, "object": "chat.completion.chunk", "choices": choices})

        if question.startswith("tool:"):
            call = tool_call(question)
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = ""
            yield chunk({"role": "assistant", "tool_calls": [{"index": 0, **call}]})
            for piece in pieces(arguments):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            yield chunk({}, "tool_calls")
        else:
            yield chunk({"role": "assistant", "content": ""})
            for piece in pieces(f"Echo: {question}"):
                yield chunk({"content": piece})
            yield chunk({}, "stop")
        if wanted:
            last = {**common, "object": "chat.completion.chunk", "choices": []}
            yield data({**last, "usage": chat_usage(question)})
        yield b"data: [DONE]\n\n"

    # ------------------------------------------------------------------ OpenAI responses

    async def responses(self, request: Request) -> Response:
        body = await self.body(request)
        given = body["input"]
        question = given if isinstance(given, str) else text_of(given[-1]["content"])
        answer = f"Echo: {question}"
        part = {"type": "output_text", "text": answer, "annotations": []}
        item = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        response = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1767225600,
            "model": body["model"],
            "status": "completed",
            "output": [item],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": tokens(question),
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": tokens(answer),
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": tokens(question) + tokens(answer),
            },
        }
        if not body.get("stream"):
            return JSONResponse(response)
        return StreamingResponse(
            self.response_events(response, item, answer), media_type="text/event-stream"
        )

    async def response_events(
        self, response: dict[str, Any], item: dict[str, Any], answer: str
    ) -> AsyncIterator[bytes]:
        number = iter(range(10_000))

        def typed(kind: str, **fields: Any) -> bytes:
            return event(kind, {"type": kind, "sequence_number": next(number), **fields})

        started = {**response, "status": "in_progress", "output": [], "usage": None}
        yield typed("response.created", response=started)
        empty = {**item, "status": "in_progress", "content": []}
        yield typed("response.output_item.added", output_index=0, item=empty)
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        blank = {"type": "output_text", "text": "", "annotations": []}
        yield typed("response.content_part.added", part=blank, **where)
        for piece in pieces(answer):
            yield typed("response.output_text.delta", delta=piece, logprobs=[], **where)
        yield typed("response.output_text.done", text=answer, logprobs=[], **where)
        yield typed("response.content_part.done", part=item["content"][0], **where)
        yield typed("response.output_item.done", output_index=0, item=item)
        yield typed("response.completed", response=response)

    async def embeddings(self, request: Request) -> Response:
        body = await self.body(request)
        vector = {"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return JSONResponse(
            {"object": "list", "data": [vector], "model": body["model"], "usage": usage}
        )

    # ------------------------------------------------------------------ Anthropic

    async def messages(self, request: Request) -> Response:
        body = await self.body(request)
        question = text_of(body["messages"][-1]["content"])
        answer = f"Echo: {question}"
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": answer}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": tokens(question), "output_tokens": tokens(answer)},
        }
        if not body.get("stream"):
            return JSONResponse(message)
        return StreamingResponse(
            self.message_events(message, question, answer), media_type="text/event-stream"
        )

    async def message_events(
        self, message: dict[str, Any], question: str, answer: str
    ) -> AsyncIterator[bytes]:
        def typed(kind: str, **fields: Any) -> bytes:
            return event(kind, {"type": kind, **fields})

        first = {"input_tokens": tokens(question), "output_tokens": 1}
        started = {**message, "content": [], "stop_reason": None, "usage": first}
        yield typed("message_start", message=started)
        yield typed("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield typed("ping")
        for piece in pieces(answer):
            yield typed("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield typed("content_block_stop", index=0)
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield typed("message_delta", delta=delta, usage={"output_tokens": tokens(answer)})
        yield typed("message_stop")

    # ------------------------------------------------------------------ Gemini

    async def gemini(self, request: Request) -> Response:
        body = await self.body(request)
        model, _, method = request.path_params["call"].partition(":")
        question = text_of(body["contents"][-1]["parts"])
        answer = f"Echo: {question}"
        usage = {
            "promptTokenCount": tokens(question),
            "candidatesTokenCount": tokens(answer),
            "totalTokenCount": tokens(question) + tokens(answer),
        }

        def chunk(text: str, finish: str | None) -> dict[str, Any]:
            candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
            if finish:
                candidate["finishReason"] = finish
            return {
                "candidates": [{**candidate, "index": 0}],
                "usageMetadata": usage,
                "modelVersion": model,
                "responseId": "r1",
            }

        if method == "generateContent":
            return JSONResponse(chunk(answer, "STOP"))

        async def stream() -> AsyncIterator[bytes]:
            for piece in pieces(answer):
                yield data(chunk(piece, None), "\r\n")
            yield data(chunk("", "STOP"), "\r\n")

        return StreamingResponse(stream(), media_type="text/event-stream")


def tool_call(question: str) -> dict[str, Any]:
    arguments = json.dumps({"recipient": question.removeprefix("tool:").strip()})
    function = {"name": "send_mail", "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function}


def chat_usage(question: str) -> dict[str, int]:
    given, made = tokens(question), tokens(f"Echo: {question}")
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def data(document: dict[str, Any], newline: str = "\n") -> bytes:
    return f"data: {json.dumps(document)}{newline}{newline}".encode()


def event(name: str, document: dict[str, Any]) -> bytes:
    return f"event: {name}\n".encode() + data(document)
