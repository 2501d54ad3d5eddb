"""Cohere: chat in both versions, embed and rerank.

Source: Cohere API reference, v1 and v2. Version 1 speaks of ``message`` and ``chat_history``
and streams line-wise JSON; version 2 has messages and SSE. Tokens and billed units differ;
where no tokens are told the billed ones are what was used.
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
    Usage,
)
from penstock.wire.chat_marks import read_chat, read_marked
from penstock.wire.cohere.stream import CohereV1Reader, CohereV2Reader, read_usage
from penstock.wire.family import AnswerReader, Family, Framing, Refusal
from penstock.wire.json_family import JsonFamily, sse_event
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text, at
from penstock.wire.openai.content import read_tools
from penstock.wire.service_family import at_host
from penstock.wire.zones import MEDIA, Mark, Marks, read_field, strings

_PARAMETERS = ("max_tokens", "temperature", "p", "k", "seed", "stop_sequences", "top_n")


class CohereFamily(JsonFamily):
    """What the Cohere endpoints share: ``model`` in the body, ``{"message"}`` as error."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Model, parameters, and retrieved documents as what tools brought."""
        exchange.model = as_text(document.get("model"))
        exchange.stream = document.get("stream") is True
        exchange.parameters = {name: document[name] for name in _PARAMETERS if name in document}
        marks[("documents",)] = Mark("tool_result")
        marks[("tools",)] = Mark("tool_definition")

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """Id and usage."""
        if exchange.answer is None:
            return
        body = as_dict(document)
        exchange.answer.id = as_text(body.get("generation_id")) or as_text(body.get("id"))
        usage = as_dict(body.get("usage")) or as_dict(body.get("meta"))
        exchange.answer.usage = read_usage(usage) if usage else Usage()

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """By path; version 1 paths are also others', so there the host must say so too."""
        if not super().recognise(request, destination):
            return False
        shared = "/v1/" in request.path and not self.api.endswith("embed")
        return not shared or at_host(request, ("cohere.ai", "cohere.com"))

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """``message`` is all an error says."""
        if answer.status < 400:
            return None
        return CallError(None, as_text(as_dict(document).get("message")))

    def error_document(self, refusal: Refusal) -> Any:
        """Cohere's error: a message."""
        return {"message": refusal.message}


class CohereV1Chat(CohereFamily):
    """``POST /v1/chat`` at Cohere."""

    api = "cohere.v1.chat"
    path = re.compile(r"/v1/chat$")
    streamed: Framing = "ndjson"

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Preamble, history, the message, tools and their results."""
        super().fill_request(exchange, request, document, marks)
        read_field(exchange, document, "preamble", marks, "system")
        for index, turn in enumerate(as_list(document.get("chat_history"))):
            said = as_dict(turn)
            role = (as_text(said.get("role")) or "").lower()
            role = "assistant" if role == "chatbot" else role
            message = {"role": role, "content": said.get("message")}
            exchange.messages.append(read_marked(message, ("chat_history", index), marks))
            marks[("chat_history", index, "tool_calls")] = Mark("tool_arguments")
        read_field(exchange, document, "message", marks)
        results = as_list(document.get("tool_results"))
        if results:
            marks[("tool_results",)] = Mark("tool_result")
            parts = [Part("tool_result", text="\n".join(strings(result))) for result in results]
            exchange.messages.append(Message("tool", parts))
        exchange.tools = read_tools({"tools": _v1_tools(document)})

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """Lines of JSON when a stream was asked for and no error came."""
        return "ndjson" if exchange.stream and answer.status < 400 else "none"

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The text and the tool calls of a plain answer."""
        super().fill_answer(exchange, answer, document, marks)
        if exchange.answer is None:
            return
        body = as_dict(document)
        marks[("text",)] = marks[("chat_history",)] = Mark("assistant")
        marks[("tool_calls",)] = Mark("tool_arguments")
        marks[("documents",)] = marks[("citations",)] = Mark("tool_result")
        parts = [Part("text", text=as_text(body.get("text")))] if body.get("text") else []
        parts += [
            Part("tool_call", name=as_text(call.get("name")), arguments=call.get("parameters"))
            for call in as_dicts(body.get("tool_calls"))
        ]
        reason = as_text(body.get("finish_reason"))
        exchange.answer.messages = [Message("assistant", parts, reason)]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of version 1 events."""
        return CohereV1Reader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """A last line that says why and ends the stream."""
        line = sse_event(
            None,
            {
                "is_finished": True,
                "event_type": "stream-end",
                "finish_reason": "ERROR",
                "error": refusal.message,
            },
        )
        return line.removeprefix(b"data: ").rstrip() + b"\n"


class CohereV2Chat(CohereFamily):
    """``POST /v2/chat``."""

    api = "cohere.v2.chat"
    path = re.compile(r"/v2/chat$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Messages and tools."""
        super().fill_request(exchange, request, document, marks)
        exchange.messages = read_chat(document.get("messages"), ("messages",), marks)
        exchange.tools = read_tools(document)

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The one message of a plain answer."""
        super().fill_answer(exchange, answer, document, marks)
        if exchange.answer is None:
            return
        said = as_dict(at(document, "message"))
        message = read_marked(said, ("message",), marks)
        plan = as_text(said.get("tool_plan"))
        if plan:
            message.parts.insert(0, Part("reasoning", text=plan))
        message.role = "assistant"
        message.finish_reason = as_text(at(document, "finish_reason"))
        exchange.answer.messages = [message]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of version 2 events."""
        return CohereV2Reader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """An end with the reason ERROR, then ``[DONE]``."""
        end = {"finish_reason": "ERROR", "error": refusal.message}
        return sse_event("message-end", {"type": "message-end", "delta": end}) + b"data: [DONE]\n\n"


class CohereEmbed(CohereFamily):
    """``POST /v2/embed`` (and ``/v1/embed``, which differs in nothing read here)."""

    api = "cohere.v2.embed"
    operation = "embeddings"
    path = re.compile(r"/v[12]/embed$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Texts, and images as data URLs."""
        super().fill_request(exchange, request, document, marks)
        marks[("texts",)] = marks[("inputs",)] = Mark("user")
        parts = [Part("text", text=text) for text in strings(document.get("texts"))]
        for index, image in enumerate(as_list(document.get("images"))):
            marks[("images", index)] = MEDIA
            size_bytes = len(image) if isinstance(image, str) else 0
            parts.append(Part("blob", mime_type="image/*", size_bytes=size_bytes))
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """How many vectors came, counted in the first type of them."""
        super().fill_answer(exchange, answer, document, marks)
        vectors = at(document, "embeddings")
        if isinstance(vectors, dict):
            vectors = next(iter(vectors.values()), None)
        if exchange.answer is not None and isinstance(vectors, list):
            exchange.answer.embedding_count = len(vectors)


class CohereRerank(CohereFamily):
    """``POST /v2/rerank``."""

    api = "cohere.v2.rerank"
    operation = "rerank"
    path = re.compile(r"/v2/rerank$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The query; the documents are retrieved texts."""
        super().fill_request(exchange, request, document, marks)
        read_field(exchange, document, "query", marks)


class CohereV1Rerank(CohereRerank):
    """``POST /v1/rerank`` at Cohere."""

    api = "cohere.v1.rerank"
    path = re.compile(r"/v1/rerank$")


def _v1_tools(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Version 1 tools (name, description, parameter definitions) in the common shape."""
    return [
        {"type": "function", "function": {**tool, "parameters": tool["parameter_definitions"]}}
        if "parameter_definitions" in tool
        else {"type": "function", "function": tool}
        for tool in as_dicts(document.get("tools"))
    ]


FAMILIES: tuple[Family, ...] = (
    CohereV2Chat(),
    CohereV1Chat(),
    CohereEmbed(),
    CohereRerank(),
    CohereV1Rerank(),
)
