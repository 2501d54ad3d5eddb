"""Gemini generateContent and its stream. Source: Gemini API reference, "Generating content"."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.leaks.dialect import AFTER, TOOL, Dialect, Document, schema, sse


class Gemini(Dialect):
    """Arguments of a call come as one object, also in a stream."""

    name = "gemini"
    host = "generativelanguage.googleapis.com"
    headers = {"x-goog-api-key": "none"}  # noqa: RUF012

    def path(self, streamed: bool) -> str:
        method = "streamGenerateContent?alt=sse" if streamed else "generateContent"
        return f"/v1beta/models/gemini-2.5-flash:{method}"

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        call = {"functionCall": {"name": TOOL, "args": {"to": texts["tool_arguments"]}}}
        result = {"functionResponse": {"name": TOOL, "response": {"ok": texts["tool_result"]}}}
        definition = {"name": TOOL, "description": texts["tool_description"]}
        return {
            "systemInstruction": {"parts": [{"text": texts["system"]}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Begin."}]},
                {"role": "model", "parts": [{"text": texts["assistant"]}, call]},
                {"role": "user", "parts": [result, {"text": texts["user"]}]},
            ],
            "tools": [{"functionDeclarations": [{**definition, "parameters": schema(texts)}]}],
        }

    def plain(self, kind: str, text: str, finish: str | None = "STOP") -> Document:
        part: Document = {"text": text}
        if kind == "reasoning":
            part["thought"] = True
        elif kind == "tool_arguments":
            part = {"functionCall": {"name": TOOL, "args": json.loads(text)}}
        candidate: Document = {"content": {"parts": [part], "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        usage = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}
        return {"candidates": [candidate], "usageMetadata": usage, "responseId": "r1",
                "modelVersion": "gemini-2.5-flash"}  # fmt: skip

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        for piece in ["".join(pieces)] if kind == "tool_arguments" else pieces:
            yield sse(self.plain(kind, piece, None))
        yield sse(self.plain("text", AFTER))

    def read_plain(self, kind: str, document: Document) -> str:
        return self.read_event(kind, document)

    def read_event(self, kind: str, event: Document) -> str:
        texts = []
        for part in event["candidates"][0]["content"]["parts"]:
            if kind == "tool_arguments":
                texts += (
                    [json.dumps(part["functionCall"]["args"])] if "functionCall" in part else []
                )
            elif part.get("thought", False) == (kind == "reasoning"):
                texts.append(part.get("text", ""))
        return "".join(texts)
