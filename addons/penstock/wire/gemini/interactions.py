"""Gemini Interactions: one turn of a conversation the provider keeps.

Source: Gemini API reference, "Interactions". Input is a text or a list of contents or
turns; the answer is a list of steps. Earlier turns, agents and background runs are not on the
wire: they are references a rule may refuse.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import (
    Answer,
    CallError,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
    PartKind,
    Path,
    ToolDefinition,
    Usage,
    Zone,
)
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing, Refusal
from penstock.wire.gemini.generate import GoogleFamily
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import sniff, sse_event, string_deltas
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at, total
from penstock.wire.zones import Mark, Marks, blob, strings

_REFERENCES = ("previous_interaction_id", "agent", "background")
_MEDIA = ("image", "audio", "video", "document")


class Interactions(GoogleFamily):
    """``POST /interactions`` and what is fetched of one later."""

    api = "google.interactions"
    method = ""
    path = re.compile(r"/v1[^/]*/interactions(/[^/]+)?$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Input, system instruction, tools, and what is kept at the provider."""
        exchange.model = as_text(document.get("model"))
        exchange.stream = document.get("stream") is True
        exchange.references = {
            name: document[name] for name in _REFERENCES if document.get(name) not in (None, False)
        }
        system = as_text(document.get("system_instruction"))
        if system is not None:
            marks[("system_instruction",)] = Mark("system")
            exchange.messages.append(Message("system", [Part("text", text=system)]))
        _read_input(document.get("input"), exchange, marks)
        marks[("tools",)] = Mark("tool_definition")
        exchange.tools = [_tool(tool) for tool in as_dicts(document.get("tools"))]

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE where the bytes or the type say so."""
        return sniff(answer.headers.get("content-type", ""), first_bytes, "sse")

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The steps as one message; a background run has none yet."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        message = Message("assistant", finish_reason=as_text(body.get("status")))
        for field in ("steps", "outputs"):
            for index, step in enumerate(as_list(body.get(field))):
                message.parts += _step(as_dict(step), (field, index), marks)
        exchange.answer.messages = [message]
        _facts(exchange.answer, body)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of interaction events."""
        return InteractionReader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The ``error`` event, then ``done``."""
        document = {"event_type": "error", **self.error_document(refusal)}
        return sse_event("error", document) + b"event: done\ndata: [DONE]\n\n"


class InteractionReader(OneMessageReader):
    """Reads one streamed interaction."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.calls: dict[int, Part] = {}

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event (``[DONE]`` is none)."""
        event = as_dict(document)
        kind = as_text(event.get("event_type")) or name
        error = as_dict(event.get("error"))
        if error:
            said = as_text(error.get("message"))
            self.answer.error = CallError(as_text(error.get("code")), said)
        whole = as_dict(event.get("interaction"))
        if whole:
            _facts(self.answer, whole)
            self.message.finish_reason = as_text(whole.get("status"))
        self.answer.complete = self.answer.complete or kind == "interaction.completed"
        usage = as_dict(at(event, "metadata", "usage"))
        if usage:
            self.answer.usage = read_usage(usage)
        index = event.get("index")
        index = index if isinstance(index, int) else 0
        if kind == "step.delta":
            return self._delta(event, index)
        marks: Marks = {
            (field,): Mark(editable=False) for field in ("event_type", "interaction_id")
        }
        if kind == "step.start":
            step = as_dict(event.get("step"))
            parts = _step(step, ("step",), marks)
            taken = self.growing.take(self.message, parts)
            if taken and taken[0].kind == "tool_call":
                self.calls[index] = taken[0]
        if whole:
            for field in ("id", "status", "object", "model", "created", "updated", "service_tier"):
                marks[("interaction", field)] = Mark(editable=False)
        return string_deltas(event, marks, (kind or "", index))

    def _delta(self, event: dict[str, Any], index: int) -> list[Delta]:
        delta = as_dict(event.get("delta"))
        kind = as_text(delta.get("type"))
        places: tuple[tuple[str, Path, Zone], ...] = (
            ("text", ("delta", "text"), "assistant"),
            ("thought_summary", ("delta", "content", "text"), "reasoning"),
            ("arguments", ("delta", "arguments"), "tool_arguments"),
            ("arguments_delta", ("delta", "arguments"), "tool_arguments"),
        )
        for name, path, zone in places:
            text = as_text(at(event, *path))
            if kind != name or text is None:
                continue
            if zone == "tool_arguments":
                if index in self.calls:
                    self.growing.add(self.calls[index], text)
            else:
                self.growing.say(self.message, "text" if zone == "assistant" else "reasoning", text)
            channel = Channel((index, name), zone, nested=zone == "tool_arguments")
            return [Delta(channel, path, text)] if text else []
        marks: Marks = {
            ("event_type",): Mark(editable=False),
            ("delta", "type"): Mark(editable=False),
        }
        if kind == "function_call":
            self.growing.take(self.message, _step(delta, ("delta",), marks))
        return string_deltas(event, marks, (index,))


def read_usage(raw: dict[str, Any]) -> Usage:
    """Totals by kind; thoughts stand outside the output, tool use outside the input."""
    fresh, output = (
        as_count(raw.get("total_input_tokens")),
        as_count(raw.get("total_output_tokens")),
    )
    thoughts = as_count(raw.get("total_thought_tokens"))
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=as_count(raw.get("total_cached_tokens")),
        reasoning_tokens=thoughts,
        input_total=total(fresh, as_count(raw.get("total_tool_use_tokens"))),
        output_total=total(output, thoughts),
        raw=raw,
    )


def _read_input(given: Any, exchange: Exchange, marks: Marks) -> None:
    marks[("input",)] = Mark("user")
    if isinstance(given, str):
        exchange.messages.append(Message("user", [Part("text", text=given)]))
        return
    items = [given] if isinstance(given, dict) else as_list(given)
    base: Path = ("input",)
    for index, item in enumerate(items):
        entry = as_dict(item)
        place = base if isinstance(given, dict) else (*base, index)
        said = "assistant" if entry.get("role") in ("model", "assistant") else "user"
        message = Message("assistant" if said == "assistant" else "user")
        content = entry.get("content")
        if "role" in entry:
            zone: Zone = "assistant" if said == "assistant" else "user"
            marks[place] = Mark(zone)
            if isinstance(content, str):
                message.parts.append(Part("text", text=content))
            for position, part in enumerate(as_list(content)):
                message.parts += _step(as_dict(part), (*place, "content", position), marks, zone)
        else:
            message.parts += _step(entry, place, marks, "user")
        exchange.messages.append(message)


def _step(step: dict[str, Any], path: Path, marks: Marks, zone: Zone = "assistant") -> list[Part]:
    """The parts of a step, an output or an input content, which share their kinds."""
    kind = as_text(step.get("type")) or ""
    text = as_text(step.get("text"))
    if kind == "text" and text is not None:
        marks.setdefault(path, Mark(zone))
        return [Part("text", text=text)]
    if kind in ("model_output", "user_input"):
        marks[path] = Mark("user" if kind == "user_input" else "assistant")
        content = as_list(step.get("content"))
        return [
            part
            for index, item in enumerate(content)
            for part in _step(as_dict(item), (*path, "content", index), marks)
        ]
    if kind == "thought":
        marks[path] = Mark("reasoning", editable=not step.get("signature"))
        said = "\n".join(strings(step.get("summary"), without=frozenset({"type"})))
        return [Part("reasoning", text=said)] if said else []
    if kind.endswith("_call"):
        marks[(*path, "arguments")] = Mark("tool_arguments")
        name = as_text(step.get("name")) or kind.removesuffix("_call")
        called: PartKind = "tool_call" if kind == "function_call" else "server_tool_call"
        identity = as_text(step.get("id"))
        return [Part(called, name=name, id=identity, arguments=step.get("arguments"))]
    if kind.endswith("_result"):
        marks[path] = Mark("tool_result")
        return [Part("tool_result", text="\n".join(strings(step.get("result"))))]
    if kind in _MEDIA:
        mime_type = as_text(step.get("mime_type")) or f"{kind}/*"
        data = as_text(step.get("data"))
        if data is not None:
            return [blob(data, mime_type, (*path, "data"), marks, zone)]
        return [Part("uri", mime_type=mime_type, uri=as_text(step.get("uri")))]
    return []


def _tool(tool: dict[str, Any]) -> ToolDefinition:
    kind = as_text(tool.get("type")) or ""
    if kind == "function":
        name, description = as_text(tool.get("name")) or "", as_text(tool.get("description"))
        return ToolDefinition(name, description, tool.get("parameters"))
    return ToolDefinition(f"builtin:{kind}", server_url=as_text(tool.get("url")))


def _facts(answer: Answer, body: dict[str, Any]) -> None:
    answer.id = as_text(body.get("id")) or answer.id
    answer.model = as_text(body.get("model")) or answer.model
    usage = as_dict(body.get("usage"))
    if usage:
        answer.usage = read_usage(usage)


FAMILIES: tuple[Family, ...] = (Interactions(),)
