"""OpenAI chat completions and responses. Source: OpenAI API reference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.leaks.dialect import AFTER, TOOL, Dialect, Document, schema, sse

CHAT_FIELDS = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal"}


class Chat(Dialect):
    """``/v1/chat/completions``, with the reasoning field its many relatives have."""

    name = "openai-chat"
    host = "api.openai.com"
    kinds = ("text", "reasoning", "refusal", "tool_arguments")
    headers = {"authorization": "Bearer none"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        return "/v1/chat/completions"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        arguments = json.dumps({"to": texts["tool_arguments"]})
        function = {"name": TOOL, "arguments": arguments}
        definition = {"name": TOOL, "description": texts["tool_description"]}
        return {
            "model": "gpt-5-mini",
            "stream": streamed,
            "messages": [
                {"role": "system", "content": texts["system"]},
                {"role": "user", "content": [{"type": "text", "text": "Begin."}]},
                {"role": "assistant", "content": texts["assistant"],
                 "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
                {"role": "tool", "tool_call_id": "call_1", "content": texts["tool_result"]},
                {"role": "user", "content": texts["user"]},
            ],
            "tools": [
                {"type": "function", "function": {**definition, "parameters": schema(texts)}}
            ],
        }  # fmt: skip

    def plain(self, kind: str, text: str) -> Document:
        message: Document = {"role": "assistant", "content": None}
        if kind == "tool_arguments":
            function = {"name": TOOL, "arguments": text}
            message["tool_calls"] = [{"id": "call_2", "type": "function", "function": function}]
        else:
            message[CHAT_FIELDS[kind]] = text
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1,
                "model": "gpt-5-mini", "choices": [choice], "usage": usage}  # fmt: skip

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        def chunk(delta: Document, finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return sse({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                        "model": "gpt-5-mini", "choices": [choice]})  # fmt: skip

        yield chunk({"role": "assistant", "content": ""})
        for number, piece in enumerate(pieces):
            if kind != "tool_arguments":
                yield chunk({CHAT_FIELDS[kind]: piece})
                continue
            call: Document = {"index": 0, "function": {"arguments": piece}}
            if number == 0:
                call |= {"id": "call_2", "type": "function"}
                call["function"]["name"] = TOOL
            yield chunk({"tool_calls": [call]})
        yield chunk({"content": AFTER})
        yield chunk({}, "stop")
        yield b"data: [DONE]\n\n"

    def read_plain(self, kind: str, document: Document) -> str:
        return self._text(kind, document["choices"][0]["message"])

    def read_event(self, kind: str, event: Document) -> str:
        return "".join(self._text(kind, choice["delta"]) for choice in event.get("choices", ()))

    def _text(self, kind: str, message: Document) -> str:
        if kind == "tool_arguments":
            calls = message.get("tool_calls") or ()
            return "".join(call["function"].get("arguments", "") for call in calls)
        return message.get(CHAT_FIELDS[kind]) or ""


# Kind: event name, the item and the part that close it.
TEXTS = {
    "text": "response.output_text",
    "reasoning": "response.reasoning_summary_text",
    "refusal": "response.refusal",
    "tool_arguments": "response.function_call_arguments",
}


class Responses(Dialect):
    """``/v1/responses``: every text is said again at the end of its part, item and response."""

    name = "openai-responses"
    host = "api.openai.com"
    kinds = ("text", "reasoning", "refusal", "tool_arguments")
    headers = {"authorization": "Bearer none"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        return "/v1/responses"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        arguments = json.dumps({"to": texts["tool_arguments"]})
        said = [{"type": "output_text", "text": texts["assistant"], "annotations": []}]
        return {
            "model": "gpt-5-mini",
            "stream": streamed,
            "instructions": texts["system"],
            "input": [
                {"type": "message", "id": "msg_1", "role": "assistant", "content": said},
                {"type": "function_call", "call_id": "call_1", "name": TOOL,
                 "arguments": arguments},
                {"type": "function_call_output", "call_id": "call_1",
                 "output": texts["tool_result"]},
                {"role": "user", "content": [{"type": "input_text", "text": texts["user"]}]},
            ],
            "tools": [{"type": "function", "name": TOOL, "parameters": schema(texts),
                       "description": texts["tool_description"]}],
        }  # fmt: skip

    def plain(self, kind: str, text: str) -> Document:
        usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}
        return {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5-mini",
                "output": [self._item(kind, text)], "usage": usage}  # fmt: skip

    def _item(self, kind: str, text: str) -> Document:
        if kind == "reasoning":
            summary = [{"type": "summary_text", "text": text}]
            return {"type": "reasoning", "id": "item_1", "summary": summary}
        if kind == "tool_arguments":
            return {"type": "function_call", "id": "item_1", "call_id": "call_2", "name": TOOL,
                    "arguments": text, "status": "completed"}  # fmt: skip
        part: Document = {"type": "refusal", "refusal": text}
        if kind == "text":
            part = {"type": "output_text", "text": text, "annotations": []}
        return {"type": "message", "id": "item_1", "role": "assistant", "content": [part]}

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        def event(type_name: str, **fields: Any) -> bytes:
            return sse({"type": type_name, **fields}, type_name)

        whole = self.plain(kind, "".join(pieces))
        after = {**self._item("text", AFTER), "id": "item_2"}
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        yield event("response.created", response=begun)
        yield event("response.output_item.added", output_index=0, item=self._item(kind, ""))
        where: Document = {"item_id": "item_1", "output_index": 0}
        if kind == "reasoning":
            where["summary_index"] = 0
        elif kind != "tool_arguments":
            where["content_index"] = 0
        for piece in pieces:
            yield event(f"{TEXTS[kind]}.delta", delta=piece, **where)
        closing = {"tool_arguments": "arguments", "refusal": "refusal"}.get(kind, "text")
        yield event(f"{TEXTS[kind]}.done", **{closing: "".join(pieces)}, **where)
        yield event("response.output_item.done", output_index=0, item=whole["output"][0])
        there: Document = {"item_id": "item_2", "output_index": 1, "content_index": 0}
        yield event("response.output_text.delta", delta=AFTER, **there)
        yield event("response.output_text.done", text=AFTER, **there)
        yield event("response.output_item.done", output_index=1, item=after)
        yield event("response.completed", response={**whole, "output": [*whole["output"], after]})

    def read_plain(self, kind: str, document: Document) -> str:
        item = document["output"][0]
        if kind == "tool_arguments":
            return str(item["arguments"])
        if kind == "reasoning":
            return str(item["summary"][0]["text"])
        return str(item["content"][0]["text" if kind == "text" else "refusal"])

    def read_event(self, kind: str, event: Document) -> str:
        return str(event["delta"]) if event["type"] == f"{TEXTS[kind]}.delta" else ""
