"""Bedrock Converse, ConverseStream and CountTokens.

Source: Bedrock API reference, "Converse", "ConverseStream", "CountTokens". The answer carries
no model name; the stream's usage follows its end in a ``metadata`` event.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import Answer, Exchange, HttpAnswer, HttpRequest, Message, Part, Zone
from penstock.wire.bedrock.content import (
    call_part,
    read_blocks,
    read_converse,
    read_tools,
    read_usage,
)
from penstock.wire.bedrock.family import BedrockFamily, BedrockStreamFamily, stream_error
from penstock.wire.family import AnswerReader, Channel, Delta, Family
from penstock.wire.growing import KEPT_PARTS_MAX, OneMessageReader
from penstock.wire.json_family import string_deltas
from penstock.wire.loose import as_count, as_dict, as_text, at, renamed
from penstock.wire.zones import Mark, Marks

_PARAMETERS = {
    "maxTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop_sequences",
}
# Padding that hides the length of a piece, and words of the protocol.
_PROTOCOL = ("p", "role", "stopReason")


class Converse(BedrockFamily):
    """``POST /model/{id}/converse``."""

    api = "bedrock.converse"
    path = re.compile(r"/model/.+/converse$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """System, messages, tools, parameters."""
        super().fill_request(exchange, request, document, marks)
        fill_converse(exchange, document, marks)

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The one message of a plain answer."""
        if exchange.answer is not None:
            fill_converse_answer(exchange.answer, as_dict(document), marks)


class ConverseStream(BedrockStreamFamily, Converse):
    """``POST /model/{id}/converse-stream``."""

    api = "bedrock.converse_stream"
    path = re.compile(r"/model/.+/converse-stream$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """As for the plain call."""
        super().fill_request(exchange, request, document, marks)
        exchange.stream = True

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of Converse events."""
        return ConverseReader(exchange)


class CountTokens(BedrockFamily):
    """``POST /model/{id}/count-tokens``: a Converse or InvokeModel body, counted only."""

    api = "bedrock.count_tokens"
    operation = "count_tokens"
    path = re.compile(r"/model/.+/count-tokens$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The body to be counted."""
        super().fill_request(exchange, request, document, marks)
        fill_converse(exchange, as_dict(at(document, "input", "converse")), marks, "input")

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """A count, which is no consumption."""
        if exchange.answer is not None:
            exchange.answer.usage.counted_tokens = as_count(at(document, "inputTokens"))


def fill_converse(
    exchange: Exchange, document: dict[str, Any], marks: Marks, wrapper: str | None = None
) -> None:
    """Read a Converse body standing at the root, or in ``wrapper.converse``."""
    base = (wrapper, "converse") if wrapper else ()
    exchange.messages += read_converse(document, base, marks)
    exchange.tools = read_tools(document.get("toolConfig"), (*base, "toolConfig"), marks)
    config = document.get("inferenceConfig")
    exchange.parameters |= renamed(config, _PARAMETERS)
    guardrail = at(document, "guardrailConfig", "guardrailIdentifier")
    if guardrail is not None:
        exchange.references["guardrail"] = guardrail
    files = [
        part.uri for message in exchange.messages for part in message.parts if part.kind == "uri"
    ]
    if files:
        exchange.references["file_uris"] = files


def fill_converse_answer(answer: Answer, document: dict[str, Any], marks: Marks) -> None:
    """Read a plain Converse answer (Nova's InvokeModel answers are the same)."""
    path = ("output", "message", "content")
    content = at(document, *path)
    parts = read_blocks(content, path, "assistant", marks)
    for index in range(len(content) if isinstance(content, list) else 0):
        # Going to the caller a thought may be changed; only sent back must it be as signed.
        marks[(*path, index, "reasoningContent", "reasoningText", "text")] = Mark("reasoning")
    answer.messages = [Message("assistant", parts, as_text(document.get("stopReason")))]
    usage = as_dict(document.get("usage"))
    if usage:
        answer.usage = read_usage(usage)


class ConverseReader(OneMessageReader):
    """Reads one streamed answer."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.parts: dict[int, Part] = {}
        self.channels: dict[int, set[Channel]] = {}

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event, named by its frame; Nova's inner events are named by their key."""
        event = as_dict(document)
        self.answer.error = stream_error(name, event) or self.answer.error
        index = event.get("contentBlockIndex")
        index = index if isinstance(index, int) else 0
        if name == "contentBlockStart":
            return self._start(event, index)
        if name == "contentBlockDelta":
            return self._delta(event, index)
        if name == "contentBlockStop":
            return [Delta(channel, (), "", last=True) for channel in self.channels.pop(index, ())]
        if name == "messageStop":
            self.message.finish_reason = as_text(event.get("stopReason"))
            self.answer.complete = True
        usage = as_dict(event.get("usage"))
        if usage:
            self.answer.usage = read_usage(usage)
        return string_deltas(event, {(field,): Mark(editable=False) for field in _PROTOCOL})

    def _start(self, event: dict[str, Any], index: int) -> list[Delta]:
        call = as_dict(at(event, "start", "toolUse"))
        if call:
            self._begin(index, call_part(call))
        return []

    def _begin(self, index: int, part: Part) -> None:
        if self.growing.take(self.message, [part]):
            self.parts[index] = part

    def _delta(self, event: dict[str, Any], index: int) -> list[Delta]:
        delta = as_dict(event.get("delta"))
        text = as_text(delta.get("text"))
        if text is not None:
            return self._grow(index, "text", ("delta", "text"), text, "assistant")
        arguments = as_text(at(delta, "toolUse", "input"))
        if arguments is not None:
            path = ("delta", "toolUse", "input")
            return self._grow(index, "input", path, arguments, "tool_arguments")
        reasoning = delta.get("reasoningContent")
        if isinstance(reasoning, dict):
            thought = as_text(reasoning.get("text")) or ""
            path = ("delta", "reasoningContent", "text")
            return self._grow(index, "reasoning", path, thought, "reasoning")
        marks: Marks = {("delta",): Mark("tool_result"), ("p",): Mark(editable=False)}
        return string_deltas(event, marks, (index,))

    def _grow(
        self, index: int, kind: str, path: tuple[str, ...], text: str, zone: Zone
    ) -> list[Delta]:
        if index not in self.parts:
            self._begin(index, Part("reasoning" if kind == "reasoning" else "text"))
        if index in self.parts:
            self.growing.add(self.parts[index], text)
        if not text:
            return []
        channel = Channel((index, kind), zone, nested=kind == "input")
        if len(self.channels) < KEPT_PARTS_MAX:
            self.channels.setdefault(index, set()).add(channel)
        return [Delta(channel, path, text)]


FAMILIES: tuple[Family, ...] = (ConverseStream(), Converse(), CountTokens())
