"""What a leak probe needs to know of an API: where texts stand in its requests and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

# Where a request carries text. The last two are in the definition of a tool.
PLACES = (
    "system", "user", "assistant", "tool_result", "tool_arguments", "tool_description", "tool_enum",
)  # fmt: skip
AFTER = " And this stands after it."
TOOL = "send_mail"
Document = dict[str, Any]


class Dialect:
    """One API. ``kinds`` are the texts its answers have."""

    name: str
    host: str
    kinds: tuple[str, ...] = ("text", "reasoning", "tool_arguments")
    stream_type = "text/event-stream"
    headers: dict[str, str] = {}  # noqa: RUF012 - constants of the subclasses

    def path(self, streamed: bool) -> str:
        """The request's path."""
        raise NotImplementedError

    def request(self, streamed: bool, texts: dict[str, str]) -> Document:
        """A conversation with a tool call in its past; ``texts`` by place."""
        raise NotImplementedError

    def plain(self, kind: str, text: str) -> Document:
        """A whole answer with ``text`` in it; for tool arguments a JSON document."""
        raise NotImplementedError

    def stream(self, kind: str, pieces: Sequence[str]) -> Iterator[bytes]:
        """The same as events, one for each piece, AFTER as text behind it, and the end."""
        raise NotImplementedError

    def read_plain(self, kind: str, document: Document) -> str:
        """What a client reads in a whole answer."""
        raise NotImplementedError

    def read_event(self, kind: str, event: Document) -> str:
        """What a client adds to the text with this event."""
        raise NotImplementedError

    def events(self, body: bytes) -> Iterator[Document]:
        """The events of a stream as a client sees them."""
        for line in body.decode().splitlines():
            if line.startswith("data:") and line[5:].strip() != "[DONE]":
                yield json.loads(line[5:])

    def read(self, kind: str, body: bytes, streamed: bool) -> str:
        """What a client reads of this kind in an answer."""
        if streamed:
            return "".join(self.read_event(kind, event) for event in self.events(body))
        return self.read_plain(kind, json.loads(body))


def sse(document: Document, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document, separators=(',', ':'))}\n\n".encode()


def schema(texts: dict[str, str]) -> Document:
    """Parameters of the tool; one allowed value is a text of the caller's."""
    return {
        "type": "object",
        "properties": {"to": {"type": "string", "enum": [texts["tool_enum"], "nobody"]}},
    }
