"""Replicate predictions: asked at one host, streamed from another by GET.

Source: Replicate HTTP API reference ("Predictions", "Streaming output"). The model stands in
the URL, or a version in the body. A stream's events are plain text named ``output``.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import (
    CallError,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Message,
    Part,
)
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing, Refusal
from penstock.wire.growing import OneMessageReader
from penstock.wire.json_family import sniff, sse_event
from penstock.wire.loose import as_dict, as_text, at
from penstock.wire.service_family import ServiceFamily
from penstock.wire.zones import Marks, strings

_MODEL = re.compile(r"/v1/(?:models|deployments)/([^/]+/[^/]+)/predictions$")
_TEXT = Channel(("output",), "assistant")


class Predictions(ServiceFamily):
    """``/v1/predictions``, ``/v1/models/{owner}/{name}/predictions`` and their streams."""

    def fill_request(
        self, exchange: Exchange, request: HttpRequest, document: dict[str, Any], marks: Marks
    ) -> None:
        """The input's texts; the model by its name or its version."""
        super().fill_request(exchange, request, document, marks)
        named = _MODEL.search(request.path.partition("?")[0])
        exchange.model = named[1] if named else as_text(document.get("version")) or exchange.model

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """SSE where the bytes or the type say so."""
        return sniff(answer.headers.get("content-type", ""), first_bytes, "sse")

    def fill_answer(
        self, exchange: Exchange, answer: HttpAnswer, document: Any, marks: Marks
    ) -> None:
        """The output so far: texts, or addresses of what was made."""
        super().fill_answer(exchange, answer, document, marks)
        text = "".join(strings(at(document, "output")))
        if exchange.answer is not None and text:
            exchange.answer.messages = [Message("assistant", [Part("text", text=text)])]

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of output events."""
        return PredictionReader(exchange)

    def error_document(self, refusal: Refusal) -> Any:
        """Replicate's error: a problem document."""
        return {"title": refusal.code, "detail": refusal.message, "status": refusal.status}

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The ``error`` event, then ``done``."""
        error = sse_event("error", {"detail": refusal.message})
        return error + sse_event("done", {"reason": "error"})


class PredictionReader(OneMessageReader):
    """Reads one output stream."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event: text as it stands, or the JSON of an end."""
        if name == "error":
            said = as_text(as_dict(document).get("detail")) or as_text(document)
            self.answer.error = CallError("error", said)
        if name == "done":
            reason = as_text(as_dict(document).get("reason"))
            self.message.finish_reason = reason or "done"
            self.answer.complete = reason is None
        if name != "output" or not isinstance(document, str):
            return []
        self.growing.say(self.message, "text", document)
        return [Delta(_TEXT, (), document)]


FAMILIES: tuple[Family, ...] = (
    Predictions(
        "replicate.predictions",
        "generate_content",
        ("replicate.com",),
        r"/v1/(?:(?:models|deployments)/[^/]+/[^/]+/)?predictions(/[^/]+)*$|/v1/files/.+",
        asks={"input": "user"},
        says={"output": "assistant", "input": "user"},
        method="",
    ),
)
