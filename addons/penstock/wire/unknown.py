"""The fallback: a call in no known format, read as what its bytes show.

JSON: every string is a leaf of zone ``other``. Text: one leaf, the body. Form fields and
uploaded text: one leaf each. Anything else: no leaf, and a problem that says so, because
what cannot be read cannot be judged.
"""

from __future__ import annotations

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
from penstock.wire.family import AnswerReader, Delta, Family, Framing, Refusal
from penstock.wire.json_family import GenericReader, sniff, sse_event, string_deltas
from penstock.wire.loose import as_dict, as_text
from penstock.wire.multipart import read_multipart
from penstock.wire.refusals import json_refusal

_JSON_STARTS = (b"{", b"[", b'"')
# Types whose bytes are no text: there is nothing in them a rule about words could read.
_BINARY = ("image/", "audio/", "video/", "font/", "application/octet-stream", "application/zip")


class UnknownJson:
    """A JSON body nobody described."""

    api = "unknown.json"
    operation = "unknown"

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when the body claims to be JSON, by its type or its first byte."""
        if "json" in request.headers.get("content-type", ""):
            return True
        return request.body.removeprefix(json_leaves.BOM).lstrip().startswith(_JSON_STARTS)

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """Every string a leaf; ``model`` and ``stream`` where fields of that name stand."""
        reading = json_leaves.read(request.body) if request.body else json_leaves.Reading()
        if reading.value is None and "json" not in request.headers.get("content-type", ""):
            return UnknownText().read_request(request, destination)  # only began like JSON
        fields = as_dict(reading.value)
        return Exchange(
            self.api,
            provider=destination.provider,
            operation=self.operation,
            model=as_text(fields.get("model")),
            stream=fields.get("stream") is True,
            leaves=reading.leaves,
            document=reading.value,
            problem=reading.problem,
        )

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE or line-wise JSON where the answer says or shows so."""
        content_type = answer.headers.get("content-type", "")
        if "ndjson" in content_type or "jsonl" in content_type:
            return "ndjson"
        if "amazon.eventstream" in content_type:
            return "aws_eventstream"
        return sniff(content_type, first_bytes, "sse")

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> list[Leaf]:
        """Every string of a JSON answer, or the text of a textual one."""
        reading = read_any(answer.body, answer.headers.get("content-type", ""))
        exchange.answer = Answer(answer.status, complete=True)
        exchange.answer.error = read_error(answer.status, reading.value)
        return reading.leaves

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader that takes every string as a text of its own."""
        return UnknownReader(exchange)

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """The error object most APIs use."""
        return json_refusal(refusal, _error(refusal))

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The same as an SSE event."""
        return sse_event("error", _error(refusal))


class UnknownText(UnknownJson):
    """A body that is not JSON: text, a form, or bytes nobody can read."""

    api = "unknown.text"

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """Always: this is the last family."""
        return True

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The body as one leaf, or a leaf for each field of a form."""
        content_type = request.headers.get("content-type", "")
        reading = read_any(request.body, content_type)
        return Exchange(
            self.api,
            provider=destination.provider,
            operation=self.operation,
            leaves=reading.leaves,
            problem=reading.problem,
        )


class UnknownReader(GenericReader):
    """Strings of events, also of events that are plain text."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Every string of a JSON event; a textual event is one string, the whole of it."""
        if isinstance(document, str):
            return string_deltas(document, {}) if document != "[DONE]" else []
        return super().event(name, document)


def read_any(body: bytes, content_type: str) -> json_leaves.Reading:
    """A body by what it shows: JSON, multipart, form, text, or unreadable bytes."""
    if not body or content_type.startswith(_BINARY):
        return json_leaves.Reading()
    if content_type.startswith("multipart/"):
        form = read_multipart(body, content_type)
        return json_leaves.Reading(None, [field.leaf for field in form.fields], form.problem)
    if body.removeprefix(json_leaves.BOM).lstrip().startswith(_JSON_STARTS):
        reading = json_leaves.read(body)
        if reading.value is not None or "json" in content_type:
            return reading
    leaf = json_leaves.text_leaf(body)
    return json_leaves.Reading(None, [leaf], None if leaf.editable else "not text")


def read_error(status: int, document: Any) -> CallError | None:
    """The error in a plain answer: an error object, or the bare status."""
    error = as_dict(document).get("error")
    if isinstance(error, dict) and error:
        kind = as_text(error.get("type")) or as_text(error.get("code"))
        return CallError(kind, as_text(error.get("message")))
    if status < 400:
        return None
    return CallError(None, as_text(error) or as_text(as_dict(document).get("message")))


def _error(refusal: Refusal) -> dict[str, Any]:
    return {"error": {"message": refusal.message, "type": refusal.code, "code": refusal.code}}


FAMILIES: tuple[Family, ...] = (UnknownJson(), UnknownText())
