"""Ollama's own chat API, streamed as lines of JSON. Source: Ollama API documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.leaks.dialect import AFTER, TOOL, Dialect, Document, schema


class Ollama(Dialect):
    """``/api/chat``; arguments of a call come as one object."""

    name = "ollama"
    host = "ollama.com"
    stream_type = "application/x-ndjson"
    headers = {"authorization": "Bearer none"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        return "/api/chat"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        function = {"name": TOOL, "arguments": {"to": texts["tool_arguments"]}}
        definition = {"name": TOOL, "description": texts["tool_description"]}
        return {
            "model": "llama3.2",
            "stream": streamed,
            "messages": [
                {"role": "system", "content": texts["system"]},
                {"role": "user", "content": "Begin."},
                {"role": "assistant", "content": texts["assistant"],
                 "tool_calls": [{"function": function}]},
                {"role": "tool", "tool_name": TOOL, "content": texts["tool_result"]},
                {"role": "user", "content": texts["user"]},
            ],
            "tools": [
                {"type": "function", "function": {**definition, "parameters": schema(texts)}}
            ],
        }  # fmt: skip

    def plain(self, kind: str, text: str, done: bool = True) -> Document:
        message: Document = {"role": "assistant", "content": ""}
        if kind == "tool_arguments":
            function = {"name": TOOL, "arguments": json.loads(text)}
            message["tool_calls"] = [{"function": function}]
        else:
            message["content" if kind == "text" else "thinking"] = text
        line = {"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z", "message": message}
        counts = {"prompt_eval_count": 9, "eval_count": 5, "done_reason": "stop"} if done else {}
        return {**line, "done": done, **counts}

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        for piece in ["".join(pieces)] if kind == "tool_arguments" else pieces:
            yield json.dumps(self.plain(kind, piece, False)).encode() + b"\n"
        yield json.dumps(self.plain("text", AFTER, False)).encode() + b"\n"
        yield json.dumps(self.plain("text", "")).encode() + b"\n"

    def events(self, body: bytes) -> Iterator[Document]:
        return (json.loads(line) for line in body.splitlines() if line.strip())

    def read_plain(self, kind: str, document: Document) -> str:
        return self.read_event(kind, document)

    def read_event(self, kind: str, event: Document) -> str:
        message = event["message"]
        if kind == "tool_arguments":
            calls = message.get("tool_calls") or ()
            return "".join(json.dumps(call["function"]["arguments"]) for call in calls)
        return message.get("content" if kind == "text" else "thinking") or ""
