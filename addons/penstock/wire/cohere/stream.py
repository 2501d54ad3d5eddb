"""Cohere chat streams: version 1 lines and version 2 events into an Answer.

Source: Cohere API reference, "Streaming". Version 1 closes with a copy of the whole text and
the whole conversation: what was changed in the pieces is changed in the copies too.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import CallError, Exchange, Part, Path, Usage
from penstock.wire.family import Channel, Delta
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import string_deltas
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at
from penstock.wire.zones import Mark, Marks

_SEALED = Mark(editable=False)
_TEXT = Channel((0, "text"), "assistant")
_ENDED = frozenset({"ERROR", "ERROR_TOXIC", "ERROR_LIMIT", "TIMEOUT"})
_PROTOCOL: tuple[Path, ...] = (("type",), ("id",), ("event_type",), ("generation_id",))


class CohereV1Reader(OneMessageReader):
    """Reads one streamed answer of version 1."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one line."""
        event = as_dict(document)
        self.answer.id = as_text(event.get("generation_id")) or self.answer.id
        marks: Marks = dict.fromkeys(_PROTOCOL, _SEALED)
        marks[("finish_reason",)] = _SEALED
        kind = as_text(event.get("event_type"))
        text = as_text(event.get("text"))
        if kind == "text-generation" and text is not None:
            marks[("text",)] = _SEALED
            self.growing.say(self.message, "text", text)
            return [Delta(_TEXT, ("text",), text), *string_deltas(event, marks)]
        if kind == "tool-calls-generation":
            self._calls(event, marks)
        marks[("documents",)] = marks[("citations",)] = marks[("search_results",)] = _RESULT
        if kind == "stream-end":
            return self._end(event, marks)
        return string_deltas(event, marks)

    def _calls(self, event: dict[str, Any], marks: Marks) -> None:
        marks[("tool_calls",)] = Mark("tool_arguments")
        calls = [
            Part("tool_call", name=as_text(call.get("name")), arguments=call.get("parameters"))
            for call in as_dicts(event.get("tool_calls"))
        ]
        self.growing.take(self.message, calls)

    def _end(self, event: dict[str, Any], marks: Marks) -> list[Delta]:
        whole = as_dict(event.get("response"))
        self.message.finish_reason = as_text(event.get("finish_reason"))
        self.answer.complete = True
        if self.message.finish_reason in _ENDED:
            said = as_text(event.get("error")) or as_text(whole.get("error"))
            self.answer.error = CallError(self.message.finish_reason, said)
        meta = as_dict(whole.get("meta"))
        self.answer.usage = read_usage(meta) if meta else self.answer.usage
        copies: list[Path] = [("response", "text")]
        history = as_list(whole.get("chat_history"))
        if at(history, -1, "role") == "CHATBOT":
            copies.append(("response", "chat_history", len(history) - 1, "message"))
        deltas = []
        for path in copies:
            text = as_text(at(event, *path))
            if text:
                marks[path] = _SEALED
                deltas.append(Delta(_TEXT, path, text, total=True))
        return deltas + string_deltas(event, marks)


class CohereV2Reader(OneMessageReader):
    """Reads one streamed answer of version 2."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.calls: dict[Any, Part] = {}

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event (``[DONE]`` is none)."""
        event = as_dict(document)
        kind = as_text(event.get("type")) or name
        index = event.get("index")
        index = index if isinstance(index, int) else 0
        if kind == "message-start":
            self.answer.id = as_text(event.get("id"))
        if kind == "message-end":
            self._end(as_dict(event.get("delta")))
        if kind in ("tool-call-start", "tool-call-delta"):
            return self._call(event, kind, index)
        if kind in ("content-start", "content-delta", "tool-plan-delta"):
            return self._text(event, index)
        marks: Marks = dict.fromkeys(_PROTOCOL, _SEALED)
        marks[("delta", "finish_reason")] = marks[("delta", "message", "role")] = _SEALED
        marks[("delta", "message", "citations")] = _RESULT
        return string_deltas(event, marks, (kind or "", index))

    def _text(self, event: dict[str, Any], index: int) -> list[Delta]:
        content = as_dict(at(event, "delta", "message", "content"))
        for field, path in (
            ("text", ("delta", "message", "content", "text")),
            ("thinking", ("delta", "message", "content", "thinking")),
            ("tool_plan", ("delta", "message", "tool_plan")),
        ):
            text = as_text(content.get(field) if field != "tool_plan" else at(event, *path))
            if not text:
                continue
            plain = field == "text"
            self.growing.say(self.message, "text" if plain else "reasoning", text)
            channel = Channel((index, field), "assistant" if plain else "reasoning")
            return [Delta(channel, path, text)]
        return []

    def _call(self, event: dict[str, Any], kind: str, index: int) -> list[Delta]:
        path: Path = ("delta", "message", "tool_calls")
        call = as_dict(at(event, *path))
        function = as_dict(call.get("function"))
        if kind == "tool-call-start" or index not in self.calls:
            name, identity = as_text(function.get("name")), as_text(call.get("id"))
            part = Part("tool_call", name=name, id=identity)
            if self.growing.take(self.message, [part]):
                self.calls[index] = part
        piece = as_text(function.get("arguments"))
        if not piece:
            return []
        if index in self.calls:
            self.growing.add(self.calls[index], piece)
        channel = Channel((index, "arguments"), "tool_arguments", nested=True)
        return [Delta(channel, (*path, "function", "arguments"), piece)]

    def _end(self, delta: dict[str, Any]) -> None:
        self.message.finish_reason = as_text(delta.get("finish_reason"))
        self.answer.complete = True
        if self.message.finish_reason in _ENDED:
            said = as_text(delta.get("error"))
            self.answer.error = CallError(self.message.finish_reason, said)
        usage = as_dict(delta.get("usage"))
        if usage:
            self.answer.usage = read_usage(usage)


_RESULT = Mark("tool_result")


def read_usage(raw: dict[str, Any]) -> Usage:
    """``usage`` of version 2 or ``meta`` of version 1; billed units where no tokens stand."""
    tokens = as_dict(raw.get("tokens")) or as_dict(raw.get("billed_units"))
    fresh, output = as_count(tokens.get("input_tokens")), as_count(tokens.get("output_tokens"))
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=as_count(raw.get("cached_tokens")),
        reasoning_tokens=as_count(tokens.get("reasoning_tokens")),
        input_total=fresh,
        output_total=output,
        raw=raw,
    )
