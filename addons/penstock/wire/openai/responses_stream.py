"""Events of Responses and Realtime: growing texts, their closing copies, the final object.

Each text is said up to four times: in deltas, in its ``done`` event, in its part and item,
and in ``response.completed``. The copies are totals of the same channel, so what was changed
in the deltas is changed in all of them. Source: OpenAI API reference, "Streaming events".
"""

from __future__ import annotations

from io import StringIO
from typing import Any

from penstock.exchange import Exchange, Message, Part, Path, Zone
from penstock.wire.family import Channel, Delta
from penstock.wire.json_family import started_answer
from penstock.wire.json_leaves import walk
from penstock.wire.logprobs import note_tokens
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.openai.family import ZONES, error_in, read_usage
from penstock.wire.openai.items import read_answer_items, read_item

MAX_KEPT_CHARACTERS = 1024 * 1024  # of deltas, for an answer that is cut before its items
MAX_ITEMS = 1000  # output items of one answer that are kept

# Event name (without "response." and ".delta"): zone, field of the closing copy, nested.
_TEXTS: dict[str, tuple[Zone, str, bool]] = {
    "output_text": ("assistant", "text", False),
    "refusal": ("refusal", "refusal", False),
    "reasoning_text": ("reasoning", "text", False),
    "reasoning_summary_text": ("reasoning", "text", False),
    "function_call_arguments": ("tool_arguments", "arguments", True),
    "mcp_call_arguments": ("tool_arguments", "arguments", True),
    "custom_tool_call_input": ("tool_arguments", "input", False),
    "code_interpreter_call_code": ("tool_arguments", "code", False),
    "shell_call_command": ("tool_arguments", "command", False),
    "apply_patch_call_operation_diff": ("tool_arguments", "diff", False),
    "audio.transcript": ("assistant", "transcript", False),
    "output_audio_transcript": ("assistant", "transcript", False),
    # Realtime: the names before general availability, and what the caller said.
    "text": ("assistant", "text", False),
    "audio_transcript": ("assistant", "transcript", False),
    "conversation.item.input_audio_transcription": ("user", "transcript", False),
}
# Which text an item's or part's field closes, by its type.
_PART_TEXTS = {
    "output_text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
    "summary_text": ("reasoning_summary_text", "text"),
}
_ITEM_TEXTS = {
    "function_call": ("function_call_arguments", "arguments"),
    "mcp_call": ("mcp_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
    "code_interpreter_call": ("code_interpreter_call_code", "code"),
}
# Strings that are names, ids, states or sealed: no text of the model.
_NO_TEXT = frozenset(
    (
        "type", "id", "call_id", "item_id", "status", "role", "name", "encrypted_content",
        "obfuscation", "object", "model", "container_id", "server_label", "phase", "response_id",
        "partial_image_b64", "result", "fingerprint",
    )
)  # fmt: skip
_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed", "response.done"))


class ResponsesReader:
    """Reads the events of one streamed response."""

    def __init__(self, exchange: Exchange) -> None:
        self.answer = started_answer(exchange)
        self._channels: dict[tuple[Any, ...], Channel] = {}
        self._texts: dict[Channel, StringIO] = {}
        self._kept = 0
        self._items: list[Part] = []
        self._status: str | None = None
        self._final: list[Part] | None = None

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event; return its pieces of text."""
        if type(document) is not dict:
            if document == "[DONE]":
                self.answer.complete = True
            return []
        kind = document.get("type")
        if type(kind) is not str:
            kind = name or ""
        field = kind.removeprefix("response.")
        if field.endswith(".delta"):
            return self._delta(field[:-6], document)
        closed = field.removesuffix(".done").removesuffix(".completed")
        if closed != field and closed in _TEXTS:
            return self._done(closed, document)
        if kind == "error" or ("error" in document and "response" not in document):
            return self._error(document)
        response = document.get("response")
        if type(response) is dict:
            return self._response(kind, response)
        item = document.get("item")
        if type(item) is dict:
            whole = field == "output_item.done"
            if whole and len(self._items) < MAX_ITEMS:
                self._items += read_item(item)
            return self._item(item, document.get("output_index"), ("item",), whole)
        part = document.get("part")
        if type(part) is dict:
            number = document.get("content_index", document.get("summary_index"))
            found = self._part(part, document.get("output_index"), number, ("part",))
            return found if field.endswith(".done") else _not_empty(found)
        return self._others(document, (), set())

    def end(self) -> None:
        """Build the message: from the final object, else from the items, else from the deltas."""
        parts = self._final or self._items or self._from_deltas()
        if parts or self._status:
            self.answer.messages = [Message("assistant", parts, self._status)]

    def _channel(self, output: Any, number: Any, field: str) -> Channel:
        key = (output, number, field)
        try:
            found = self._channels.get(key)
        except TypeError:  # an index that is an object
            key = (str(output), str(number), field)
            found = self._channels.get(key)
        if found is None:
            zone, _, nested = _TEXTS.get(field, ("other", "", False))
            words = tuple(part if isinstance(part, int | str) else str(part) for part in key)
            found = Channel(words, zone, nested)
            if len(self._channels) < MAX_ITEMS:
                self._channels[key] = found
        return found

    def _delta(self, field: str, document: dict[str, Any]) -> list[Delta]:
        text = document.get("delta")
        if type(text) is not str or not text:
            return [] if text in (None, "") else self._others(document, (), set())
        if field.endswith("audio"):
            return []  # encoded sound
        number = document.get("content_index", document.get("summary_index"))
        channel = self._channel(document.get("output_index"), number, field)
        if self._kept < MAX_KEPT_CHARACTERS:
            self._kept += len(text)
            if channel not in self._texts:
                self._texts[channel] = StringIO()
            self._texts[channel].write(text)
        shadows: tuple[Path, ...] = ()
        if document.get("logprobs"):
            shadows = (("logprobs",),)
            note_tokens(self.answer, document["logprobs"])
        return [Delta(channel, ("delta",), text, False, False, shadows)]

    def _done(self, field: str, document: dict[str, Any]) -> list[Delta]:
        key = _TEXTS[field][1]
        text = document.get(key)
        number = document.get("content_index", document.get("summary_index"))
        channel = self._channel(document.get("output_index"), number, field)
        if type(text) is not str:
            return [Delta(channel, (), "", last=True)]
        shadows: tuple[Path, ...] = (("logprobs",),) if document.get("logprobs") else ()
        return [Delta(channel, (key,), text, True, True, shadows)]

    def _response(self, kind: str, response: dict[str, Any]) -> list[Delta]:
        self.answer.id = as_text(response.get("id")) or self.answer.id
        self.answer.model = as_text(response.get("model")) or self.answer.model
        usage = response.get("usage")
        if type(usage) is dict:
            self.answer.usage = read_usage(usage)
        if kind not in _ENDS:
            return []
        reason = as_dict(response.get("incomplete_details")).get("reason")
        self._status = as_text(reason) or as_text(response.get("status"))
        self._final = read_answer_items(response.get("output"))
        self.answer.complete = True
        deltas: list[Delta] = []
        error = response.get("error")
        if isinstance(error, dict):
            self.answer.error = error_in(error)
            deltas += self._others(error, ("response", "error"), set())
        for index, item in enumerate(as_list(response.get("output"))):
            if type(item) is dict:
                deltas += self._item(item, index, ("response", "output", index), True)
        return deltas

    def _error(self, document: dict[str, Any]) -> list[Delta]:
        error = document.get("error")
        fields = error if isinstance(error, dict) else document
        self.answer.error = error_in({**fields, "type": fields.get("code") or fields.get("type")})
        return self._others(document, (), set())

    def _item(self, item: dict[str, Any], output: Any, path: Path, whole: bool) -> list[Delta]:
        """An item: copies of texts that grew before, and what it alone carries."""
        kind = as_text(item.get("type")) or ""
        deltas: list[Delta] = []
        for list_name in ("content", "summary"):
            for number, part in enumerate(as_list(item.get(list_name))):
                if type(part) is dict:
                    deltas += self._part(part, output, number, (*path, list_name, number))
        if kind in _ITEM_TEXTS:
            field, key = _ITEM_TEXTS[kind]
            text = item.get(key)
            if type(text) is str:
                channel = self._channel(output, None, field)
                deltas.append(Delta(channel, (*path, key), text, whole, True))
        taken = {delta.path for delta in deltas}
        rest = {key: value for key, value in item.items() if key not in ("content", "summary")}
        deltas += self._others(rest, path, taken)
        return deltas if whole else _not_empty(deltas)

    def _part(self, part: dict[str, Any], output: Any, number: Any, path: Path) -> list[Delta]:
        kind = as_text(part.get("type")) or ""
        deltas: list[Delta] = []
        if kind in _PART_TEXTS:
            field, key = _PART_TEXTS[kind]
            text = part.get(key)
            if type(text) is str:
                channel = self._channel(output, number, field)
                shadows: tuple[Path, ...] = ()
                if part.get("logprobs"):
                    shadows = ((*path, "logprobs"),)
                deltas.append(Delta(channel, (*path, key), text, bool(text), True, shadows))
        rest = {key: value for key, value in part.items() if key != "logprobs"}
        return deltas + self._others(rest, path, {delta.path for delta in deltas})

    def _others(self, value: Any, path: Path, taken: set[Path]) -> list[Delta]:
        """Strings nobody described: each is a whole text of its own event."""
        leaves, _ = walk(value, ZONES, path, "other")
        deltas = []
        for leaf in leaves:
            if leaf.is_key or not leaf.editable or leaf.path in taken:
                continue
            if leaf.path and leaf.path[-1] in _NO_TEXT:
                continue
            text: Any = value
            for step in leaf.path[len(path) :]:
                text = text[step]
            channel = Channel(("event", *leaf.path), leaf.zone, leaf.nested)
            deltas.append(Delta(channel, leaf.path, text, last=True))
        return deltas

    def _from_deltas(self) -> list[Part]:
        """What a cut stream had said: texts only, as calls without their name are no calls."""
        parts: list[Part] = []
        for channel, written in self._texts.items():
            text = written.getvalue()
            if channel.zone == "assistant":
                parts.append(Part("text", text))
            elif channel.zone == "reasoning":
                parts.append(Part("reasoning", text))
            elif channel.zone == "refusal":
                parts.append(Part("refusal", text))
        return parts


def _not_empty(deltas: list[Delta]) -> list[Delta]:
    """An item or part that is only announced has empty texts: they close nothing."""
    return [delta for delta in deltas if delta.text]
