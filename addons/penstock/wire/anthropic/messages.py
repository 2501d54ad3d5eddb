"""The Anthropic Messages API, at Anthropic, behind gateways and on Vertex.

Sources: Anthropic API reference, "Messages", "Errors"; Google Cloud, "Claude on Vertex AI"
(rawPredict and streamRawPredict: the model stands in the URL, not in the body). Blocks are
read in ``anthropic_content``, streams in ``anthropic_stream``.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from penstock.exchange import CallError, Exchange, HttpAnswer, HttpRequest, Message, Part, Role
from penstock.wire.anthropic.content import read_content, read_tools
from penstock.wire.anthropic.stream import AnthropicReader, read_error, read_usage
from penstock.wire.family import AnswerReader, Family, Refusal
from penstock.wire.json_family import JsonFamily, sse_event
from penstock.wire.loose import as_dict, as_list, as_text, at
from penstock.wire.refusals import json_refusal
from penstock.wire.zones import Mark, Marks

_VERTEX_MODEL = re.compile(r"/publishers/anthropic/models/([^/:]+):(stream)?[rR]awPredict$")
_PARAMETERS = ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "service_tier")
# Content that stays with the provider and is only named in the call.
_REFERENCES = ("container", "previous_message_id")


class AnthropicMessages(JsonFamily):
    """``POST /v1/messages`` and its Vertex form."""

    api = "anthropic.messages"
    path = re.compile(
        r"/v1/messages$|/publishers/anthropic/models/(?!count-tokens:)[^/:]+:(stream)?[rR]awPredict$"
    )

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Messages, tools, parameters; the model from the body, on Vertex from the URL."""
        read_anthropic_request(exchange, document, marks)
        vertex = _VERTEX_MODEL.search(request.path.partition("?")[0])
        if vertex is not None:
            exchange.model = exchange.model or unquote(vertex[1])
            exchange.stream = exchange.stream or vertex[2] is not None

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """The error object, or the bare status of an error without one."""
        if as_dict(document).get("type") == "error" or answer.status >= 400:
            return read_error(document)
        return None

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The one message of a plain answer."""
        read_anthropic_answer(exchange, as_dict(document), marks)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of message events."""
        return AnthropicReader(exchange)

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """Anthropic's error envelope; ``request-id`` names our decision."""
        headers = {"request-id": refusal.decision_id}
        return json_refusal(refusal, self.error_document(refusal), headers)

    def error_document(self, refusal: Refusal) -> Any:
        """``permission_error`` for policy, ``rate_limit_error`` for limits."""
        kind = "rate_limit_error" if refusal.status == 429 else "permission_error"
        return {
            "type": "error",
            "error": {"type": kind, "message": refusal.message},
            "request_id": refusal.decision_id,
        }

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The ``error`` event and the end of the message."""
        error = sse_event("error", self.error_document(refusal))
        return error + sse_event("message_stop", {"type": "message_stop"})


def read_anthropic_request(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    """Read the body of a Messages call, wherever it was sent (Bedrock and batches too)."""
    exchange.model = as_text(document.get("model"))
    exchange.stream = document.get("stream") is True
    exchange.parameters = {name: document[name] for name in _PARAMETERS if name in document}
    exchange.references |= {
        name: document[name] for name in _REFERENCES if document.get(name) is not None
    }
    system = read_content(document.get("system"), ("system",), "system", marks)
    if system:
        exchange.messages.append(Message("system", system))
    for index, message in enumerate(as_list(document.get("messages"))):
        exchange.messages.append(_message(as_dict(message), index, marks))
    exchange.tools = read_tools(document, marks)
    files = [part.uri for part in _parts(exchange) if part.kind == "uri" and _is_file(part.uri)]
    if files:
        exchange.references["file_ids"] = files


def read_anthropic_answer(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    """Read a plain message into ``exchange.answer``."""
    answer = exchange.answer
    if answer is None:
        return
    answer.id = as_text(document.get("id"))
    answer.model = as_text(document.get("model"))
    parts = read_content(document.get("content"), ("content",), "assistant", marks)
    for index in range(len(as_list(document.get("content")))):
        # Going to the caller a thought may be changed; only sent back must it be as signed.
        path = ("content", index, "thinking")
        marks[path] = Mark("reasoning")
    explanation = as_text(at(document, "stop_details", "explanation"))
    if explanation:
        marks[("stop_details",)] = Mark("refusal")
        parts.append(Part("refusal", text=explanation))
    reason = as_text(document.get("stop_reason"))
    if parts or reason:
        answer.messages = [Message("assistant", parts, reason)]
    usage = as_dict(document.get("usage"))
    if usage:
        answer.usage = read_usage(usage)


def _message(message: dict[str, Any], index: int, marks: Marks) -> Message:
    role: Role = "user"
    if message.get("role") in ("assistant", "system"):
        role = message["role"]
    path = ("messages", index, "content")
    zone = role if role in ("assistant", "system") else "user"
    return Message(role, read_content(message.get("content"), path, zone, marks))


def _parts(exchange: Exchange) -> list[Part]:
    return [part for message in exchange.messages for part in message.parts]


def _is_file(uri: str | None) -> bool:
    return uri is not None and "://" not in uri


FAMILIES: tuple[Family, ...] = (AnthropicMessages(),)
