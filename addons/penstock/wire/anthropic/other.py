"""Anthropic beside messages: counting, batches, files, and the old text completion.

Source: Anthropic API reference. A batch holds whole message requests, each read as one; its
results come as lines of JSON. A count is no consumption. Uploaded files are read as forms.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import (
    CallError,
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
)
from penstock.wire.anthropic.messages import AnthropicMessages, read_anthropic_request
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import string_deltas
from penstock.wire.loose import as_count, as_dict, as_list, as_text, at
from penstock.wire.uploads import UploadFamily
from penstock.wire.zones import Mark, Marks, read_field


class AnthropicCountTokens(AnthropicMessages):
    """``POST /v1/messages/count_tokens``; on Vertex a model called ``count-tokens``."""

    api = "anthropic.count_tokens"
    operation = "count_tokens"
    path = re.compile(
        r"/v1/messages/count_tokens$|/publishers/anthropic/models/count-tokens:rawPredict$"
    )

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """A count, which is no consumption."""
        if exchange.answer is not None:
            exchange.answer.usage.counted_tokens = as_count(at(document, "input_tokens"))


class AnthropicBatches(AnthropicMessages):
    """``/v1/messages/batches``: created with the requests in the body, fetched by id."""

    api = "anthropic.batches"
    operation = "batch"
    method = ""
    path = re.compile(r"/v1/messages/batches(/[^/]+(/results|/cancel)?)?$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Every request of the batch: its messages, its tools; the model if there is one only."""
        models: set[str] = set()
        for index, entry in enumerate(as_list(document.get("requests"))):
            single = Exchange(self.api)
            inner_marks: Marks = {}
            read_anthropic_request(single, as_dict(at(entry, "params")), inner_marks)
            place = ("requests", index, "params")
            marks.update({(*place, *path): mark for path, mark in inner_marks.items() if path})
            exchange.messages += single.messages
            exchange.tools += single.tools
            exchange.references |= single.references
            if single.model:
                models.add(single.model)
        exchange.model = models.pop() if len(models) == 1 else None

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """Plain: results are read as lines when they have all come."""
        return "none"

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The texts of a result are the model's."""
        marks[("result",)] = Mark("assistant")


class AnthropicComplete(AnthropicMessages):
    """``POST /v1/complete``: prompt in, completion out."""

    api = "anthropic.complete"
    operation = "text_completion"
    path = re.compile(r"/v1/complete$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The prompt, which holds the whole conversation."""
        exchange.model = as_text(document.get("model"))
        exchange.stream = document.get("stream") is True
        if "max_tokens_to_sample" in document:
            exchange.parameters["max_tokens"] = document["max_tokens_to_sample"]
        read_field(exchange, document, "prompt", marks)

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The completion."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        exchange.answer.id = as_text(body.get("id"))
        exchange.answer.model = as_text(body.get("model"))
        marks[("completion",)] = Mark("assistant")
        text, reason = as_text(body.get("completion")), as_text(body.get("stop_reason"))
        exchange.answer.messages = [Message("assistant", [Part("text", text=text)], reason)]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of ``completion`` events."""
        return CompleteReader(exchange)


class CompleteReader(OneMessageReader):
    """Reads a streamed text completion."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event."""
        event = as_dict(document)
        kind = as_text(event.get("type")) or name
        if kind == "error":
            error = as_dict(event.get("error"))
            self.answer.error = CallError(as_text(error.get("type")), as_text(error.get("message")))
        text = as_text(event.get("completion"))
        if kind != "completion" or text is None:
            return [] if kind in ("ping", "error") else string_deltas(event, {})
        self.answer.id = as_text(event.get("id")) or self.answer.id
        self.answer.model = as_text(event.get("model")) or self.answer.model
        self.message.finish_reason = as_text(event.get("stop_reason"))
        self.answer.complete = self.message.finish_reason is not None
        self.growing.say(self.message, "text", text)
        return [Delta(Channel(("completion",), "assistant"), ("completion",), text)]


class AnthropicFiles(UploadFamily, AnthropicMessages):
    """``/v1/files``: an uploaded file is content that later calls only name."""

    api = "anthropic.files"
    operation = "files"
    method = ""
    path = re.compile(r"/v1/files(/[^/]+(/content)?)?$")

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """OpenAI has the same path: here the version header or the host must say so."""
        if not super().recognise(request, destination):
            return False
        return "anthropic-version" in request.headers or "anthropic" in request.host


FAMILIES: tuple[Family, ...] = (
    AnthropicCountTokens(),
    AnthropicBatches(),
    AnthropicComplete(),
    AnthropicFiles(),
)
