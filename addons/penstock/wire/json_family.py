"""What the JSON-over-HTTP families share: parse once, mark, list leaves, say errors.

A family below this one says how its path looks and fills in what it understands; a body
it cannot read is still an Exchange, with ``problem`` set and its text as one leaf. Nothing
here raises on what a peer sent.
"""

from __future__ import annotations

import json
import re
from typing import Any

from penstock.exchange import (
    Answer,
    CallError,
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Leaf,
)
from penstock.wire import json_leaves
from penstock.wire.family import AnswerReader, Channel, Delta, Framing, Refusal
from penstock.wire.loose import as_dict, as_text, at
from penstock.wire.refusals import json_refusal
from penstock.wire.zones import Marks, leaves

_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


def sniff(content_type: str, first_bytes: bytes, streamed: Framing) -> Framing:
    """The framing of an answer: what its first bytes show, else what its type says.

    Some providers answer an error as plain JSON under ``text/event-stream``, and recorders
    and gateways drop or change the type of streams (bytes first, then the name).
    """
    start = first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip()
    if streamed == "sse" or "event-stream" in content_type:
        if start.startswith(_SSE_STARTS):
            return "sse"
        return "sse" if not start and "event-stream" in content_type else "none"
    return streamed


class JsonFamily:
    """A family whose bodies are JSON. Subclasses override what they know better."""

    api: str
    operation: str = "chat"
    path: re.Pattern[str]
    method: str = "POST"
    streamed: Framing = "sse"

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when method and path are this family's."""
        if self.method and request.method.upper() != self.method:
            return False
        return self.path.search(request.path.partition("?")[0]) is not None

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The request as an Exchange with every string of the body as a leaf."""
        document, problem = _parse(request.body)
        exchange = Exchange(
            self.api,
            provider=destination.provider,
            operation=self.operation,
            document=document,
            problem=problem,
        )
        marks: Marks = {}
        self.fill_request(exchange, request, as_dict(document), marks)
        exchange.leaves, limit = leaves(document, marks)
        exchange.problem = problem or limit
        if document is None and request.body:
            exchange.leaves = [json_leaves.text_leaf(request.body)]
        return exchange

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """How the answer is framed; an error status or a call not streamed is plain."""
        return sniff(answer.headers.get("content-type", ""), first_bytes, self.streamed)

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> list[Leaf]:
        """Read a plain answer into ``exchange.answer``; return its string leaves."""
        document, problem = _parse(answer.body)
        exchange.answer = Answer(status=answer.status, complete=problem is None)
        marks: Marks = {}
        error = self.read_error(answer, document)
        if error is not None:
            exchange.answer.error = error
        else:
            self.fill_answer(exchange, answer, document, marks)
        if document is None and answer.body:
            return [json_leaves.text_leaf(answer.body)]
        return leaves(document, marks)[0]

    def read_error(self, answer: HttpAnswer, document: Any) -> CallError | None:
        """The error a plain answer reports, by its status or by an error object."""
        error = as_dict(document).get("error")
        if answer.status < 400 and not isinstance(error, dict):
            return None
        if isinstance(error, dict):
            kind = as_text(error.get("type")) or as_text(error.get("code"))
            return CallError(kind, as_text(error.get("message")))
        return CallError(None, as_text(error) or as_text(as_dict(document).get("message")))

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader for a stream this family does not have: errors and strings only."""
        return GenericReader(exchange)

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """The refusal as a plain answer in this API's error shape."""
        return json_refusal(refusal, self.error_document(refusal))

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The refusal as an SSE error event."""
        return sse_event("error", self.error_document(refusal))

    def error_document(self, refusal: Refusal) -> Any:
        """The body of an error of this API."""
        return {"error": {"message": refusal.message, "type": refusal.code}}

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """Put what this family understands of ``document`` into ``exchange`` and ``marks``."""

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """Put what this family understands of a plain answer into ``exchange.answer``."""


class GenericReader:
    """Reads a stream nobody described: error objects are errors, every string a channel."""

    def __init__(self, exchange: Exchange) -> None:
        self.answer = started_answer(exchange)

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Each string of the event, as a channel of its own place in the event."""
        error = as_dict(document).get("error")
        if isinstance(error, dict):
            kind = as_text(error.get("type")) or as_text(error.get("code"))
            self.answer.error = CallError(kind, as_text(error.get("message")))
        return string_deltas(document, {})

    def end(self) -> None:
        """A stream without a known end marker never counts as complete."""


def started_answer(exchange: Exchange) -> Answer:
    """The answer a stream reader grows, made when there is none yet."""
    if exchange.answer is None:
        exchange.answer = Answer(status=200)
    return exchange.answer


def string_deltas(document: Any, marks: Marks, key: tuple[str | int, ...] = ()) -> list[Delta]:
    """Every string of ``document`` that may be edited, each a whole text of its own."""
    return [
        Delta(
            Channel((*key, *leaf.path), leaf.zone, leaf.nested),
            leaf.path,
            as_text(at(document, *leaf.path)) or leaf.text,  # as carried: a leaf shows unescaped
            last=True,
        )
        for leaf in leaves(document, marks)[0]
        if leaf.editable and leaf.text and not leaf.is_key
    ]


def sse_event(name: str | None, document: Any) -> bytes:
    """One SSE event with ``document`` as compact JSON (WHATWG HTML, 9.2)."""
    head = f"event: {name}\n" if name else ""
    data = json.dumps(document, separators=(",", ":"))
    return f"{head}data: {data}\n\n".encode()


def _parse(body: bytes) -> tuple[Any, str | None]:
    """The JSON value and what is wrong with it; an empty body is no JSON and no problem."""
    if not body.strip():
        return None, None
    reading = json_leaves.parse(body)
    return reading.value, reading.problem
