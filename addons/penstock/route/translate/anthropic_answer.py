"""Anthropic answers: a message or its events into neutral events, and out of them.

Source: Anthropic API reference, "Messages", "Streaming Messages". Thoughts are left out; their
tokens are counted.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Usage
from penstock.route.translate.answer import (
    Arguments,
    Begin,
    CallBegin,
    CallEnd,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Reason,
    UntranslatableAnswerError,
    Whole,
    Words,
)
from penstock.route.translate.errors import MESSAGE_CHARACTERS, error_document, kind_of_word
from penstock.route.translate.fields import json_text, parsed
from penstock.wire.anthropic.stream import read_error, read_usage
from penstock.wire.json_family import sse_event
from penstock.wire.loose import as_dict, as_dicts, as_text

_REASONS: dict[str, Reason] = {
    "end_turn": "stop",
    "stop_sequence": "sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "filtered",
}
_WORDS: dict[Reason, str] = {
    "stop": "end_turn",
    "sequence": "stop_sequence",
    "length": "max_tokens",
    "tools": "tool_use",
    "filtered": "refusal",
}
_THOUGHTS = ("thinking", "redacted_thinking")
_THOUGHT_DELTAS = ("thinking_delta", "signature_delta")


def read(document: Any) -> list[Event]:
    """The events of a plain answer."""
    body = as_dict(document)
    events: list[Event] = [Begin(as_text(body.get("id")), as_text(body.get("model")))]
    if isinstance(usage := body.get("usage"), dict):
        events.append(Counted(read_usage(usage)))
    for block in as_dicts(body.get("content")):
        if block.get("type") in _THOUGHTS:
            continue
        events += _block(block)
        if block.get("type") == "tool_use":
            events += [Arguments(json_text(as_dict(block.get("input")))), CallEnd()]
    return [*events, *_finish(body), End()]


def _block(block: dict[str, Any]) -> list[Event]:
    """What the beginning of a block says."""
    kind = as_text(block.get("type"))
    if kind == "text":
        if block.get("citations"):
            raise UntranslatableAnswerError("citations")
        text = as_text(block.get("text"))
        return [Words(text)] if text else []
    if kind == "tool_use":
        return [CallBegin(as_text(block.get("id")) or "", as_text(block.get("name")) or "")]
    raise UntranslatableAnswerError(f"a block of type {kind}")


def _finish(said: dict[str, Any]) -> list[Event]:
    reason = as_text(said.get("stop_reason"))
    if not reason:
        return []
    if reason not in _REASONS:
        raise UntranslatableAnswerError(f"stop_reason {reason}")
    return [Finish(_REASONS[reason], as_text(said.get("stop_sequence")))]


class Reader:
    """Reads message events."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.call = False  # a tool call is under way
        self.given: dict[str, Any] = {}  # its arguments, where they came whole

    def event(self, name: str | None, document: Any) -> list[Event]:
        event = as_dict(document)
        kind = as_text(event.get("type")) or name
        match kind:
            case "message_start":
                message = as_dict(event.get("message"))
                begin = Begin(as_text(message.get("id")), as_text(message.get("model")))
                return [*self._count(message.get("usage")), begin]
            case "content_block_start":
                return self._start(as_dict(event.get("content_block")))
            case "content_block_delta":
                return self._delta(as_dict(event.get("delta")))
            case "content_block_stop":
                return self._stop()
            case "message_delta":
                return [*self._count(event.get("usage")), *_finish(as_dict(event.get("delta")))]
            case "message_stop":
                return [End()]
            case "error":
                error = read_error(event)
                message_text = (error.message or "The target failed.")[:MESSAGE_CHARACTERS]
                return [Failed(kind_of_word(error.type), message_text)]
            case "ping":
                return []
        raise UntranslatableAnswerError(f"an event of type {kind}")

    def end(self) -> list[Event]:
        """``message_stop`` is the end; without it the answer is incomplete."""
        return []

    def _count(self, usage: Any) -> list[Event]:
        self.usage |= {key: one for key, one in as_dict(usage).items() if one is not None}
        return [Counted(read_usage(dict(self.usage)))] if usage else []

    def _start(self, block: dict[str, Any]) -> list[Event]:
        if block.get("type") in _THOUGHTS:
            return []
        self.call = block.get("type") == "tool_use"
        self.given = as_dict(block.get("input"))
        return _block(block)

    def _delta(self, delta: dict[str, Any]) -> list[Event]:
        kind = delta.get("type")
        if kind == "text_delta":
            text = as_text(delta.get("text"))
            return [Words(text)] if text else []
        if kind == "input_json_delta":
            piece = as_text(delta.get("partial_json"))
            self.given = {} if piece else self.given
            return [Arguments(piece)] if piece else []
        if kind in _THOUGHT_DELTAS:
            return []
        raise UntranslatableAnswerError(f"a delta of type {kind}")

    def _stop(self) -> list[Event]:
        if not self.call:
            return []
        self.call = False
        given, self.given = self.given, {}
        return [Arguments(json_text(given)), CallEnd()] if given else [CallEnd()]


# --------------------------------------------------------------------------- out of them


def document(said: Whole) -> dict[str, Any]:
    """A plain answer in this format."""
    content: list[dict[str, Any]] = []
    for piece in said.pieces:
        if isinstance(piece, str):
            content.append({"type": "text", "text": piece})
        else:
            block = {"type": "tool_use", "id": piece.id, "name": piece.name}
            content.append({**block, "input": _arguments(piece.text)})
    finish = said.finish
    return {
        **_message(said.id, said.model, content),
        "stop_reason": None if finish is None else _WORDS[finish.reason],
        "stop_sequence": None if finish is None else finish.sequence,
        "usage": usage_document(said.usage or Usage()),
    }


def _arguments(text: str) -> dict[str, Any]:
    value = parsed(text or "{}")
    if not isinstance(value, dict):
        raise UntranslatableAnswerError("arguments that are no JSON object")
    return value


def _message(identity: str | None, model: str | None, content: list[Any]) -> dict[str, Any]:
    return {
        "id": identity or "",
        "type": "message",
        "role": "assistant",
        "model": model or "",
        "content": content,
    }


def usage_document(usage: Usage) -> dict[str, Any]:
    """Tokens in this format: cached ones beside the fresh input, thoughts part of the output."""
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    fresh = max(0, (usage.input_total or 0) - (read or 0) - (written or 0))
    counted: dict[str, Any] = {"input_tokens": fresh, "output_tokens": usage.output_total or 0}
    if written is not None:
        counted["cache_creation_input_tokens"] = written
    if read is not None:
        counted["cache_read_input_tokens"] = read
    if usage.reasoning_tokens is not None:
        counted["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counted


class Writer:
    """Says an answer as message events."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.block = -1
        self.open: str | None = None  # the type of the block under way
        self.finish: Finish | None = None

    def event(self, event: Event) -> bytes:
        match event:
            case Begin():
                message = _message(event.id, event.model, [])
                usage = {**usage_document(self.usage), "output_tokens": 0}
                message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
                return _typed("message_start", message=message)
            case Words():
                begin = b"" if self.open == "text" else self._begin({"type": "text", "text": ""})
                return begin + self._delta("text_delta", text=event.text)
            case CallBegin():
                block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
                return self._begin(block)
            case Arguments():
                return self._delta("input_json_delta", partial_json=event.text)
            case CallEnd():
                return self._end()
            case Counted():
                self.usage = event.usage
            case Finish():
                self.finish = event
                return self._end()
            case Failed():
                return sse_event("error", error_document("anthropic", event.kind, event.message))
            case End():
                return self._last()
        return b""

    def _begin(self, block: dict[str, Any]) -> bytes:
        before = self._end()
        self.block += 1
        self.open = block["type"]
        return before + _typed("content_block_start", index=self.block, content_block=block)

    def _delta(self, kind: str, **fields: Any) -> bytes:
        return _typed("content_block_delta", index=self.block, delta={"type": kind, **fields})

    def _end(self) -> bytes:
        if self.open is None:
            return b""
        self.open = None
        return _typed("content_block_stop", index=self.block)

    def _last(self) -> bytes:
        finish = self.finish
        delta = {
            "stop_reason": None if finish is None else _WORDS[finish.reason],
            "stop_sequence": None if finish is None else finish.sequence,
        }
        usage = usage_document(self.usage)
        return (
            self._end() + _typed("message_delta", delta=delta, usage=usage) + _typed("message_stop")
        )


def _typed(kind: str, **fields: Any) -> bytes:
    return sse_event(kind, {"type": kind, **fields})
