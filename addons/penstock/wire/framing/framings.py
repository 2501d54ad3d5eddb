"""The framings of streams, and what an event's data is read as.

Every framing is sans-io: bytes in, whole frames out; the ``raw`` bytes of the frames are the
stream. A new framing is one module and one line in ``PARSERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from penstock.wire import json_leaves
from penstock.wire.family import Channel, Delta, Framing
from penstock.wire.framing.eventstream import FrameParser
from penstock.wire.framing.json_array import ArrayParser
from penstock.wire.framing.messages import MessageParser
from penstock.wire.framing.ndjson import LineParser
from penstock.wire.framing.sse import SseParser
from penstock.wire.json_family import string_deltas

_WHOLE_TEXT = Channel(("event",), "other")


class Frame(Protocol):
    """One event, line, element or frame of a framing."""

    raw: bytes
    name: str | None
    data: bytes | None

    def rebuild(self, data: bytes) -> bytes:
        """The frame with other data."""


class Parser(Protocol):
    """A framing: bytes in, frames out."""

    problem: str | None

    def feed(self, data: bytes) -> list[Any]:
        """The frames that ``data`` completes."""

    def end(self) -> list[Any]:
        """What is left at the end."""

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""


PARSERS: dict[Framing, Callable[[], Parser]] = {
    "sse": SseParser,
    "ndjson": LineParser,
    "json_array": ArrayParser,
    "aws_eventstream": FrameParser,
    "message": MessageParser,
}


def unclaimed(document: Any) -> list[Delta]:
    """Texts of an event in no format a family has: plain text, or a bare JSON array."""
    if type(document) is str and document != "[DONE]":
        return [Delta(_WHOLE_TEXT, (), document, last=True)]
    return string_deltas(document, {}) if type(document) is list else []


def read_document(data: bytes) -> Any:
    """An event's data as JSON, or as text where it is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if data == b"[DONE]":
            return "[DONE]"
        value = json_leaves.parse(data).value
        return data.decode("utf-8", "replace") if value is None else value


def is_fragment(data: bytes | None) -> bool:
    """The beginning of an event that never ended: clients drop it, and nobody can judge it."""
    if data is None or not data.startswith((b"{", b"[")) or data == b"[DONE]":
        return False
    return type(read_document(data)) is str
