"""Ollama's own API: chat, generate, show and embed.

Source: Ollama API documentation. Answers stream as lines of JSON unless ``stream`` is false;
the line with ``done`` carries the counts. Tool arguments are objects, not strings.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from penstock.exchange import (
    Answer,
    CallError,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
)
from penstock.wire.chat_marks import read_chat, read_marked
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing, Refusal
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import JsonFamily, string_deltas
from penstock.wire.loose import as_count, as_dict, as_list, as_text, at, counted, renamed
from penstock.wire.openai.content import read_calls, read_tools
from penstock.wire.zones import MEDIA, Mark, Marks, strings

_PARAMETERS = {"num_predict": "max_tokens", "temperature": "temperature", "top_p": "top_p"}
_SEALED = Mark(editable=False)


class OllamaFamily(JsonFamily):
    """What the endpoints share: ``model``, options, errors as one string."""

    streams = False

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Model and options; streaming is the default."""
        exchange.model = as_text(document.get("model"))
        exchange.stream = self.streams and document.get("stream") is not False
        exchange.parameters |= renamed(document.get("options"), _PARAMETERS)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """Lines of JSON when streamed and no error came."""
        return "ndjson" if exchange.stream and answer.status < 400 else "none"

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """An error is a string under ``error``."""
        said = as_text(at(document, "error"))
        return CallError(None, said) if said is not None or answer.status >= 400 else None

    def error_document(self, refusal: Refusal) -> Any:
        """Ollama's error: a string."""
        return {"error": refusal.message}

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """A last line with the error, as the server itself ends a failed stream."""
        return orjson.dumps(self.error_document(refusal)) + b"\n"

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of lines."""
        return OllamaReader(exchange)


class OllamaChat(OllamaFamily):
    """``POST /api/chat``."""

    api = "ollama.chat"
    path = re.compile(r"/api/chat$")
    streams = True

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Messages (images as base64 beside the text) and tools."""
        super().fill_request(exchange, request, document, marks)
        messages = as_list(document.get("messages"))
        exchange.messages = read_chat(messages, ("messages",), marks)
        for message, said in zip(exchange.messages, messages, strict=True):
            message.parts += _images(as_dict(said).get("images"))
        marks[("tools",)] = Mark("tool_definition")
        exchange.tools = read_tools(document)

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The one message of a plain answer."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        said = as_dict(body.get("message"))
        message = read_marked(said, ("message",), marks)
        thought = as_text(said.get("thinking"))
        if thought:
            message.parts.insert(0, Part("reasoning", text=thought))
        message.role = "assistant"
        exchange.answer.messages = [message]
        read_facts(exchange.answer, message, body)


class OllamaGenerate(OllamaFamily):
    """``POST /api/generate``."""

    api = "ollama.generate"
    operation = "text_completion"
    path = re.compile(r"/api/generate$")
    streams = True

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """System text, prompt, images."""
        super().fill_request(exchange, request, document, marks)
        marks[("system",)] = marks[("template",)] = Mark("system")
        marks[("prompt",)] = marks[("suffix",)] = Mark("user")
        for index in range(len(as_list(document.get("images")))):
            marks[("images", index)] = MEDIA
        system, prompt = as_text(document.get("system")), as_text(document.get("prompt"))
        if system:
            exchange.messages.append(Message("system", [Part("text", text=system)]))
        parts = [Part("text", text=prompt)] if prompt is not None else []
        parts += _images(document.get("images"))
        exchange.messages.append(Message("user", parts))

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The text of a plain answer."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        marks[("response",)], marks[("thinking",)] = Mark("assistant"), Mark("reasoning")
        message = Message("assistant", [Part("text", text=as_text(body.get("response")))])
        thought = as_text(body.get("thinking"))
        if thought:
            message.parts.insert(0, Part("reasoning", text=thought))
        exchange.answer.messages = [message]
        read_facts(exchange.answer, message, body)


class OllamaEmbed(OllamaFamily):
    """``POST /api/embed`` and the older ``/api/embeddings``."""

    api = "ollama.embed"
    operation = "embeddings"
    path = re.compile(r"/api/embed(dings)?$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """One text or several."""
        super().fill_request(exchange, request, document, marks)
        marks[("input",)] = marks[("prompt",)] = Mark("user")
        texts = strings(document.get("input")) + strings(document.get("prompt"))
        exchange.messages = [Message("user", [Part("text", text=text) for text in texts])]

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """How many vectors came."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        vectors = as_list(body.get("embeddings"))
        exchange.answer.embedding_count = len(vectors) or (1 if body.get("embedding") else None)
        read_facts(exchange.answer, None, body)


class OllamaShow(OllamaFamily):
    """``POST /api/show``: what a model is."""

    api = "ollama.show"
    operation = "models"
    path = re.compile(r"/api/show$")


class OllamaReader(OneMessageReader):
    """Reads lines of chat or generate."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one line."""
        line = as_dict(document)
        said = as_dict(line.get("message"))
        error = as_text(line.get("error"))
        if error is not None:
            self.answer.error = CallError(None, error)
        read_facts(self.answer, self.message, line)
        marks: Marks = {(field,): _SEALED for field in ("model", "created_at", "done_reason")}
        marks[("message", "role")] = _SEALED
        marks[("message", "tool_calls")] = Mark("tool_arguments")
        self.growing.take(self.message, read_calls(said))
        deltas: list[Delta] = []
        for text, path, thought in (
            (said.get("thinking"), ("message", "thinking"), True),
            (line.get("thinking"), ("thinking",), True),
            (said.get("content"), ("message", "content"), False),
            (line.get("response"), ("response",), False),
        ):
            if not isinstance(text, str):
                continue
            marks[path] = _SEALED
            if text:
                self.growing.say(self.message, "reasoning" if thought else "text", text)
                channel = Channel(("thinking",), "reasoning") if thought else _TEXT
                deltas.append(Delta(channel, path, text))
        return deltas + string_deltas(line, marks)


_TEXT = Channel(("text",), "assistant")


def read_facts(answer: Answer, message: Message | None, line: dict[str, Any]) -> None:
    """Model, reason to end and counts, where a line or an answer has them."""
    answer.model = as_text(line.get("model")) or answer.model
    if line.get("done") is True:
        answer.complete = True
        if message is not None:
            message.finish_reason = as_text(line.get("done_reason"))
    names = ("prompt_eval_count", "eval_count")
    usage = counted(as_count(line.get(names[0])), as_count(line.get(names[1])), names)
    answer.usage = usage if usage.raw is not None else answer.usage


def _images(images: Any) -> list[Part]:
    return [
        Part("blob", mime_type="image/*", size_bytes=len(image) * 3 // 4)
        for image in as_list(images)
        if isinstance(image, str)
    ]


FAMILIES: tuple[Family, ...] = (OllamaChat(), OllamaGenerate(), OllamaEmbed(), OllamaShow())
