"""The OpenAI Responses API: create, retrieve, compact, and its token counter.

Source: OpenAI API reference, "Responses". Much may stay on the server: a stored prompt, an
earlier response, a conversation, files, background runs. Those are ``references``, so that
a policy can refuse what it cannot see. Items are read here, streams in
``openai_responses_stream``.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import Answer, Destination, Exchange, HttpRequest, Leaf, Message
from penstock.wire.family import AnswerReader, Family, Refusal
from penstock.wire.json_family import sse_event
from penstock.wire.logprobs import note_tokens
from penstock.wire.loose import as_count, as_dicts, as_list, as_text, at
from penstock.wire.openai.content import read_tools
from penstock.wire.openai.family import OpenAIFamily, error_document, read_usage
from penstock.wire.openai.items import MORE_TOOLS, read_answer_items, read_input_item
from penstock.wire.openai.responses_stream import ResponsesReader

# Content that stays with the provider and is only named in the call.
_REFERENCES = ("previous_response_id", "conversation", "prompt", "background", "container")


class Responses(OpenAIFamily):
    """``POST …/responses``."""

    api = "openai.responses"
    operation = "chat"
    path = re.compile(r"/responses/?$")
    common_path = True  # surveys have responses too

    def shows(self, request: HttpRequest) -> bool:
        """A body with a model, as only this API's has; a socket opened for it."""
        if "responses_websockets" in request.headers.get("openai-beta", ""):
            return True
        return request.method == "POST" and b'"model"' in request.body

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Instructions and input items as messages; what is on the server as references."""
        instructions = as_text(document.get("instructions"))
        if instructions:
            exchange.messages.append(read_input_item({"role": "system", "content": instructions}))
        given = document.get("input")
        if isinstance(given, str):
            exchange.messages.append(read_input_item({"role": "user", "content": given}))
        exchange.messages += [read_input_item(item) for item in as_dicts(given)]
        declaring = [
            document,
            *(item for item in as_dicts(given) if item.get("type") == MORE_TOOLS),
        ]
        exchange.tools = [tool for declared in declaring for tool in read_tools(declared)]
        exchange.references = _references(exchange, document, declaring)

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """One message of all output items; the status is the finish reason."""
        fill_response(answer, document)
        for item in as_dicts(document.get("output")):
            for part in as_dicts(item.get("content")):
                note_tokens(answer, part.get("logprobs"))

    def answer_leaves(self, document: Any) -> list[Leaf]:
        """The strings; log probabilities repeat the text beside them."""
        leaves = super().answer_leaves(document)
        for leaf in leaves:
            if leaf.path[:1] == ("output",) and leaf.path[-1:] == ("text",):
                beside = (*leaf.path[:-1], "logprobs")
                if at(document, *beside):
                    leaf.shadows = (beside,)
        return leaves

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of response events."""
        return ResponsesReader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The ``error`` event and ``response.failed``, after which the SDKs stop reading."""
        error = error_document(refusal)["error"]
        answer = exchange.answer or Answer()
        failed: dict[str, Any] = {
            "id": answer.id or f"resp_{refusal.decision_id}",
            "object": "response",
            "status": "failed",
            "model": answer.model or exchange.model,
            "output": [],
            "error": {"code": refusal.code, "message": refusal.message},
        }
        # The documented event has code and message at its top; the SDKs raise on ``error``.
        event = {"type": "error", "code": refusal.code, "message": refusal.message}
        return sse_event("error", {**event, "param": None, "error": error}) + sse_event(
            "response.failed", {"type": "response.failed", "response": failed}
        )


class ResponsesRetrieve(Responses):
    """``GET …/responses/{id}`` and what is done to a stored response (cancel, input items)."""

    api = "openai.responses.retrieve"
    operation = "retrieve"
    path = re.compile(r"/responses/(?!compact$|input_tokens$)[^/]+(?:/(?:cancel|input_items))?/?$")

    def shows(self, request: HttpRequest) -> bool:
        """An id as this API gives them."""
        return "/responses/resp_" in request.path

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The content was sent earlier: all that shows is which response is fetched."""
        exchange = super().read_request(request, destination)
        exchange.stream = "stream=true" in request.path
        exchange.references["response_id"] = request.path.partition("?")[0].rsplit("/", 1)[-1]
        return exchange


class ResponsesCompact(Responses):
    """``POST …/responses/compact``: a conversation in, a shorter one out."""

    api = "openai.responses.compact"
    operation = "compact"
    path = re.compile(r"/responses/compact/?$")


class ResponsesInputTokens(Responses):
    """``POST …/responses/input_tokens``: counts, consumes nothing."""

    api = "openai.responses.input_tokens"
    operation = "count_tokens"
    path = re.compile(r"/responses/input_tokens/?$")

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """The count is no usage."""
        answer.usage.counted_tokens = as_count(document.get("input_tokens"))


def fill_response(answer: Answer, document: dict[str, Any]) -> None:
    """A response object, plain or at the end of a stream, into ``answer``."""
    parts = read_answer_items(document.get("output"))
    reason = as_text(at(document, "incomplete_details", "reason"))
    reason = reason or as_text(document.get("status"))
    if parts or reason:
        answer.messages = [Message("assistant", parts, reason)]
    usage = document.get("usage")
    if isinstance(usage, dict):
        answer.usage = read_usage(usage)


def _references(
    exchange: Exchange, document: dict[str, Any], declaring: list[dict[str, Any]]
) -> dict[str, Any]:
    found = {name: document[name] for name in _REFERENCES if document.get(name)}
    files = [
        part.uri
        for message in exchange.messages
        for part in message.parts
        if part.kind == "uri" and part.uri and "://" not in part.uri
    ]
    if files:
        found["file_ids"] = files
    stores = [
        store
        for declared in declaring
        for tool in as_dicts(declared.get("tools"))
        for store in as_list(tool.get("vector_store_ids"))
    ]
    if stores:
        found["vector_store_ids"] = stores
    servers = [tool.server_url for tool in exchange.tools if tool.server_url]
    if servers:
        found["mcp_servers"] = servers
    return found


FAMILIES: tuple[Family, ...] = (
    Responses(),
    ResponsesCompact(),
    ResponsesInputTokens(),
    ResponsesRetrieve(),
)
