"""OpenAI chat answers: a completion or its chunks into neutral events, and out of them.

Source: OpenAI API reference, "The chat completion object", "chunk object"; oddities of
compatible services from recorded traffic (usage without being asked, calls without index, no
``[DONE]``). Thoughts nobody asked for are left out; their tokens are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
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
from penstock.wire.json_family import sse_event
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text
from penstock.wire.openai.family import error_in, read_usage

DONE = b"data: [DONE]\n\n"
_REASONS: dict[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "content_filter": "filtered",
}
_WORDS: dict[Reason, str] = {
    "stop": "stop",
    "sequence": "stop",
    "length": "length",
    "tools": "tool_calls",
    "filtered": "content_filter",
}
# Content that has no counterpart.
_FOREIGN = ("audio", "function_call", "annotations", "images")


def read(document: Any) -> list[Event]:
    """The events of a plain answer."""
    body = as_dict(document)
    choices = as_dicts(body.get("choices"))
    if len(choices) != 1:
        raise UntranslatableAnswerError(f"{len(choices)} choices")
    message = as_dict(choices[0].get("message"))
    events: list[Event] = [Begin(as_text(body.get("id")), as_text(body.get("model")))]
    if isinstance(usage := body.get("usage"), dict):
        events.append(Counted(read_usage(usage)))
    events += _said(message)
    for call in as_dicts(message.get("tool_calls")):
        function = _function(call)
        name, text = as_text(function.get("name")) or "", as_text(function.get("arguments")) or ""
        events += [CallBegin(as_text(call.get("id")) or "", name), Arguments(text), CallEnd()]
    reason = _reason(choices[0].get("finish_reason"))
    if reason is not None:
        refused = bool(as_text(message.get("refusal")))
        events.append(Finish("filtered" if refused else reason))
    return [*events, End()]


def _said(message: dict[str, Any]) -> Iterable[Event]:
    """The words of a message or delta: of its content and of a refusal."""
    for name in _FOREIGN:
        if message.get(name):
            raise UntranslatableAnswerError(name)
    content = message.get("content")
    pieces = [content] if isinstance(content, str) else []
    for part in as_dicts(content):
        kind = part.get("type")
        if kind == "text":
            pieces.append(as_text(part.get("text")) or "")
        elif kind != "thinking":
            raise UntranslatableAnswerError(f"content of type {kind}")
    pieces.append(as_text(message.get("refusal")) or "")
    return [Words(text) for text in pieces if text]


def _function(call: dict[str, Any]) -> dict[str, Any]:
    if call.get("type") not in (None, "", "function"):
        raise UntranslatableAnswerError(f"a call of type {call['type']}")
    return as_dict(call.get("function"))


def _reason(value: Any) -> Reason | None:
    if not value:
        return None
    if value not in _REASONS:
        raise UntranslatableAnswerError(f"finish_reason {value}")
    return _REASONS[value]


class Reader:
    """Reads chat chunks."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.begun = self.finished = self.ended = self.refused = False
        self.open: Any = None  # the index of the call under way
        self.closed: set[Any] = set()

    def event(self, name: str | None, document: Any) -> list[Event]:
        if document == "[DONE]":
            self.ended = True
            return [*self._close(), End()]
        if not isinstance(document, dict):
            raise UntranslatableAnswerError("a chunk that is no JSON object")
        if error := document.get("error"):
            found = error_in(as_dict(error) or {"message": as_text(error)})
            message = (found.message or "The target failed.")[:MESSAGE_CHARACTERS]
            return [Failed(kind_of_word(found.type), message)]
        events: list[Event] = []
        choices = as_dicts(document.get("choices"))
        usage = document.get("usage") or as_dict(document.get("x_groq")).get("usage")
        if isinstance(usage, dict):
            self.usage |= usage
            events.append(Counted(read_usage(self.usage)))
        if not self.begun and choices:
            self.begun = True
            events.append(Begin(as_text(document.get("id")), as_text(document.get("model"))))
        for choice in choices:
            if choice.get("index") not in (None, 0):
                raise UntranslatableAnswerError("more than one choice")
            events += self._choice(choice)
        return events

    def end(self) -> list[Event]:
        """Some services never say ``[DONE]``: then the reason to finish is the end."""
        return [End()] if self.finished and not self.ended else []

    def _choice(self, choice: dict[str, Any]) -> list[Event]:
        delta = as_dict(choice.get("delta"))
        events: list[Event] = list(_said(delta))
        self.refused = self.refused or bool(delta.get("refusal"))
        for position, call in enumerate(as_list(delta.get("tool_calls"))):
            events += self._call(as_dict(call), position)
        reason = _reason(choice.get("finish_reason"))
        if reason is not None and not self.finished:
            self.finished = True
            events += [*self._close(), Finish("filtered" if self.refused else reason)]
        return events

    def _call(self, call: dict[str, Any], position: int) -> list[Event]:
        function = _function(call)
        index = call.get("index", ("at", position) if not call.get("id") else call["id"])
        events: list[Event] = []
        if index != self.open:
            if index in self.closed:
                raise UntranslatableAnswerError("tool calls that are interleaved")
            name = as_text(function.get("name"))
            if not name:
                raise UntranslatableAnswerError("a tool call without a name")
            events += [*self._close(), CallBegin(as_text(call.get("id")) or f"call_{index}", name)]
            self.open = index
        text = as_text(function.get("arguments"))
        return [*events, Arguments(text)] if text else events

    def _close(self) -> list[Event]:
        if self.open is None:
            return []
        self.closed.add(self.open)
        self.open = None
        return [CallEnd()]


# --------------------------------------------------------------------------- out of them


def document(said: Whole, created: int) -> dict[str, Any]:
    """A plain answer in this format."""
    texts = said.texts()
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    calls = [
        {
            "id": piece.id,
            "type": "function",
            "function": {"name": piece.name, "arguments": piece.text},
        }
        for piece in said.pieces
        if not isinstance(piece, str)
    ]
    if calls:
        message["tool_calls"] = calls
    finish = said.finish
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": None if finish is None else _WORDS[finish.reason],
    }
    made = {
        "id": said.id or "",
        "object": "chat.completion",
        "created": created,
        "model": said.model or "",
        "choices": [choice],
    }
    return made if said.usage is None else {**made, "usage": usage_document(said.usage)}


def usage_document(usage: Usage) -> dict[str, Any]:
    """Tokens in this format: cached ones are part of the prompt, thoughts of the completion."""
    given, made = usage.input_total or 0, usage.output_total or 0
    counted: dict[str, Any] = {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
    }
    if usage.cache_read_tokens is not None:
        counted["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens is not None:
        counted["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counted


class Writer:
    """Says an answer as chat chunks."""

    def __init__(self, created: int, wants_usage: bool) -> None:
        self.created = created
        self.wants_usage = wants_usage
        self.usage: Usage | None = None
        self.head: dict[str, Any] = {}
        self.calls = -1

    def event(self, event: Event) -> bytes:
        match event:
            case Begin():
                self._begin(event)
                return self._chunk({"role": "assistant", "content": ""})
            case Words():
                return self._chunk({"content": event.text})
            case CallBegin():
                self.calls += 1
                function = {"name": event.name, "arguments": ""}
                return self._call({"id": event.id, "type": "function", "function": function})
            case Arguments():
                return self._call({"function": {"arguments": event.text}})
            case Counted():
                self.usage = event.usage
            case Finish():
                return self._chunk({}, _WORDS[event.reason])
            case Failed():
                return sse_event(None, error_document("openai", event.kind, event.message))
            case End():
                return self._last()
        return b""

    def _begin(self, event: Begin) -> None:
        self.head = {
            "id": event.id or "",
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": event.model or "",
        }

    def _call(self, call: dict[str, Any]) -> bytes:
        return self._chunk({"tool_calls": [{"index": self.calls, **call}]})

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse_event(None, {**self.head, "choices": [choice]})

    def _last(self) -> bytes:
        if not self.wants_usage or self.usage is None:
            return DONE
        last = {**self.head, "choices": [], "usage": usage_document(self.usage)}
        return sse_event(None, last) + DONE
