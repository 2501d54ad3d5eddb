"""Bedrock InvokeModel: the vendors' own bodies, told apart by their shape.

Source: Bedrock user guide, "Inference request parameters and response fields": Anthropic,
Amazon Titan and Nova, Meta, Mistral, Cohere, AI21, DeepSeek, and the OpenAI shape of newer
models. Shape decides, not the model's name: names change, custom and imported models have
none. Where a body counts no tokens, the answer's headers do.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import (
    Answer,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
    Path,
    Usage,
)
from penstock.wire.anthropic.messages import read_anthropic_answer, read_anthropic_request
from penstock.wire.bedrock.converse import fill_converse, fill_converse_answer
from penstock.wire.bedrock.family import BedrockFamily, BedrockStreamFamily, model_of
from penstock.wire.bedrock.invoke_stream import InvokeReader
from penstock.wire.chat_marks import read_chat, read_marked
from penstock.wire.family import AnswerReader, Family
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at, counted, total
from penstock.wire.openai.content import read_tools
from penstock.wire.openai.family import read_usage
from penstock.wire.zones import Mark, Marks

_PARAMETERS = {
    "max_tokens": ("max_tokens", "max_gen_len", "maxTokens", "maxTokenCount", "max_new_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP", "p"),
}
# Fields that are a prompt by themselves, over all vendors.
_PROMPTS: tuple[Path, ...] = (
    ("prompt",),
    ("inputText",),
    ("message",),
    ("query",),
    ("textToImageParams", "text"),
    ("singleEmbeddingParams", "text", "value"),
    ("text_prompts", 0, "text"),
)
# Where the text of an answer and its reason to end stand, over all vendors.
_ANSWERS: tuple[tuple[Path, Path], ...] = (
    (("generation",), ("stop_reason",)),  # Meta
    (("results", 0, "outputText"), ("results", 0, "completionReason")),  # Titan
    (("outputs", 0, "text"), ("outputs", 0, "stop_reason")),  # Mistral
    (("text",), ("finish_reason",)),  # Cohere Command R
    (("generations", 0, "text"), ("generations", 0, "finish_reason")),  # Cohere Command
    (("completions", 0, "data", "text"), ("completions", 0, "finishReason", "reason")),  # AI21
    (("completion",), ("stop_reason",)),  # Anthropic text completion
)
_HEADERS = "x-amzn-bedrock-{}-token-count"


class Invoke(BedrockFamily):
    """``POST /model/{id}/invoke``."""

    api = "bedrock.invoke"
    path = re.compile(r"/model/.+/invoke$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """A vendor's body, by its shape."""
        fill_vendor_request(exchange, document, marks)
        exchange.model = model_of(request)

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """A vendor's answer, by its shape; token counts from headers where it has none."""
        if exchange.answer is None:
            return
        fill_vendor_answer(exchange, as_dict(document), marks)
        counted = header_usage(answer)
        if exchange.answer.usage.input_tokens is None and counted is not None:
            output = exchange.answer.usage.output_tokens
            exchange.answer.usage = counted
            if counted.output_tokens is None:
                counted.output_tokens = counted.output_total = output


class InvokeStream(BedrockStreamFamily, Invoke):
    """``POST /model/{id}/invoke-with-response-stream``."""

    api = "bedrock.invoke_stream"
    path = re.compile(r"/model/.+/invoke-with-response-stream$")

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """As for the plain call."""
        super().fill_request(exchange, request, document, marks)
        exchange.stream = True

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of vendor chunks, base64-coded in the frames."""
        return InvokeReader(exchange)


def fill_vendor_request(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    """Read a vendor's request body."""
    if "anthropic_version" in document:
        read_anthropic_request(exchange, document, marks)
        return
    messages = document.get("messages")
    if isinstance(messages, list):
        if _is_converse(document):
            fill_converse(exchange, document, marks)
        else:
            exchange.messages = read_chat(messages, ("messages",), marks)
            marks[("tools",)] = Mark("tool_definition")
            exchange.tools = read_tools(document)
    else:
        _read_prompts(exchange, document, marks)
    config = as_dict(document.get("textGenerationConfig")) or document
    for common, names in _PARAMETERS.items():
        for name in names:
            if config.get(name) is not None:
                exchange.parameters[common] = config[name]


def fill_vendor_answer(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    """Read a vendor's answer body into ``exchange.answer``."""
    answer = exchange.answer
    if answer is None:
        return
    answer.id = as_text(document.get("id"))
    answer.model = as_text(document.get("model"))
    if document.get("type") == "message":
        read_anthropic_answer(exchange, document, marks)
    elif isinstance(at(document, "output", "message"), dict):
        fill_converse_answer(answer, document, marks)
    elif isinstance(document.get("choices"), list):
        _read_choices(answer, document, marks)
    else:
        _read_text(answer, document, marks)
        _read_embeddings(exchange, document)


def header_usage(answer: HttpAnswer) -> Usage | None:
    """Token counts from the answer's headers, or None without any."""
    raw: dict[str, Any] = {}
    for name in ("input", "output", "cache-read-input", "cache-write-input"):
        value = answer.headers.get(_HEADERS.format(name), "")
        if value.isascii() and value.isdigit() and len(value) < 16:
            raw[name] = int(value)
    if not raw:
        return None
    read, written = raw.get("cache-read-input"), raw.get("cache-write-input")
    usage = Usage(raw.get("input"), raw.get("output"), read, written)
    usage.input_total = total(usage.input_tokens, read, written)
    usage.output_total = usage.output_tokens
    names = {
        "input": "inputTokens",
        "output": "outputTokens",
        "cache-read-input": "cacheReadInputTokens",
        "cache-write-input": "cacheWriteInputTokens",
    }
    usage.raw = {names[name]: raw[name] for name in names if name in raw}
    return usage


def _is_converse(document: dict[str, Any]) -> bool:
    """Nova's blocks have no ``type``; OpenAI-shaped content lists always do."""
    if "inferenceConfig" in document or "schemaVersion" in document:
        return True
    first = at(document, "messages", 0, "content", 0)
    return isinstance(first, dict) and "type" not in first


def _read_prompts(exchange: Exchange, document: dict[str, Any], marks: Marks) -> None:
    for index, turn in enumerate(as_list(document.get("chat_history"))):
        place = ("chat_history", index)
        said = as_dict(turn)
        renamed = {
            "role": (as_text(said.get("role")) or "").lower(),
            "content": said.get("message"),
        }
        if renamed["role"] == "chatbot":
            renamed["role"] = "assistant"
        exchange.messages.append(read_marked(renamed, place, marks))
    preamble = as_text(document.get("preamble"))
    if preamble is not None:
        marks[("preamble",)] = Mark("system")
        exchange.messages.insert(0, Message("system", [Part("text", text=preamble)]))
    marks[("documents",)] = marks[("tool_results",)] = Mark("tool_result")
    for path in _PROMPTS:
        text = as_text(at(document, *path))
        if text is not None:
            marks[path] = Mark("user")
            exchange.messages.append(Message("user", [Part("text", text=text)]))
    texts = as_list(document.get("texts"))
    if texts:
        marks[("texts",)] = Mark("user")
        parts = [Part("text", text=text) for text in texts if isinstance(text, str)]
        exchange.messages.append(Message("user", parts))


def _read_choices(answer: Answer, document: dict[str, Any], marks: Marks) -> None:
    for index, choice in enumerate(as_dicts(document.get("choices"))):
        path = ("choices", index)
        said = as_dict(choice.get("message"))
        if not said:  # DeepSeek: the text stands in the choice itself
            marks[path] = Mark("assistant")
            said = {"role": "assistant", "content": choice.get("text")}
        message = read_marked(said, (*path, "message"), marks)
        reason = choice.get("finish_reason", choice.get("stop_reason"))
        message.role, message.finish_reason = "assistant", as_text(reason)
        answer.messages.append(message)
    usage = as_dict(document.get("usage"))
    if usage:
        answer.usage = read_usage(usage)


def _read_text(answer: Answer, document: dict[str, Any], marks: Marks) -> None:
    for path, reason_path in _ANSWERS:
        text = as_text(at(document, *path))
        if text is None:
            continue
        marks[path] = Mark("assistant")
        reason = as_text(at(document, *reason_path))
        answer.messages = [Message("assistant", [Part("text", text=text)], reason)]
        break
    answer.usage = body_usage(document) or answer.usage


def body_usage(document: dict[str, Any]) -> Usage | None:
    """Token counts of the bodies that carry any (Meta, Titan); None without."""
    fresh = _first(document, "prompt_token_count", "inputTextTokenCount")
    output = _first(document, "generation_token_count", "totalOutputTextTokenCount")
    results = as_dicts(document.get("results"))
    if output is None and results:
        # A reranker's results count nothing: it generates nothing.
        output = sum(as_count(result.get("tokenCount")) or 0 for result in results)
    usage = counted(fresh, output, ("inputTokens", "outputTokens"))
    return usage if usage.raw is not None else None


def _read_embeddings(exchange: Exchange, document: dict[str, Any]) -> None:
    if exchange.answer is None:
        return
    many = document.get("embeddings")
    if isinstance(many, dict):  # Cohere, by type
        many = next(iter(many.values()), None)
    if isinstance(many, list):
        exchange.answer.embedding_count = len(many)
    elif isinstance(document.get("embedding"), list):
        exchange.answer.embedding_count = 1
    if exchange.answer.embedding_count is not None:
        exchange.operation = "embeddings"


def _first(document: dict[str, Any], *names: str) -> int | None:
    counts = (as_count(document.get(name)) for name in names)
    return next((count for count in counts if count is not None), None)


FAMILIES: tuple[Family, ...] = (InvokeStream(), Invoke())
