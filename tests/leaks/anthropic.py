"""Anthropic messages. Source: Anthropic API reference, "Messages" and "Streaming Messages"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tests.leaks.dialect import AFTER, TOOL, Dialect, Document, schema, sse

DELTAS = {
    "text": ("text_delta", "text"),
    "reasoning": ("thinking_delta", "thinking"),
    "tool_arguments": ("input_json_delta", "partial_json"),
}


class Messages(Dialect):
    """``/v1/messages``."""

    name = "anthropic"
    host = "api.anthropic.com"
    headers = {"x-api-key": "none", "anthropic-version": "2023-06-01"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        return "/v1/messages"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        used = {"type": "tool_use", "id": "toolu_1", "name": TOOL}
        return {
            "model": "claude-sonnet-4-5",
            "max_tokens": 500,
            "stream": streamed,
            "system": [{"type": "text", "text": texts["system"]}],
            "messages": [
                {"role": "user", "content": "Begin."},
                {"role": "assistant", "content": [
                    {"type": "text", "text": texts["assistant"]},
                    {**used, "input": {"to": texts["tool_arguments"]}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1",
                     "content": [{"type": "text", "text": texts["tool_result"]}]},
                    {"type": "text", "text": texts["user"]}]},
            ],
            "tools": [{"name": TOOL, "description": texts["tool_description"],
                       "input_schema": schema(texts)}],
        }  # fmt: skip

    def _block(self, kind: str, text: str) -> Document:
        if kind == "tool_arguments":
            arguments = json.loads(text) if text else {}
            return {"type": "tool_use", "id": "toolu_2", "name": TOOL, "input": arguments}
        if kind == "reasoning":
            return {"type": "thinking", "thinking": text, "signature": ""}
        return {"type": "text", "text": text}

    def plain(self, kind: str, text: str) -> Document:
        return {"id": "msg_1", "type": "message", "role": "assistant",
                "model": "claude-sonnet-4-5", "content": [self._block(kind, text)],
                "stop_reason": "end_turn", "stop_sequence": None,
                "usage": {"input_tokens": 9, "output_tokens": 5}}  # fmt: skip

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        def event(type_name: str, **fields: Any) -> bytes:
            return sse({"type": type_name, **fields}, type_name)

        yield event("message_start", message={**self.plain("text", ""), "content": []})
        yield event("content_block_start", index=0, content_block=self._block(kind, ""))
        yield event("ping")
        name, field = DELTAS[kind]
        for piece in pieces:
            yield event("content_block_delta", index=0, delta={"type": name, field: piece})
        yield event("content_block_stop", index=0)
        yield event("content_block_start", index=1, content_block=self._block("text", ""))
        yield event("content_block_delta", index=1, delta={"type": "text_delta", "text": AFTER})
        yield event("content_block_stop", index=1)
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": 5})
        yield event("message_stop")

    def read_plain(self, kind: str, document: Document) -> str:
        block = document["content"][0]
        if kind == "tool_arguments":
            return json.dumps(block["input"])
        return str(block["text" if kind == "text" else "thinking"])

    def read_event(self, kind: str, event: Document) -> str:
        name, field = DELTAS[kind]
        delta = event.get("delta") or {}
        return str(delta[field]) if delta.get("type") == name else ""
