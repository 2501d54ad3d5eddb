"""Gemini ``generateContent`` and ``streamGenerateContent``, at Google and on Vertex.

Sources: Gemini API reference, "Generating content"; Vertex AI reference; google.rpc.Status.
The model stands in the URL. A stream is SSE with ``alt=sse``, else one JSON array. Parts are
read in ``gemini_content``, streams in ``gemini_stream``.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import unquote

from penstock.exchange import CallError, Exchange, HttpAnswer, HttpRequest
from penstock.wire.family import AnswerReader, Family, Framing, Refusal
from penstock.wire.gemini.content import (
    pick,
    read_content,
    read_contents,
    read_error,
    read_system,
    read_tools,
    read_usage,
)
from penstock.wire.gemini.stream import GeminiReader, block_reason, unwrapped
from penstock.wire.json_family import JsonFamily, sniff
from penstock.wire.logprobs import note
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.zones import Mark, Marks

_MODEL = re.compile(r"/(?:models|tunedModels|endpoints)/([^/:]+):\w+$")
_PARAMETERS = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "candidateCount": "n",
    "stopSequences": "stop_sequences",
    "seed": "seed",
}


class GoogleFamily(JsonFamily):
    """What all Google families share: the model's place and the shape of an error."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The model, from the URL."""
        exchange.model = model_of(request)

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """The status object; also of an error that came in a JSON array, or as a redirect."""
        error = read_error(document)
        return CallError() if error is None and answer.status >= 400 else error

    def error_document(self, refusal: Refusal) -> Any:
        """``google.rpc.Status`` as JSON; a limit says when to come back (RetryInfo)."""
        limited = refusal.status == 429
        details: list[dict[str, Any]] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": refusal.code.upper(),
                "domain": "penstock",
                "metadata": {"rule": refusal.rule, "decision": refusal.decision_id},
            }
        ]
        wait = refusal.retry_after_seconds
        if limited and wait is not None and math.isfinite(wait):
            retry = {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{max(1, math.ceil(wait))}s",
            }
            details.insert(0, retry)
        status = "RESOURCE_EXHAUSTED" if limited else "PERMISSION_DENIED"
        return {
            "error": {
                "code": refusal.status,
                "message": refusal.message,
                "status": status,
                "details": details,
            }
        }


class GenerateContent(GoogleFamily):
    """``POST …/models/{model}:generateContent``."""

    api = "google.generate_content"
    operation = "generate_content"
    path = re.compile(r":generateContent$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Contents, system instruction, tools, parameters; Code Assist wraps them once more."""
        super().fill_request(exchange, request, document, marks)
        inner = document.get("request")
        if isinstance(inner, dict) and "contents" not in document:
            exchange.model = exchange.model or as_text(document.get("model"))
            read_generate(exchange, inner, marks, ("request",))
        else:
            read_generate(exchange, document, marks)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """One JSON object."""
        return "none"

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """Candidates as messages, one each."""
        read_generated(exchange, as_dict(document), marks)


class StreamGenerateContent(GenerateContent):
    """``POST …/models/{model}:streamGenerateContent``, with ``alt=sse`` or without."""

    api = "google.stream_generate_content"
    path = re.compile(r":streamGenerateContent$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """As for the plain call; ``alt`` is kept because it says how the answer is framed."""
        super().fill_request(exchange, request, document, marks)
        exchange.stream = True
        sse = "alt=sse" in request.path.partition("?")[2].split("&")
        exchange.parameters["alt"] = "sse" if sse else "json"

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE or a JSON array by what the first bytes show; a lone object is an error."""
        if exchange.parameters.get("alt") == "sse" or first_bytes.lstrip()[:1] not in (b"", b"["):
            return sniff(answer.headers.get("content-type", ""), first_bytes, "sse")
        return "json_array"

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of response chunks."""
        return GeminiReader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """An error chunk in the framing of the stream, and the end of it."""
        error = json.dumps(self.error_document(refusal))
        if exchange.parameters.get("alt") == "sse":
            return f"data: {error}\r\n\r\n".encode()
        begun = exchange.answer is not None and exchange.answer.events_sent > 0
        return f"{',' if begun else '['}\r\n{error}\r\n]".encode()


def model_of(request: HttpRequest) -> str | None:
    """The model named in the URL, before the colon."""
    found = _MODEL.search(request.path.partition("?")[0])
    return unquote(found[1]) if found else None


def read_generate(
    exchange: Exchange, document: dict[str, Any], marks: Marks, base: tuple[str, ...] = ()
) -> None:
    """Read a GenerateContentRequest standing at ``base`` of the body."""
    field, system = pick(document, "systemInstruction")
    exchange.messages += read_system(system, (*base, field), marks)
    exchange.messages += read_contents(document.get("contents"), (*base, "contents"), marks)
    exchange.tools = read_tools(document.get("tools"), (*base, "tools"), marks)
    config = as_dict(pick(document, "generationConfig")[1])
    for name, common in _PARAMETERS.items():
        value = pick(config, name)[1]
        if value is not None:
            exchange.parameters[common] = value
    cached = as_text(pick(document, "cachedContent")[1])
    if cached:
        exchange.references["cached_content"] = cached
    files = [
        part.uri for message in exchange.messages for part in message.parts if part.kind == "uri"
    ]
    if files:
        exchange.references["file_uris"] = files


def read_generated(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    """Read a GenerateContentResponse into ``exchange.answer``."""
    answer = exchange.answer
    if answer is None:
        return
    response, base = unwrapped(document)
    answer.id = as_text(response.get("responseId"))
    answer.model = as_text(response.get("modelVersion"))
    for position, candidate in enumerate(as_list(response.get("candidates"))):
        path = (*base, "candidates", position)
        marks[(*path, "groundingMetadata")] = Mark("tool_result")
        content = as_dict(as_dict(candidate).get("content"))
        message = read_content(content, (*path, "content"), marks, "assistant")
        message.finish_reason = as_text(as_dict(candidate).get("finishReason"))
        answer.messages.append(message)
        note(answer, as_dict(candidate).get("avgLogprobs"))
    blocked = block_reason(response)
    if blocked:
        answer.messages.append(read_content({}, (), {}, "assistant"))
        answer.messages[-1].finish_reason = blocked
    usage = as_dict(response.get("usageMetadata"))
    if usage:
        answer.usage = read_usage(usage)


FAMILIES: tuple[Family, ...] = (StreamGenerateContent(), GenerateContent())
