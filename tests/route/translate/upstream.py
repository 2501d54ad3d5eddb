"""Three providers in one application, each in its own format, for calls that were translated.

Written from the API references. What is answered hangs on the last words: ``tool:X`` asks for a
tool call with X, a tool's answer is confirmed, ``error:429`` is refused, ``break`` and ``cut``
end a stream badly, ``length`` ends for its length, anything else is echoed.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from penstock.wire.framing.eventstream import encode, encode_headers

OPENAI, ANTHROPIC = "api.openai.com", "api.anthropic.com"
GEMINI = "generativelanguage.googleapis.com"
VERTEX, BEDROCK = "us-east5-aiplatform.googleapis.com", "bedrock-runtime.us-east-1.amazonaws.com"
HOSTS = [OPENAI, ANTHROPIC, GEMINI, VERTEX, BEDROCK]
PIECE = 4
# Two counts that only their own provider could have said: input with 40 cached, output with 7
# tokens of thought.
INPUT, CACHED, OUTPUT, THOUGHT = 140, 40, 27, 7


class CutError(Exception):
    """The connection breaks here."""


def pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), PIECE):
        yield text[at : at + PIECE]


def data(document: Any, name: str = "", end: str = "\n") -> bytes:
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(document)}{end}{end}".encode()


class Upstream:
    """``received`` holds (host, path, headers, body) of each call."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        self.raw: list[bytes] = []
        self.application = Starlette(
            routes=[
                Route("/v1/chat/completions", self.openai, methods=["POST"]),
                Route("/v1/messages", self.anthropic, methods=["POST"]),
                Route("/v1beta/models/{call:path}", self.gemini, methods=["POST"]),
                Route("/v1/projects/{call:path}", self.vertex, methods=["POST"]),
                Route("/model/{model}/{verb}", self.bedrock, methods=["POST"]),
            ]
        )

    async def body(self, request: Request) -> dict[str, Any]:
        self.raw.append(await request.body())
        parsed: dict[str, Any] = json.loads(self.raw[-1])
        path = request.scope["raw_path"].decode() + (
            f"?{request.url.query}" if request.url.query else ""
        )
        self.received.append((request.headers["host"], path, dict(request.headers), parsed))
        return parsed

    # ------------------------------------------------------------------ OpenAI

    async def openai(self, request: Request) -> Response:
        body = await self.body(request)
        last = body["messages"][-1]
        text = last["content"] if isinstance(last["content"], str) else last["content"][-1]["text"]
        said = said_to(text, last["role"] == "tool")
        common = {"id": "chatcmpl-7", "created": 1767225600, "model": body["model"] + "-2026"}
        usage = {
            "prompt_tokens": INPUT,
            "completion_tokens": OUTPUT,
            "total_tokens": INPUT + OUTPUT,
            "prompt_tokens_details": {"cached_tokens": CACHED},
            "completion_tokens_details": {"reasoning_tokens": THOUGHT},
        }
        if isinstance(said, int):
            error = {"message": "no more", "type": "requests", "code": "rate_limit_exceeded"}
            headers = {"retry-after": "0", "x-request-id": "req-1"}
            return JSONResponse({"error": error}, said, headers)
        reason = "tool_calls" if isinstance(said, dict) else "stop"
        reason = "length" if text == "length" else reason
        if body.get("stream"):
            return events(self.openai_events(common, said, reason, usage, text))
        message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None}
        if isinstance(said, dict):
            function = {"name": "send_mail", "arguments": json.dumps(said)}
            call = {"id": "call_9", "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        whole = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        return JSONResponse(whole, headers={"x-request-id": "req-1"})

    async def openai_events(
        self, common: dict[str, Any], said: Any, reason: str, usage: Any, text: str
    ) -> AsyncIterator[bytes]:
        def chunk(delta: Any, finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return data({**common, "object": "chat.completion.chunk", "choices": [choice]})

        if isinstance(said, dict):
            head = {"id": "call_9", "type": "function", "index": 0}
            yield chunk({"tool_calls": [{**head, "function": {"name": "send_mail"}}]})
            for piece in pieces(json.dumps(said)):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            yield chunk({"role": "assistant", "content": ""})
            for piece in pieces(said):
                yield chunk({"content": piece})
        if text == "break":
            yield data({"error": {"message": "it broke", "type": "server_error"}})
            return
        await cut(text)
        yield chunk({}, reason)
        yield data({**common, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    # ------------------------------------------------------------------ Anthropic

    async def anthropic(self, request: Request) -> Response:
        body = await self.body(request)
        return self.message(body, "request-id")

    async def vertex(self, request: Request) -> Response:
        """The model stands in the path, and no body names one."""
        body = await self.body(request)
        model, _, verb = request.path_params["call"].rpartition("/")[2].partition(":")
        if "model" in body or "anthropic_version" not in body:
            return JSONResponse({"error": {"code": 400, "message": "not a body of mine"}}, 400)
        stream = verb == "streamRawPredict"
        if stream is not body.get("stream", False):
            return JSONResponse({"error": {"code": 400, "message": "stream or not?"}}, 400)
        return self.message({**body, "model": model}, "request-id")

    async def bedrock(self, request: Request) -> Response:
        """As Vertex, nor does a body speak of streams; streams are frames."""
        body = await self.body(request)
        model, verb = request.path_params["model"], request.path_params["verb"]
        if {"model", "stream"} & body.keys() or "anthropic_version" not in body:
            return JSONResponse({"message": "not a body of mine"}, 400)
        stream = verb == "invoke-with-response-stream"
        answer = self.message({**body, "model": model, "stream": stream}, "x-amzn-requestid")
        if answer.status_code >= 400:
            headers = {"x-amzn-errortype": "ThrottlingException"}
            return JSONResponse({"message": "no more"}, answer.status_code, headers)
        if not isinstance(answer, StreamingResponse):
            return answer
        kind = "application/vnd.amazon.eventstream"
        return StreamingResponse(frames(answer.body_iterator), media_type=kind)

    def message(self, body: dict[str, Any], request_id: str) -> Response:
        last = body["messages"][-1]["content"]
        block = {"type": "text", "text": last} if isinstance(last, str) else last[-1]
        text = block.get("text") or block.get("content") or ""
        said = said_to(text, block["type"] == "tool_result")
        if isinstance(said, int):
            error = {"type": "rate_limit_error", "message": "no more"}
            headers = {"retry-after": "0", request_id: "req-1"}
            return JSONResponse({"type": "error", "error": error}, said, headers)
        reason = "tool_use" if isinstance(said, dict) else "end_turn"
        reason = "max_tokens" if text == "length" else reason
        given = {"input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED}
        details = {"output_tokens_details": {"thinking_tokens": THOUGHT}}
        usage = {**given, "output_tokens": OUTPUT, **details}
        thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
        content: list[Any] = [thought, {"type": "text", "text": said}]
        if isinstance(said, dict):
            call = {"type": "tool_use", "id": "toolu_9", "name": "send_mail", "input": said}
            content = [thought, call]
        message = {
            "id": "msg_7",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }
        if body.get("stream"):
            return events(self.anthropic_events(message, text))
        return JSONResponse(message, headers={request_id: "req-1"})

    async def anthropic_events(self, message: dict[str, Any], text: str) -> AsyncIterator[bytes]:
        def typed(kind: str, **fields: Any) -> bytes:
            return data({"type": kind, **fields}, kind)

        usage, reason = message["usage"], message["stop_reason"]
        begun = {**message, "content": [], "stop_reason": None}
        yield typed("message_start", message={**begun, "usage": {**usage, "output_tokens": 1}})
        yield typed("ping")
        for index, block in enumerate(message["content"]):
            kind = block["type"]
            if kind == "tool_use":
                begin, field, grown = {**block, "input": {}}, "partial_json", block["input"]
                kind, grown = "input_json_delta", json.dumps(grown)
            elif kind == "thinking":
                begin, field, grown = {**block, "thinking": ""}, "thinking", block["thinking"]
                kind = "thinking_delta"
            else:
                begin, field, grown = {**block, "text": ""}, "text", block["text"]
                kind = "text_delta"
            yield typed("content_block_start", index=index, content_block=begin)
            for piece in pieces(grown):
                delta = {"type": kind, field: piece}
                yield typed("content_block_delta", index=index, delta=delta)
            yield typed("content_block_stop", index=index)
        if text == "break":
            error = {"type": "overloaded_error", "message": "it broke"}
            yield typed("error", error=error)
            return
        await cut(text)
        yield typed("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": OUTPUT})
        yield typed("message_stop")

    # ------------------------------------------------------------------ Gemini

    async def gemini(self, request: Request) -> Response:
        body = await self.body(request)
        model, _, method = request.path_params["call"].partition(":")
        last = body["contents"][-1]["parts"][-1]
        answer = last.get("functionResponse")
        text = answer["response"].get("output", "") if answer else last["text"]
        said = said_to(text, answer is not None)
        if isinstance(said, int):
            error = {"code": said, "message": "no more", "status": "RESOURCE_EXHAUSTED"}
            return JSONResponse({"error": error}, said, {"retry-after": "0"})
        usage = {
            "promptTokenCount": INPUT,
            "cachedContentTokenCount": CACHED,
            "candidatesTokenCount": OUTPUT - THOUGHT,
            "thoughtsTokenCount": THOUGHT,
            "totalTokenCount": INPUT + OUTPUT,
        }
        reason = "MAX_TOKENS" if text == "length" else "STOP"

        def chunk(parts: list[Any], finish: str | None) -> dict[str, Any]:
            candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
            if finish:
                candidate["finishReason"] = finish
            facts = {"usageMetadata": usage, "modelVersion": model, "responseId": "r7"}
            return {"candidates": [candidate], **facts}

        parts: list[Any] = [{"text": said}]
        if isinstance(said, dict):
            call = {"name": "send_mail", "args": said}
            parts = [{"functionCall": call, "thoughtSignature": "c2ln"}]
        if method == "generateContent":
            return JSONResponse(chunk(parts, reason))

        async def stream() -> AsyncIterator[bytes]:
            yield data(chunk([{"text": "hm", "thought": True}], None), end="\r\n")
            if isinstance(said, dict):
                yield data(chunk(parts, None), end="\r\n")
            else:
                for piece in pieces(said):
                    yield data(chunk([{"text": piece}], None), end="\r\n")
            if text == "break":
                error = {"code": 503, "message": "it broke", "status": "UNAVAILABLE"}
                yield data({"error": error}, end="\r\n")
                return
            await cut(text)
            yield data(chunk([{"text": ""}], reason), end="\r\n")

        return events(stream())


async def frames(stream: Any) -> AsyncIterator[bytes]:
    """Server-sent events as the frames Bedrock sends; it has no pings."""
    async for event in stream:
        name, _, rest = event.decode().partition("\n")
        inner = rest.removeprefix("data: ").strip()
        if name == "event: ping":
            continue
        if name == "event: error":
            headers = {":exception-type": "serviceUnavailableException"}
            payload = {"message": json.loads(inner)["error"]["message"]}
            headers |= {":message-type": "exception"}
        else:
            headers = {":event-type": "chunk", ":message-type": "event"}
            payload = {"bytes": base64.b64encode(inner.encode()).decode(), "p": "abc"}
        block = encode_headers({**headers, ":content-type": "application/json"})
        yield encode(block, json.dumps(payload).encode())


def said_to(text: str, result: bool) -> Any:
    """What the model says: words, a tool's arguments, or the status of a refusal."""
    if result:
        return f"Done: {text}"
    if text.startswith("error:"):
        return int(text.removeprefix("error:"))
    if text.startswith("tool:"):
        return {"recipient": text.removeprefix("tool:").strip(), "copies": 2}
    return f"Echo: {text}"


async def cut(text: str) -> None:
    """Break the connection off, once what was said has left."""
    if text == "cut":
        await asyncio.sleep(0.05)
        raise CutError


def events(stream: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(stream, media_type="text/event-stream")
