"""Answers of Anthropic's messages between its three homes: the same JSON in other wrappings.

Bedrock streams frames of the AWS event stream whose payload holds the event's JSON in base64;
the others stream server-sent events. Bodies pass byte by byte. Errors take the shape of the
caller's home. Sources: Bedrock API reference, "InvokeModelWithResponseStream"; AWS "Common
errors".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import orjson

from penstock.exchange import Usage
from penstock.route.translate.errors import (
    OVERLOADED,
    UNAVAILABLE,
    Home,
    error_document,
    kind_of_status,
    kind_of_word,
    read_error,
)
from penstock.route.translate.fields import parsed
from penstock.wire.framing.eventstream import FrameParser, encode, encode_headers
from penstock.wire.framing.sse import SseParser
from penstock.wire.json_family import sse_event
from penstock.wire.loose import as_dict, as_text

FRAMES, EVENTS = "application/vnd.amazon.eventstream", "text/event-stream"
# What says how the bytes come, not what they say.
_WRAPPING = ("content-type", "content-length", "content-encoding", "transfer-encoding")
_CHUNK = encode_headers(
    {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
)
# The class of an error in the words of AWS: of an answer, and of a stream.
_AWS = {
    "invalid": ("ValidationException", "validationException"),
    "too_large": ("ValidationException", "validationException"),
    "unauthenticated": ("AccessDeniedException", "validationException"),
    "forbidden": ("AccessDeniedException", "validationException"),
    "absent": ("ResourceNotFoundException", "validationException"),
    "limited": ("ThrottlingException", "throttlingException"),
    "overloaded": ("ServiceUnavailableException", "serviceUnavailableException"),
    "server": ("InternalServerException", "internalServerException"),
}
_KINDS = {streamed: kind for kind, (_, streamed) in reversed(_AWS.items())}


class HomeTranslation:
    """A ``Translation`` between two homes of Anthropic's messages."""

    api = "anthropic.messages"
    usage: Usage | None = None
    counts = False  # the caller hears the same usage
    refused = False

    def __init__(self, source: Home, caller: Home, stream: bool) -> None:
        self.source = source
        self.caller = caller
        self.stream = stream
        self.finished = False
        self.answered = 0
        self._frames = FrameParser() if source == "bedrock" else None
        self._events = SseParser()

    def streams(self, status: int, headers: Mapping[str, str]) -> bool:
        """A good answer to a call for a stream is one, unless its head says that it is not."""
        self.answered = status
        plain = headers.get("content-type", "").startswith("application/json")
        return self.stream and status < 300 and not plain

    def status(self, status: int) -> int:
        """529 is the word of Anthropic's own API and of Vertex."""
        return UNAVAILABLE if status == OVERLOADED and self.caller == "bedrock" else status

    def headers(self, headers: Mapping[str, str], streams: bool) -> dict[str, str]:
        """As they came, but for what speaks of the wrapping; an error has its type's header."""
        kept = {name: value for name, value in headers.items() if name not in _WRAPPING}
        if streams:
            kept["content-type"] = FRAMES if self.caller == "bedrock" else EVENTS
            return kept
        kept["content-type"] = headers.get("content-type", "application/json")
        if self.answered >= 300 and self.caller != self.source:
            kept["content-type"] = "application/json"
            kept.pop("x-amzn-errortype", None)
            if self.caller == "bedrock":
                kept["x-amzn-errortype"] = _AWS[kind_of_status(self.answered)][0]
        return kept

    def feed(self, data: bytes) -> bytes:
        """The caller's bytes for the target's."""
        if self.finished:
            return b""
        if (self.source == "bedrock") == (self.caller == "bedrock"):
            return data
        return self._unframed(data) if self._frames is not None else self._framed(data)

    def end(self) -> bytes:
        """What is left of an event is no event: clients drop it."""
        return b""

    def _unframed(self, data: bytes) -> bytes:
        assert self._frames is not None  # of Bedrock's answers
        out = bytearray()
        for frame in self._frames.feed(data):
            if self.finished:
                break
            kind = frame.headers.get(":message-type", "event")
            if kind != "event":
                message = as_text(as_dict(parsed(frame.data or b"")).get("message"))
                out += self._failed(_KINDS.get(frame.name or "", "server"), message)
            elif (inner := _inner(frame.data or b"")) is not None:
                name = as_text(as_dict(parsed(inner)).get("type"))
                head = f"event: {name}\n".encode() if name and name.isidentifier() else b""
                out += head + b"data: " + inner.replace(b"\n", b"\ndata: ") + b"\n\n"
            else:
                out += self._failed("server", "A frame of the target's answer holds no event.")
        if self._frames.problem and not self.finished:
            out += self._failed("server", f"The target's answer has an {self._frames.problem}.")
        return bytes(out)

    def _framed(self, data: bytes) -> bytes:
        out = bytearray()
        for event in self._events.feed(data):
            if event.data is None or self.finished or event.name == "ping":
                continue
            document = as_dict(parsed(event.data))
            if document.get("type") == "ping":
                continue  # Bedrock has none
            if document.get("type") == "error" or event.name == "error":
                error = as_dict(document.get("error"))
                kind = kind_of_word(as_text(error.get("type")))
                out += self._failed(kind, as_text(error.get("message")))
                continue
            payload = orjson.dumps({"bytes": base64.b64encode(event.data).decode()})
            out += encode(_CHUNK, payload)
        if self._events.problem and not self.finished:
            out += self._failed("server", f"The target's answer has {self._events.problem}.")
        return bytes(out)

    def _failed(self, kind: str, message: str | None) -> bytes:
        """The error as the caller's home says it in a stream, which it ends."""
        self.finished = True
        message = message or "The target failed."
        if self.caller != "bedrock":
            return sse_event("error", error_document("anthropic", kind, message))
        headers = {
            ":exception-type": _AWS[kind][1],
            ":content-type": "application/json",
            ":message-type": "exception",
        }
        return encode(encode_headers(headers), json.dumps({"message": message}).encode())

    def whole(self, status: int, body: bytes) -> tuple[int, bytes]:
        """A good answer as it came; an error in the caller's shape."""
        told = self.status(status)
        if status < 300 or self.caller == self.source:
            return told, body
        document = parsed(body)
        if self.caller != "bedrock" and as_dict(document).get("type") == "error":
            return told, body  # the model's own error, which all but Bedrock pass on
        message = read_error("anthropic", status, document).message or ""
        if self.caller == "bedrock":
            made: Any = {"message": message}
        else:
            made = error_document("anthropic", kind_of_status(status), message)
        return told, orjson.dumps(made)


def _inner(payload: bytes) -> bytes | None:
    """The event in a frame's payload."""
    coded = as_text(as_dict(parsed(payload)).get("bytes"))
    try:
        return None if coded is None else base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        return None
