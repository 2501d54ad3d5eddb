"""Streamed chat chunks: each string of a delta as a piece of the text it grows.

The common chunk (one choice, one string) costs a few dictionary look-ups. Oddities met in
recorded traffic: usage under ``x_groq``; ``message`` as a running total beside ``delta``
(Perplexity); content lists and calls without index (Mistral); several names for
reasoning; errors inside a 200 stream; no ``[DONE]``. Unknown fields are texts too.
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from penstock.exchange import Exchange, Message, Part, Path, Zone
from penstock.wire.family import Channel, Delta
from penstock.wire.json_family import started_answer
from penstock.wire.json_leaves import walk
from penstock.wire.logprobs import note_choice
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.openai.content import tool_call
from penstock.wire.openai.family import ZONES, error_in, read_usage

# What is kept of one answer's texts for records and limits; the rest streams by unkept.
MAX_KEPT_CHARACTERS = 1024 * 1024
# Choices and calls of one answer that are kept apart.
MAX_KEPT_TEXTS = 1000

_TEXTS: dict[str, Zone] = {
    "content": "assistant",
    "text": "assistant",  # legacy completions
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "refusal": "refusal",
}
# Fields whose strings are constants, ids or padding: no text of the model.
_CHUNK = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "x_groq",
        "provider",
        "prompt_filter_results",
        "error",
        "type",
    )
)
_CHOICE = frozenset(
    (
        "index",
        "delta",
        "finish_reason",
        "native_finish_reason",
        "logprobs",
        "content_filter_results",
        "message",
        "text",
        "stop_reason",
        "matched_stop",
        "seed",
        "token_ids",
    )
)
_CALL = frozenset(("index", "id", "type", "function", "custom"))
_FUNCTION = frozenset(("name", "arguments", "input"))
_DELTA = frozenset(("role", "type", "obfuscation", "name", "channel"))


class _Call:
    """A tool call as it grows."""

    __slots__ = ("arguments", "identifier", "name")

    def __init__(self) -> None:
        self.identifier = ""
        self.name = ""
        self.arguments = StringIO()


class _Choice:
    """One choice as it grows."""

    __slots__ = ("calls", "channels", "finish_reason", "index", "paths", "texts")

    def __init__(self, index: int) -> None:
        self.index = index
        self.texts: dict[str, StringIO] = {}
        self.calls: dict[Any, _Call] = {}
        self.finish_reason: str | None = None
        self.channels: dict[Any, Channel] = {}
        self.paths: dict[str, Path] = {}

    def channel(self, key: Path, zone: Zone, nested: bool = False) -> Channel:
        found = self.channels.get(key)
        if found is None:
            found = Channel((self.index, *key), zone, nested)
            if len(self.channels) < MAX_KEPT_TEXTS:
                self.channels[key] = found
        return found


class ChatReader:
    """Reads the chunks of one streamed chat answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.answer = started_answer(exchange)
        self._choices: dict[int, _Choice] = {}
        self._usage: dict[str, Any] = {}
        self._kept = 0
        self._first = True

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one chunk; return its pieces of text."""
        if type(document) is not dict:
            if document == "[DONE]":
                self.answer.complete = True
            return []
        if self._first or not self.answer.model:
            self._identify(document)
        usage = document.get("usage")
        if not usage and "x_groq" in document:
            usage = as_dict(document["x_groq"]).get("usage")
        if type(usage) is dict:
            self._usage.update(usage)
            self.answer.usage = read_usage(self._usage)
        deltas: list[Delta] = []
        choices = document.get("choices")
        if type(choices) is list:
            for position, choice in enumerate(choices):
                if type(choice) is dict:
                    self._read_choice(choice, position, deltas)
        if not document.keys() <= _CHUNK:
            for key in document.keys() - _CHUNK:
                _unknown(document[key], (key,), "other", deltas)
        if "error" in document or name == "error":
            error = document.get("error", document)
            if error:
                self.answer.error = error_in(
                    error if type(error) is dict else {"message": as_text(error)}
                )
                _unknown(error, ("error",) if "error" in document else (), "other", deltas)
        return deltas

    def end(self) -> None:
        """Build the messages; without ``[DONE]`` complete when every choice came to its end."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        if choices and all(choice.finish_reason for choice in choices):
            self.answer.complete = self.answer.complete or self.answer.error is None
        self.answer.messages = [_message(choice) for choice in choices]

    def _identify(self, document: dict[str, Any]) -> None:
        self._first = False
        self.answer.id = self.answer.id or as_text(document.get("id"))
        self.answer.model = self.answer.model or as_text(document.get("model"))

    def _read_choice(self, choice: dict[str, Any], position: int, deltas: list[Delta]) -> None:
        index = choice.get("index", position)
        if type(index) is not int:
            index = position
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) >= MAX_KEPT_TEXTS:
                state = _Choice(index)  # read on, but kept no longer
            else:
                state = self._choices[index] = _Choice(index)
        base: Path = ("choices", position)
        shadows: tuple[Path, ...] = ()
        if choice.get("logprobs"):
            shadows = ((*base, "logprobs"),)
            note_choice(self.answer, choice["logprobs"])
        delta = choice.get("delta")
        if type(delta) is dict:
            self._read_delta(state, delta, (*base, "delta"), shadows, deltas)
        text = choice.get("text")
        if type(text) is str and text:
            self._text(state, "text", text, (*base, "text"), shadows, deltas)
        message = choice.get("message")
        if type(message) is dict:
            self._read_total(state, message, (*base, "message"), deltas)
        reason = choice.get("finish_reason")
        if type(reason) is str and reason:
            state.finish_reason = reason
        if not choice.keys() <= _CHOICE:
            for key in choice.keys() - _CHOICE:
                _unknown(choice[key], (*base, key), "other", deltas)

    def _read_delta(
        self,
        state: _Choice,
        delta: dict[str, Any],
        path: Path,
        shadows: tuple[Path, ...],
        deltas: list[Delta],
    ) -> None:
        for key, value in delta.items():
            if value is None or value == "" or value == []:
                continue
            if type(value) is str and key in _TEXTS:
                self._text(state, key, value, (*path, key), shadows, deltas)
            elif key == "tool_calls" and type(value) is list:
                for position, call in enumerate(value):
                    if type(call) is dict:
                        self._call(state, call, position, (*path, key, position), deltas)
            elif key == "function_call" and type(value) is dict:
                self._function(state, "function_call", value, (*path, key), deltas)
            elif key == "content" and type(value) is list:
                self._content(state, value, (*path, key), shadows, deltas)
            elif key == "reasoning_details" and type(value) is list:
                self._details(state, value, (*path, key), deltas)
            elif key == "audio" and type(value) is dict:
                transcript = value.get("transcript")
                if type(transcript) is str and transcript:
                    where = (*path, key, "transcript")
                    self._text(state, "transcript", transcript, where, (), deltas)
            elif key not in _DELTA:
                _unknown(value, (*path, key), "assistant", deltas, state.index)

    def _text(
        self,
        state: _Choice,
        key: str,
        text: str,
        path: Path,
        shadows: tuple[Path, ...],
        deltas: list[Delta],
    ) -> None:
        channel = state.channels.get(key)
        if channel is None:
            zone = _TEXTS.get(key, "assistant")
            channel = state.channels[key] = Channel((state.index, key), zone)
        self._keep(state.texts, key, text)
        deltas.append(Delta(channel, path, text, False, False, shadows))

    def _content(
        self,
        state: _Choice,
        items: list[Any],
        path: Path,
        shadows: tuple[Path, ...],
        deltas: list[Delta],
    ) -> None:
        """A content list: text parts continue the content, thinking parts the reasoning."""
        for position, item in enumerate(items):
            here = (*path, position)
            fields = as_dict(item)
            text = fields.get("text")
            if type(text) is str:
                self._text(state, "content", text, (*here, "text"), shadows, deltas)
            elif fields.get("type") == "thinking":
                for number, thought in enumerate(as_list(fields.get("thinking"))):
                    words = as_dict(thought).get("text")
                    if type(words) is str:
                        where = (*here, "thinking", number, "text")
                        self._text(state, "reasoning", words, where, (), deltas)
            else:
                _unknown(item, here, "assistant", deltas, state.index)

    def _details(self, state: _Choice, items: list[Any], path: Path, deltas: list[Delta]) -> None:
        """OpenRouter's structured reasoning; it repeats ``reasoning`` in pieces of its own."""
        for position, item in enumerate(items):
            fields = as_dict(item)
            for name in ("text", "summary"):
                text = fields.get(name)
                if type(text) is str and text:
                    key = ("reasoning_details", fields.get("index", position), name)
                    channel = state.channel(_key(key), "reasoning")
                    deltas.append(Delta(channel, (*path, position, name), text))
                    self._keep(state.texts, "reasoning_details", text)

    def _call(
        self, state: _Choice, call: dict[str, Any], position: int, path: Path, deltas: list[Delta]
    ) -> None:
        key: Any = call.get("index")
        identifier = as_text(call.get("id"))
        if type(key) is not int:
            # Without an index a piece with an id begins a call; others go on with the last.
            key = f"id:{identifier}" if identifier else next(reversed(state.calls), position)
        for form in ("function", "custom"):
            fields = call.get(form)
            if type(fields) is dict:
                self._function(state, key, fields, (*path, form), deltas, identifier)
        if not call.keys() <= _CALL:
            for name in call.keys() - _CALL:
                _unknown(call[name], (*path, name), "tool_arguments", deltas, state.index)

    def _function(
        self,
        state: _Choice,
        key: Any,
        fields: dict[str, Any],
        path: Path,
        deltas: list[Delta],
        identifier: str | None = None,
    ) -> None:
        known = state.calls.get(key)
        if known is None:
            known = _Call()
            if len(state.calls) < MAX_KEPT_TEXTS:
                state.calls[key] = known
        known.identifier = known.identifier or identifier or ""
        known.name = known.name or as_text(fields.get("name")) or ""
        if not fields.keys() <= _FUNCTION:
            for name in fields.keys() - _FUNCTION:
                _unknown(fields[name], (*path, name), "tool_arguments", deltas, state.index)
        for field, nested in (("arguments", True), ("input", False)):
            text = fields.get(field)
            if type(text) is str and text:
                channel = state.channel(("tool_calls", key), "tool_arguments", nested)
                deltas.append(Delta(channel, (*path, field), text))
                if self._kept < MAX_KEPT_CHARACTERS:
                    self._kept += len(text)
                    known.arguments.write(text)
            elif type(text) is dict:
                _unknown(text, (*path, field), "tool_arguments", deltas, state.index)

    def _read_total(
        self, state: _Choice, message: dict[str, Any], path: Path, deltas: list[Delta]
    ) -> None:
        """``message`` in a chunk repeats the whole text so far."""
        for key, value in message.items():
            if type(value) is str and value and key in _TEXTS:
                channel = state.channels.get(key) or Channel((state.index, key), _TEXTS[key])
                deltas.append(Delta(channel, (*path, key), value, total=True))
            elif type(value) in (dict, list):
                _unknown(value, (*path, key), "assistant", deltas, state.index)

    def _keep(self, texts: dict[str, StringIO], key: str, text: str) -> None:
        if self._kept < MAX_KEPT_CHARACTERS:
            self._kept += len(text)
            if key not in texts:
                texts[key] = StringIO()
            texts[key].write(text)


def _unknown(value: Any, path: Path, zone: Zone, deltas: list[Delta], *key: str | int) -> None:
    """Strings of a field nobody described: each is a whole text.

    Some services repeat such fields in every chunk (Perplexity its search results): as
    totals they are looked at once and not each time.
    """
    if value is None or type(value) in (int, float, bool):
        return
    leaves, _ = walk(value, ZONES, path, zone)
    for leaf in leaves:
        if not leaf.is_key and leaf.editable:
            channel = Channel((*key, *leaf.path), leaf.zone, leaf.nested)
            deltas.append(Delta(channel, leaf.path, _carried(value, path, leaf.path), True, True))


def _carried(value: Any, base: Path, path: Path) -> str:
    """The string at ``path`` as the event carries it (a leaf shows nested JSON unescaped)."""
    for step in path[len(base) :]:
        value = value[step]
    return str(value)


def _key(parts: tuple[Any, ...]) -> Path:
    return tuple(part if isinstance(part, str | int) else str(part) for part in parts)


def _message(choice: _Choice) -> Message:
    """The choice's message, in the order in which the plain form has its parts."""
    texts = {key: text.getvalue() for key, text in choice.texts.items()}
    parts: list[Part] = []
    reasoning = texts.get("reasoning_content") or texts.get("reasoning")
    reasoning = reasoning or texts.get("reasoning_details")
    if reasoning:
        parts.append(Part("reasoning", reasoning))
    # Together sends each piece as ``delta.content`` and again as ``text``: one of them counts.
    written = texts.get("content") or texts.get("text")
    parts += [Part("text", text) for text in (written, texts.get("transcript")) if text]
    if "refusal" in texts:
        parts.append(Part("refusal", texts["refusal"]))
    for call in choice.calls.values():
        part = tool_call(call.name, call.identifier or None, call.arguments.getvalue())
        if part is not None:
            parts.append(part)
    return Message("assistant", parts, choice.finish_reason)
