"""What all OpenAI-shaped families share: paths, zones, usage, errors, refusals.

Recognised by path, whoever serves it: Azure deployments, gateways and some thirty other
services speak the same formats at the same path ends. Sources: OpenAI API reference;
Azure OpenAI REST reference. Subclasses fill in what they know; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from penstock.exchange import (
    Answer,
    CallError,
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Leaf,
    Usage,
)
from penstock.wire import json_leaves
from penstock.wire.family import AnswerReader, Framing, Refusal
from penstock.wire.json_family import sniff, sse_event
from penstock.wire.json_leaves import Reading, ZoneMap
from penstock.wire.leaves_later import LeavesLater
from penstock.wire.loose import as_count, as_dict, as_text, at
from penstock.wire.multipart import Form, read_multipart
from penstock.wire.refusals import json_refusal
from penstock.wire.unknown import UnknownReader, read_any
from penstock.wire.zones import SEALED_FIELDS

ZONES = ZoneMap(
    fields={
        "tools": "tool_definition",
        "functions": "tool_definition",
        "tool_calls": "tool_arguments",
        "function_call": "tool_arguments",
        "reasoning_content": "reasoning",
        "reasoning_details": "reasoning",
        "reasoning": "reasoning",
        "thinking": "reasoning",
        "refusal": "refusal",
        "instructions": "system",
        "prompt": "user",
        "input": "user",
        "transcript": "assistant",
    },
    types={
        "function_call": "tool_arguments",
        "custom_tool_call": "tool_arguments",
        "mcp_call": "tool_arguments",
        "mcp_approval_request": "tool_arguments",
        "mcp_list_tools": "tool_definition",
        "function_call_output": "tool_result",
        "custom_tool_call_output": "tool_result",
        "computer_call_output": "tool_result",
        "local_shell_call_output": "tool_result",
        "shell_call_output": "tool_result",
        "apply_patch_call_output": "tool_result",
        "tool_search_output": "tool_result",
        "file_search_call": "tool_result",
        "reasoning": "reasoning",
        "output_text": "assistant",
        "refusal": "refusal",
    },
    roles={
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
        "tool": "tool_result",
        "function": "tool_result",
    },
    nested=frozenset({"arguments"}),
    sealed=SEALED_FIELDS,
)

# What a model says is the assistant's, also where no role stands beside it.
ANSWER_ZONES = replace(
    ZONES,
    fields={**ZONES.fields, "message": "assistant", "text": "assistant", "input": "tool_arguments"},
)

_DEPLOYMENT = re.compile(r"/deployments/([^/?]+)/")
_PARAMETERS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "n",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "reasoning",
    "service_tier",
    "store",
    "dimensions",
    "size",
    "quality",
    "duration",
    "seconds",
)


class OpenAIFamily:
    """An API at a path of OpenAI's. Subclasses name it and fill in requests and answers."""

    api: str
    operation: str = "unknown"
    path: re.Pattern[str]
    # The path's last words are common ones (files, threads): other services have them too, so
    # they tell the family only at hosts the catalogue knows.
    common_path = False
    zones: ZoneMap = ZONES
    answer_zones: ZoneMap = ANSWER_ZONES
    streamed: Framing = "sse"

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when the path is this family's, whatever stands before it."""
        if self.common_path and not destination.known and not self.shows(request):
            return False
        return self.path.search(request.path.partition("?")[0]) is not None

    def shows(self, request: HttpRequest) -> bool:
        """True when the request itself shows the family, at a host nobody knows."""
        return False

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The request as an Exchange with every string of the body as a leaf."""
        exchange = Exchange(self.api, destination.provider, self.operation)
        content_type = request.headers.get("content-type", "")
        if content_type.startswith("multipart/"):
            self._read_form(exchange, read_multipart(request.body, content_type, "user"))
        elif request.body:
            reading = json_leaves.read(request.body, self.zones)
            exchange.document = reading.value
            exchange.leaves = reading.leaves
            exchange.problem = reading.problem
            document = as_dict(reading.value)
            exchange.model = as_text(document.get("model"))
            exchange.stream = document.get("stream") is True
            exchange.parameters = {name: document[name] for name in _PARAMETERS if name in document}
            self.fill_request(exchange, document)
        if not exchange.model:
            deployment = _DEPLOYMENT.search(request.path)
            exchange.model = unquote(deployment[1]) if deployment else exchange.model
        return exchange

    def _read_form(self, exchange: Exchange, form: Form) -> None:
        exchange.problem = form.problem
        exchange.leaves = [field.leaf for field in form.fields]
        exchange.model = form.value("model")
        exchange.stream = form.value("stream") == "true"
        self.fill_form(exchange, form)

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE where the bytes or the type say so; anything else is one plain body."""
        return sniff(answer.headers.get("content-type", ""), first_bytes, self.streamed)

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> Sequence[Leaf]:
        """Read a plain answer into ``exchange.answer``; return its string leaves."""
        reading = self.read_body(answer)
        exchange.answer = Answer(answer.status, complete=True)
        exchange.answer.error = error_of(answer.status, reading.value)
        document = as_dict(reading.value)
        if exchange.answer.error is None:
            exchange.answer.id = as_text(document.get("id"))
            exchange.answer.model = as_text(document.get("model"))
            self.fill_answer(exchange, exchange.answer, document)
        if reading.leaves or reading.value is None:  # not JSON, or JSON by its looks alone
            return reading.leaves
        return LeavesLater(lambda: self.answer_leaves(reading.value))

    def read_body(self, answer: HttpAnswer) -> Reading:
        """The answer's body: JSON as a rule (its leaves later), else whatever it shows."""
        if answer.body[:1] in (b"{", b"["):
            value = json_leaves.value_of(answer.body)
            return Reading(value, [] if value is not None else [json_leaves.text_leaf(answer.body)])
        return read_any(answer.body, answer.headers.get("content-type", ""))

    def answer_leaves(self, document: Any) -> list[Leaf]:
        """The string leaves of a plain answer's JSON."""
        return json_leaves.walk(document, self.answer_zones)[0]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader that takes every string of every event as a text of its own."""
        return UnknownReader(exchange)

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """OpenAI's error object; 429 carries the limit's own code."""
        return json_refusal(refusal, error_document(refusal))

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """An error event, which the SDKs raise, and ``[DONE]``."""
        return sse_event(None, error_document(refusal)) + b"data: [DONE]\n\n"

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Put what this family understands of a JSON body into ``exchange``."""

    def fill_form(self, exchange: Exchange, form: Form) -> None:
        """Put what this family understands of a multipart body into ``exchange``."""

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """Put what this family understands of a plain answer into ``answer``."""


def error_document(refusal: Refusal) -> dict[str, Any]:
    """OpenAI's error body. ``type`` is the documented word for each status."""
    kind = "requests" if refusal.status == 429 else "permission_error"
    if refusal.code == "insufficient_quota":
        kind = "insufficient_quota"
    error = {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}
    return {"error": error}


def error_of(status: int, document: Any) -> CallError | None:
    """The error a plain answer reports: by its status, or by an error object in a 200."""
    body = as_dict(document)
    error = body.get("error")
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict) and (error.get("message") or error.get("type")):
        return error_in(error)
    if status < 400:
        return None
    text = as_text(error) or as_text(body.get("message")) or as_text(body.get("detail"))
    return CallError(as_text(body.get("type")) or _word(body.get("code")), text)


def error_in(error: dict[str, Any]) -> CallError:
    """An error object: its type, or its code where it has none."""
    kind = as_text(error.get("type")) or _word(error.get("code"))
    return CallError(kind, as_text(error.get("message")))


def _word(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return as_text(value) or None


def read_usage(usage: dict[str, Any]) -> Usage:
    """A usage object of either shape (prompt/completion or input/output tokens)."""
    inputs = _count(usage, "prompt_tokens", "input_tokens")
    outputs = _count(usage, "completion_tokens", "output_tokens")
    details = _details(usage, "prompt_tokens_details", "input_tokens_details")
    produced = _details(usage, "completion_tokens_details", "output_tokens_details")
    cached = as_count(details.get("cached_tokens"))
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    reasoning = as_count(produced.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = _count(usage, "reasoning_tokens")
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=cached,
        cache_write_tokens=as_count(details.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
        input_total=inputs,
        output_total=outputs,
        raw=usage,
    )


def _count(usage: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = as_count(usage.get(name))
        if count is not None:
            return count
    return None


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        details = at(usage, name)
        if isinstance(details, dict):
            return details
    return {}
