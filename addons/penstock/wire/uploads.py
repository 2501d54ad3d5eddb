"""Calls whose body may be anything: uploads, audio, GETs without a body.

The body is read by what it shows: JSON, a multipart form (its text fields editable in
place), text, or binary, which has no leaves and is no problem.
"""

from __future__ import annotations

from penstock.exchange import Answer, Destination, Exchange, HttpAnswer, HttpRequest, Leaf
from penstock.wire.family import Framing
from penstock.wire.json_family import JsonFamily
from penstock.wire.loose import as_dict
from penstock.wire.unknown import read_any
from penstock.wire.zones import Marks, leaves


class UploadFamily(JsonFamily):
    """A family whose bodies need not be JSON."""

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The body by what it shows; a JSON one is marked by the family."""
        reading = read_any(request.body, request.headers.get("content-type", ""))
        exchange = Exchange(
            self.api,
            provider=destination.provider,
            operation=self.operation,
            document=reading.value,
            leaves=reading.leaves,
        )
        # Bytes that are no text hold nothing a rule about words could read: no problem here.
        exchange.problem = None if reading.problem == "not text" else reading.problem
        if exchange.problem is None and reading.problem is not None:
            exchange.leaves = []
        marks: Marks = {}
        self.fill_request(exchange, request, as_dict(reading.value), marks)
        if reading.value is not None:
            exchange.leaves, limit = leaves(reading.value, marks)
            exchange.problem = exchange.problem or limit
        return exchange

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """Plain."""
        return "none"

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> list[Leaf]:
        """The answer by what it shows; audio and video have no leaves."""
        reading = read_any(answer.body, answer.headers.get("content-type", ""))
        if reading.value is not None or not answer.body:
            return super().read_answer(exchange, answer)
        exchange.answer = Answer(status=answer.status, complete=True)
        exchange.answer.error = self.read_error(answer, None)
        return [] if reading.problem == "not text" else reading.leaves
