"""Bedrock InvokeModelWithResponseStream: vendor chunks inside JSON inside frames.

Source: Bedrock API reference, "ResponseStream"; the vendors' chunk formats. Each frame's
payload is JSON whose ``bytes`` is base64 of the vendor's own chunk; a piece of text stands at
a path through all three. The last chunk carries ``amazon-bedrock-invocationMetrics``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import orjson

from penstock.exchange import Answer, Exchange, Path, Usage
from penstock.wire.anthropic.stream import AnthropicReader
from penstock.wire.bedrock.converse import ConverseReader
from penstock.wire.bedrock.family import stream_error
from penstock.wire.edits import BASE64
from penstock.wire.family import AnswerReader, Channel, Delta
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import started_answer, string_deltas
from penstock.wire.loose import as_count, as_dict, as_text, at, total
from penstock.wire.openai.chat_stream import ChatReader
from penstock.wire.zones import Mark, Marks

_METRICS = "amazon-bedrock-invocationMetrics"
_INNER: Path = ("bytes", BASE64)
# Where a chunk's text and its reason to end stand, over the vendors without a reader.
_TEXTS: tuple[tuple[Path, Path], ...] = (
    (("generation",), ("stop_reason",)),  # Meta
    (("outputText",), ("completionReason",)),  # Titan
    (("outputs", 0, "text"), ("outputs", 0, "stop_reason")),  # Mistral
    (("text",), ("finish_reason",)),  # Cohere
    (("completion",), ("stop_reason",)),  # Anthropic text completion
    (("choices", 0, "text"), ("choices", 0, "stop_reason")),  # DeepSeek
)


class InvokeReader:
    """Reads one streamed answer; the first chunks show which vendor speaks."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.answer: Answer = started_answer(exchange)
        self.inner: AnswerReader | None = None

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one frame's payload; its chunk is decoded and read by the vendor's reader."""
        self.answer.error = stream_error(name, document) or self.answer.error
        if name not in (None, "chunk"):
            return string_deltas(document, {})
        raw = _raw(as_text(at(document, "bytes")) or "")
        if raw is None:
            return string_deltas(document, {})
        chunk = _parsed(raw)
        if not isinstance(chunk, dict):
            text = raw.decode("utf-8", "replace")
            return [Delta(Channel(("bytes",), "other"), _INNER, text, last=True)]
        metrics = chunk.pop(_METRICS, None)
        if self.inner is None:
            self.inner = _reader_for(chunk, self.exchange)
        inner_name, inner = None, chunk
        if isinstance(self.inner, ConverseReader):
            inner_name = next(iter(chunk), None)
            inner = as_dict(chunk.get(inner_name or ""))
        deltas = self.inner.event(inner_name, inner)
        self._count(as_dict(metrics))
        prefix = _INNER if inner_name is None else (*_INNER, inner_name)
        return [_deeper(delta, prefix) for delta in deltas]

    def end(self) -> None:
        """Let the vendor's reader settle."""
        if self.inner is not None:
            self.inner.end()

    def _count(self, metrics: dict[str, Any]) -> None:
        """The service's own count ends the stream; it counts where the vendor did not."""
        if not metrics:
            return
        if not isinstance(self.inner, AnthropicReader):
            self.answer.complete = True
        if self.answer.usage.input_tokens is not None:
            return
        fresh, output = as_count(metrics.get("inputTokenCount")), _output(metrics)
        read = as_count(metrics.get("cacheReadInputTokenCount"))
        written = as_count(metrics.get("cacheWriteInputTokenCount"))
        self.answer.usage = Usage(
            fresh,
            output,
            read,
            written,
            input_total=total(fresh, read, written),
            output_total=output,
            raw={
                "inputTokens": fresh or 0,
                "outputTokens": output or 0,
                "cacheReadInputTokens": read or 0,
                "cacheWriteInputTokens": written or 0,
            },
        )


class TextChunkReader(OneMessageReader):
    """Reads chunks that are one piece of text each."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one chunk; strings beside the text are texts of their own."""
        marks: Marks = {}
        deltas: list[Delta] = []
        for path, reason_path in _TEXTS:
            text = as_text(at(document, *path))
            if text is None:
                continue
            reason = as_text(at(document, *reason_path))
            self.message.finish_reason = reason or self.message.finish_reason
            marks[path] = marks[reason_path] = Mark(editable=False)
            if text and as_dict(document).get("event_type") != "stream-end":
                self.growing.say(self.message, "text", text)
                deltas.append(Delta(Channel((0, "text"), "assistant"), path, text))
            break
        return deltas + string_deltas(document, marks)


def _reader_for(chunk: dict[str, Any], exchange: Exchange) -> AnswerReader:
    if "type" in chunk:
        return AnthropicReader(exchange)
    if "messageStart" in chunk or "contentBlockDelta" in chunk:
        return ConverseReader(exchange)
    if isinstance(at(chunk, "choices", 0, "delta"), dict):
        return ChatReader(exchange)
    return TextChunkReader(exchange)


def _raw(coded: str) -> bytes | None:
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _deeper(delta: Delta, prefix: Path) -> Delta:
    shadows = tuple((*prefix, *shadow) for shadow in delta.shadows)
    path = (*prefix, *delta.path)
    return Delta(delta.channel, path, delta.text, delta.last, delta.total, shadows)


def _output(metrics: dict[str, Any]) -> int | None:
    return as_count(metrics.get("outputTokenCount"))
