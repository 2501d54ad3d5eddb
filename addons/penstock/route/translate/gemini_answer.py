"""Gemini answers: a response or its chunks into neutral events, and out of them.

Source: Gemini API reference, "GenerateContentResponse". A stream ends with its connection: it
is complete when a reason to finish was said. Thoughts are left out; their tokens are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
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
    MadeCall,
    Reason,
    UntranslatableAnswerError,
    Whole,
    Words,
)
from penstock.route.translate.errors import MESSAGE_CHARACTERS, error_document, kind_of_word
from penstock.route.translate.fields import json_text, parsed
from penstock.wire.gemini.content import pick, read_error, read_usage
from penstock.wire.loose import as_dict, as_dicts, as_text

# The arguments of one call are held until they are whole: this format has no pieces of them.
ARGUMENTS_CHARACTERS_MAX = 4 * 1024 * 1024
_FILTERED = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
)
_REASONS: dict[str, Reason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "filtered"),
}
_WORDS: dict[Reason, str] = {
    "stop": "STOP",
    "sequence": "STOP",
    "length": "MAX_TOKENS",
    "tools": "STOP",
    "filtered": "SAFETY",
}
# What a part may have beside what it says.
_BESIDE = ("thought", "thoughtSignature", "thought_signature", "partMetadata", "part_metadata")


class Reader:
    """Reads chunks; a plain answer is a single one."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.begun = self.called = self.finished = False
        self.id: str | None = None
        self.calls = 0

    def event(self, name: str | None, document: Any) -> list[Event]:
        error = read_error(document)
        if error is not None:
            message = (error.message or "The target failed.")[:MESSAGE_CHARACTERS]
            return [Failed(kind_of_word(error.type), message)]
        if not isinstance(document, dict):
            raise UntranslatableAnswerError("a chunk that is no JSON object")
        events: list[Event] = []
        usage = pick(document, "usageMetadata")[1]
        if isinstance(usage, dict):
            self.usage |= usage
            events.append(Counted(read_usage(dict(self.usage))))
        if not self.begun:
            self.begun = True
            self.id = as_text(document.get("responseId"))
            events.append(Begin(self.id, as_text(document.get("modelVersion"))))
        for candidate in as_dicts(document.get("candidates")):
            if candidate.get("index") not in (None, 0):
                raise UntranslatableAnswerError("more than one candidate")
            events += self._candidate(candidate)
        if as_dict(document.get("promptFeedback")).get("blockReason"):
            events += self._finish("filtered")
        return events

    def end(self) -> list[Event]:
        """The end of the connection is the end, once a reason was said."""
        return [End()] if self.finished else []

    def _candidate(self, candidate: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        for part in as_dicts(as_dict(candidate.get("content")).get("parts")):
            events += self._part(part)
        reason = as_text(candidate.get("finishReason"))
        if reason:
            if reason not in _REASONS:
                raise UntranslatableAnswerError(f"finishReason {reason}")
            word = _REASONS[reason]
            events += self._finish("tools" if self.called and word == "stop" else word)
        return events

    def _part(self, part: dict[str, Any]) -> list[Event]:
        if part.get("thought") is True:
            return []
        text = as_text(part.get("text"))
        if text is not None:
            return [Words(text)] if text else []
        value = pick(part, "functionCall")[1]
        if not isinstance(value, dict):
            named = [key for key in part if key not in _BESIDE]
            if not named:
                return []  # a signature alone
            raise UntranslatableAnswerError(f"a part of kind {named[0]}")
        if value.get("partialArgs") or value.get("willContinue"):
            raise UntranslatableAnswerError("partialArgs")
        self.called = True
        self.calls += 1
        name = as_text(value.get("name")) or ""
        call_id = as_text(value.get("id")) or self._made_id()
        text = json_text(as_dict(value.get("args")))
        return [CallBegin(call_id, name), Arguments(text), CallEnd()]

    def _made_id(self) -> str:
        """An id for a call without: the other formats need one, unlike any other of the talk."""
        seed = f"{self.id}\x1f{self.calls}\x1f{self.usage}"
        return "call_" + blake2b(seed.encode("utf-8", "replace"), digest_size=12).hexdigest()

    def _finish(self, reason: Reason) -> list[Event]:
        if self.finished:
            return []
        self.finished = True
        return [Finish(reason)]


def read(document: Any) -> list[Event]:
    """The events of a plain answer."""
    reader = Reader()
    return [*reader.event(None, document), *reader.end()]


# --------------------------------------------------------------------------- out of them


def document(said: Whole) -> dict[str, Any]:
    """A plain answer in this format."""
    parts: list[dict[str, Any]] = []
    for piece in said.pieces:
        parts.append({"text": piece} if isinstance(piece, str) else _call(piece))
    finish = None if said.finish is None else _WORDS[said.finish.reason]
    return _response(said.id, said.model, parts, finish, said.usage or Usage())


def usage_document(usage: Usage) -> dict[str, Any]:
    """Tokens in this format: cached ones are part of the prompt, thoughts are apart."""
    given, made, thoughts = usage.input_total or 0, usage.output_total or 0, usage.reasoning_tokens
    counted: dict[str, Any] = {
        "promptTokenCount": given,
        "candidatesTokenCount": max(0, made - (thoughts or 0)),
        "totalTokenCount": given + made,
    }
    if usage.cache_read_tokens:
        counted["cachedContentTokenCount"] = usage.cache_read_tokens
    if thoughts:
        counted["thoughtsTokenCount"] = thoughts
    return counted


def _call(piece: MadeCall) -> dict[str, Any]:
    arguments = parsed(piece.text or "{}")
    if not isinstance(arguments, dict):
        raise UntranslatableAnswerError("arguments that are no JSON object")
    return {"functionCall": {"id": piece.id, "name": piece.name, "args": arguments}}


def _response(
    identity: str | None,
    model: str | None,
    parts: Sequence[Any],
    finish: str | None = None,
    usage: Usage | None = None,
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    made: dict[str, Any] = {"candidates": [candidate]}
    if usage is not None:
        made["usageMetadata"] = usage_document(usage)
    return {**made, "modelVersion": model or "", "responseId": identity or ""}


class Writer:
    """Says an answer as response chunks: server-sent events, or elements of one JSON array."""

    def __init__(self, array: bool) -> None:
        self.array = array
        self.begin = Begin(None, None)
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.call: CallBegin | None = None
        self.held: list[str] = []  # of its arguments
        self.held_characters = 0
        self.sent = 0

    def event(self, event: Event) -> bytes:
        match event:
            case Begin():
                self.begin = event
            case Words():
                return self._chunk([{"text": event.text}])
            case CallBegin():
                self.call, self.held, self.held_characters = event, [], 0
            case Arguments():
                self.held.append(event.text)
                self.held_characters += len(event.text)
                if self.held_characters > ARGUMENTS_CHARACTERS_MAX:
                    raise UntranslatableAnswerError("arguments longer than can be held")
            case CallEnd() if self.call is not None:
                part = _call(MadeCall(self.call.id, self.call.name, "".join(self.held)))
                self.call = None
                return self._chunk([part])
            case Counted():
                self.usage = event.usage
            case Finish():
                self.finish = event
            case Failed():
                error = error_document("gemini", event.kind, event.message)
                return self._framed(error) + (b"]" if self.array else b"")
            case End():
                reason = None if self.finish is None else _WORDS[self.finish.reason]
                last = self._chunk([{"text": ""}], reason, self.usage or Usage())
                return last + (b"]" if self.array else b"")
        return b""

    def _chunk(
        self, parts: Sequence[Any], finish: str | None = None, usage: Usage | None = None
    ) -> bytes:
        return self._framed(
            _response(self.begin.id, self.begin.model, parts, finish, usage or self.usage)
        )

    def _framed(self, document: Any) -> bytes:
        self.sent += 1
        data = json_text(document).encode("utf-8", "replace")
        if not self.array:
            return b"data: " + data + b"\r\n\r\n"
        return (b"[" if self.sent == 1 else b",\r\n") + data
