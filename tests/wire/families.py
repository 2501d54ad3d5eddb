"""Short forms for tests of one family: ask it, answer it, stream to it, look at its leaves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstock.exchange import Answer, Destination, Exchange, HttpAnswer, HttpRequest, Leaf
from penstock.wire.family import Delta, Family, Refusal

FIXTURES = Path(__file__).parent / "fixtures"
REFUSED = Refusal(403, "policy_denied", "Refused by rule r.", "r", "01J")
LIMITED = Refusal(429, "rate_limit_exceeded", "Wait a little.", "r", "01J", 12.0)


def destination(host: str = "provider.example", provider: str | None = None) -> Destination:
    """A destination as the catalogue would name it."""
    return Destination(host, 443, provider, "llm_api", known=True)


def request(
    path: str, body: Any = b"", method: str = "POST", host: str = "provider.example"
) -> HttpRequest:
    """A request; a body that is no bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpRequest(method, "https", host, 443, path, {}, raw)


def read(family: Family, path: str, body: Any = b"", host: str = "provider.example") -> Exchange:
    """What the family understands of a request it must have recognised."""
    asked = request(path, body, host=host)
    assert family.recognise(asked, destination(host))
    return family.read_request(asked, destination(host))


def answered(
    family: Family, exchange: Exchange, body: Any, status: int = 200, **headers: str
) -> tuple[Answer, list[Leaf]]:
    """The answer as read from a plain body, and its leaves."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    leaves = family.read_answer(exchange, HttpAnswer(status, named, raw))
    assert exchange.answer is not None
    return exchange.answer, leaves


def streamed(
    family: Family, exchange: Exchange, events: Iterable[tuple[str | None, Any]]
) -> tuple[Answer, dict[tuple[str | int, ...], str], list[Delta]]:
    """The answer as read from events, the text of each channel, and the deltas.

    Every delta must stand where it says: the place of its path holds its text.
    """
    exchange.answer = None
    reader = family.answer_reader(exchange)
    grown: dict[tuple[str | int, ...], str] = {}
    deltas: list[Delta] = []
    for name, document in events:
        for delta in reader.event(name, document):
            assert not delta.text or at_path(document, delta.path) == delta.text
            key = delta.channel.key
            grown[key] = delta.text if delta.total else grown.get(key, "") + delta.text
            deltas.append(delta)
    reader.end()
    assert exchange.answer is not None
    return exchange.answer, grown, deltas


def at_path(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value at ``path``; JSON standing inside a string is stepped into."""
    for step in path:
        value = value[step]
    return value


def fixture(name: str) -> Any:
    """A fixture file as JSON."""
    return json.loads((FIXTURES / name).read_bytes())


def sse(transcript: bytes) -> list[tuple[str | None, Any]]:
    """The events of an SSE transcript as name and JSON (``[DONE]`` as text)."""
    events: list[tuple[str | None, Any]] = []
    for block in transcript.replace(b"\r\n", b"\n").decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        document = data if data == "[DONE]" else json.loads(data)
        events.append((fields.get("event"), document))
    return events


def strings(value: Any) -> list[str]:
    """Every string value below ``value``."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict | list):
        return []
    children = value.values() if isinstance(value, dict) else value
    return [text for child in children for text in strings(child)]


def zone_of(leaves: list[Leaf], text: str) -> str:
    """The zone of the first leaf with this text."""
    return next(leaf.zone for leaf in leaves if leaf.text == text)


def assert_whole(exchange: Exchange) -> None:
    """Every string of the request is a leaf."""
    assert set(strings(exchange.document)) <= {leaf.text for leaf in exchange.leaves}
