"""Anthropic message streams: events into an Answer, their text pieces as channels.

Source: Anthropic API reference, "Streaming Messages". Also the inner events of Vertex
streamRawPredict and of Bedrock InvokeModelWithResponseStream. Usage fields are cumulative:
the last value of each wins, none is added. It never assumes an order of events.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Answer, CallError, Exchange, Message, Part, Usage, Zone
from penstock.wire.anthropic.content import read_block
from penstock.wire.family import Channel, Delta
from penstock.wire.growing import KEPT_PARTS_MAX, Growing
from penstock.wire.json_family import started_answer, string_deltas
from penstock.wire.loose import as_count, as_dict, as_text, at, total
from penstock.wire.zones import Mark, Marks

# (delta field, zone, the part's field it grows): one line for each documented kind of delta.
_GROWING: dict[str, tuple[str, Zone]] = {
    "text_delta": ("text", "assistant"),
    "thinking_delta": ("thinking", "reasoning"),
    "input_json_delta": ("partial_json", "tool_arguments"),
    "compaction_delta": ("content", "assistant"),
}


class AnthropicReader:
    """Reads one streamed message."""

    def __init__(self, exchange: Exchange) -> None:
        self.answer: Answer = started_answer(exchange)
        self.message = Message("assistant")
        self.usage: dict[str, Any] = {}
        self.parts: dict[int, list[Part]] = {}
        self.growing = Growing()
        self.channels: dict[int, dict[str, Channel]] = {}  # of each block that grows, by field

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event (its own ``type`` counts, not the SSE name); return its texts."""
        event = as_dict(document)
        kind = as_text(event.get("type")) or name
        if kind == "message_start":
            return self._start(as_dict(event.get("message")))
        if kind == "content_block_start":
            return self._block(event)
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "message_delta":
            return self._message_delta(event)
        if kind == "error":
            self.answer.error = read_error(event)
        elif kind == "message_stop":
            self.answer.complete = True
        elif kind == "content_block_stop":
            return self._stop(_index(event))
        elif kind != "ping":
            return string_deltas(event, {}, (kind or "",))
        return []

    def end(self) -> None:
        """Join the pieces of each block; completeness was told by ``message_stop``."""
        self.growing.settle()

    def _start(self, message: dict[str, Any]) -> list[Delta]:
        self.answer.id = as_text(message.get("id"))
        self.answer.model = as_text(message.get("model"))
        self.answer.messages = [self.message]
        self._use(message.get("usage"))
        return []

    def _block(self, event: dict[str, Any]) -> list[Delta]:
        index = _index(event)
        block = as_dict(event.get("content_block"))
        marks: Marks = {("content_block",): Mark("assistant")}
        parts = read_block(block, ("content_block",), "assistant", marks)
        taken = self.growing.take(self.message, parts)
        if taken:
            self.parts[index] = taken
        marks[("type",)] = marks[("content_block", "type")] = Mark(editable=False)
        marks[("content_block", "id")] = marks[("content_block", "name")] = Mark(editable=False)
        deltas = string_deltas(event, marks, (index,))
        return [_of_growing_channel(delta, index) for delta in deltas]

    def _delta(self, event: dict[str, Any]) -> list[Delta]:
        index = _index(event)
        delta = as_dict(event.get("delta"))
        kind = as_text(delta.get("type")) or ""
        if kind not in _GROWING:
            marks: Marks = {("delta",): Mark("assistant"), ("delta", "type"): Mark(editable=False)}
            marks[("type",)] = Mark(editable=False)
            return string_deltas(event, marks, (index,))
        field, zone = _GROWING[kind]
        text = as_text(delta.get(field))
        if text is None:
            return []
        if parts := self.parts.get(index):
            self.growing.add(parts[0], text)
        known = self.channels.get(index)
        channel = known.get(field) if known else None
        if channel is None:
            channel = Channel((index, field), zone, nested=kind == "input_json_delta")
            if len(self.channels) < KEPT_PARTS_MAX:
                self.channels.setdefault(index, {})[field] = channel
        return [Delta(channel, ("delta", field), text)]

    def _stop(self, index: int) -> list[Delta]:
        """The block ends, and with it every text that grew in it."""
        return [
            Delta(channel, (), "", last=True) for channel in self.channels.pop(index, {}).values()
        ]

    def _message_delta(self, event: dict[str, Any]) -> list[Delta]:
        delta = as_dict(event.get("delta"))
        reason = as_text(delta.get("stop_reason"))
        self.message.finish_reason = reason or self.message.finish_reason
        self._use(event.get("usage"))
        details = as_dict(delta.get("stop_details"))
        explanation = as_text(details.get("explanation"))
        if not explanation:
            return []
        self.growing.take(self.message, [Part("refusal", text=explanation)])
        path = ("delta", "stop_details", "explanation")
        return [Delta(Channel(("explanation",), "refusal"), path, explanation, last=True)]

    def _use(self, usage: Any) -> None:
        self.usage |= {key: value for key, value in as_dict(usage).items() if value is not None}
        if self.usage:
            self.answer.usage = read_usage(self.usage)


def read_usage(raw: dict[str, Any]) -> Usage:
    """Usage of a plain answer, or of a stream's merged usage objects.

    ``input_tokens`` leaves cached tokens out; the inclusive total adds reads and writes.
    """
    fresh = as_count(raw.get("input_tokens"))
    read = as_count(raw.get("cache_read_input_tokens"))
    written = as_count(raw.get("cache_creation_input_tokens"))
    output = as_count(raw.get("output_tokens"))
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=as_count(at(raw, "output_tokens_details", "thinking_tokens")),
        input_total=None if fresh is None else total(fresh, read, written),
        output_total=output,
        raw=raw,
    )


def read_error(document: Any) -> CallError:
    """The error object of a plain error answer or of an ``error`` event."""
    error = as_dict(as_dict(document).get("error"))
    return CallError(as_text(error.get("type")), as_text(error.get("message")))


def _index(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _of_growing_channel(delta: Delta, index: int) -> Delta:
    """A text standing in the block's start belongs to the channel its deltas will grow."""
    field = delta.path[-1]
    if len(delta.path) == 2 and field in ("text", "thinking", "content"):
        return Delta(Channel((index, field), delta.channel.zone), delta.path, delta.text)
    return delta
