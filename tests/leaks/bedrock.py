"""Amazon Bedrock converse and converse-stream. Source: Bedrock runtime API reference.

The calls carry an API key (bearer token): a signed request may not be edited by anybody
without the caller's credentials.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.leaks.dialect import AFTER, TOOL, Dialect, Document, schema
from tests.leaks.frames import documents, frame


class Converse(Dialect):
    """``/model/{id}/converse`` and its event stream."""

    name = "bedrock-converse"
    host = "bedrock-runtime.us-east-1.amazonaws.com"
    stream_type = "application/vnd.amazon.eventstream"
    headers = {"authorization": "Bearer none"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        method = "converse-stream" if streamed else "converse"
        return f"/model/anthropic.claude-3-5-haiku-20241022-v1:0/{method}"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        use = {"toolUseId": "t1", "name": TOOL, "input": {"to": texts["tool_arguments"]}}
        result = {"toolUseId": "t1", "content": [{"text": texts["tool_result"]}]}
        definition = {"name": TOOL, "description": texts["tool_description"]}
        tool = {"toolSpec": {**definition, "inputSchema": {"json": schema(texts)}}}
        return {
            "system": [{"text": texts["system"]}],
            "messages": [
                {"role": "user", "content": [{"text": "Begin."}]},
                {"role": "assistant", "content": [{"text": texts["assistant"]}, {"toolUse": use}]},
                {"role": "user", "content": [{"toolResult": result}, {"text": texts["user"]}]},
            ],
            "toolConfig": {"tools": [tool]},
        }

    def plain(self, kind: str, text: str) -> Document:
        block: Document = {"text": text}
        if kind == "reasoning":
            block = {"reasoningContent": {"reasoningText": {"text": text}}}
        elif kind == "tool_arguments":
            block = {"toolUse": {"toolUseId": "t2", "name": TOOL, "input": json.loads(text)}}
        return {
            "output": {"message": {"role": "assistant", "content": [block]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14},
            "metrics": {"latencyMs": 10},
        }

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        yield frame("messageStart", {"role": "assistant"})
        if kind == "tool_arguments":
            start = {"toolUse": {"toolUseId": "t2", "name": TOOL}}
            yield frame("contentBlockStart", {"contentBlockIndex": 0, "start": start})
        for piece in pieces:
            delta: Document = {"text": piece}
            if kind == "reasoning":
                delta = {"reasoningContent": {"text": piece}}
            elif kind == "tool_arguments":
                delta = {"toolUse": {"input": piece}}
            yield frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})
        yield frame("contentBlockStop", {"contentBlockIndex": 0})
        yield frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": AFTER}})
        yield frame("contentBlockStop", {"contentBlockIndex": 1})
        yield frame("messageStop", {"stopReason": "end_turn"})
        usage = {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}
        yield frame("metadata", {"usage": usage, "metrics": {"latencyMs": 10}})

    def events(self, body: bytes) -> Iterator[Document]:
        return documents(body)

    def read_plain(self, kind: str, document: Document) -> str:
        block = document["output"]["message"]["content"][0]
        if kind == "tool_arguments":
            return json.dumps(block["toolUse"]["input"])
        if kind == "reasoning":
            return str(block["reasoningContent"]["reasoningText"]["text"])
        return str(block["text"])

    def read_event(self, kind: str, event: Document) -> str:
        delta = event.get("delta") or {}
        if kind == "tool_arguments":
            return str(delta.get("toolUse", {}).get("input", ""))
        if kind == "reasoning":
            return str(delta.get("reasoningContent", {}).get("text", ""))
        return str(delta.get("text", ""))
