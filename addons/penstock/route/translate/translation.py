"""The answer of one attempt, from the target's format into the caller's.

One ``Translation`` per attempt, sans-io: heads, whole bodies and pieces of streams in, the
caller's out. It keeps the usage in the target's own words, which is what is paid for. A stream
that breaks off stays broken off: nothing is said that the target did not say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.exchange import Usage
from penstock.route.translate import anthropic_answer, gemini_answer, openai_answer
from penstock.route.translate.answer import (
    Counted,
    End,
    Event,
    Failed,
    StreamReader,
    StreamWriter,
    UntranslatableAnswerError,
    whole,
)
from penstock.route.translate.errors import (
    Format,
    error_document,
    kind_of_status,
    read_error,
    status_for,
)
from penstock.route.translate.fields import parsed
from penstock.route.translate.request import APIS
from penstock.wire.framing.sse import SseParser

# RFC 9110 section 15.6.3: what the gateway got is no answer it understands.
BAD_GATEWAY = 502
# Of a head these mean the same to every client; the rest speaks of one format or of the bytes.
KEPT_HEADERS = ("date", "retry-after", "retry-after-ms", "x-should-retry", "connection")
_REQUEST_IDS = ("x-request-id", "request-id")
_REQUEST_ID: dict[Format, str] = {
    "openai": "x-request-id",
    "anthropic": "request-id",
    "gemini": "x-request-id",
}


@dataclass(slots=True, frozen=True)
class Wanted:
    """How the caller wants its answer. ``array``: a Gemini stream without ``alt=sse``."""

    format: Format
    stream: bool
    usage: bool = True
    array: bool = False
    created: int = 0  # the moment, where the format names it


class Translation(Protocol):
    """Turns the answer of one attempt.

    Where it ``counts``, ``usage`` is what the target counted, in the words of ``api``; else the
    caller hears the same.
    ``finished`` after a piece of a stream: say no more and cancel the target. ``refused`` after
    a whole answer: it was good, and cannot be said. ``answered`` is the target's own status.
    """

    api: str
    counts: bool
    finished: bool
    refused: bool
    answered: int

    @property
    def usage(self) -> Usage | None:
        """What was counted so far."""

    def streams(self, status: int, headers: Mapping[str, str]) -> bool:
        """True when the answer with this head comes, and leaves, as a stream."""

    def status(self, status: int) -> int:
        """The status the caller is told."""

    def headers(self, headers: Mapping[str, str], streams: bool) -> dict[str, str]:
        """The head's fields the caller is told; ``headers`` has lower-case names."""

    def feed(self, data: bytes) -> bytes:
        """The caller's bytes for the target's."""

    def end(self) -> bytes:
        """What is left when the target's answer ended in order."""

    def whole(self, status: int, body: bytes) -> tuple[int, bytes]:
        """The caller's status and body for the target's, whole."""


class FormatTranslation:
    """A ``Translation`` between two wire formats."""

    counts = True

    def __init__(self, source: Format, wanted: Wanted) -> None:
        self.source = source
        self.wanted = wanted
        self.api = APIS[source]
        self.usage: Usage | None = None
        self.finished = self.refused = False
        self.answered = 0
        self._parser = SseParser()
        self._reader: StreamReader = _READERS[source]()
        self._writer = writer_for(wanted)

    def streams(self, status: int, headers: Mapping[str, str]) -> bool:
        """A good answer to a call for a stream is one, unless its head says that it is not."""
        self.answered = status
        plain = "json" in headers.get("content-type", "")
        return self.wanted.stream and status < 300 and not plain

    def status(self, status: int) -> int:
        """The status the caller's SDK knows."""
        return status_for(status, self.wanted.format)

    def headers(self, headers: Mapping[str, str], streams: bool) -> dict[str, str]:
        """What means the same to every client, the request's id, and the caller's content type."""
        kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        named = next((headers[name] for name in _REQUEST_IDS if name in headers), None)
        if named is not None:
            kept[_REQUEST_ID[self.wanted.format]] = named
        array = self.wanted.array or not streams
        kept["content-type"] = "application/json" if array else "text/event-stream"
        return kept

    # ------------------------------------------------------------------ streams

    def feed(self, data: bytes) -> bytes:
        """The caller's bytes for the target's."""
        if self.finished:
            return b""
        out = bytearray()
        for event in self._parser.feed(data):
            if event.data is None or self.finished:
                continue
            self._take(out, event.name, _document_in(event.data))
        if self._parser.problem and not self.finished:
            self._give_up(out, f"The target's answer has {self._parser.problem}.")
        return bytes(out)

    def end(self) -> bytes:
        """What is left when the target's answer ended in order."""
        if self.finished:
            return b""
        out = bytearray()
        for event in self._parser.end():  # a last event without its blank line, or a fragment
            document = _document_in(event.data or b"")
            if isinstance(document, dict) or document == "[DONE]":
                self._take(out, event.name, document)
        if not self.finished:
            self._say(out, self._reader.end)
        return bytes(out)

    def _take(self, out: bytearray, name: str | None, document: Any) -> None:
        self._say(out, lambda: self._reader.event(name, document))

    def _say(self, out: bytearray, read: Callable[[], Sequence[Event]]) -> None:
        try:
            for event in read():
                self._note(event)
                out += self._writer.event(event)
        except UntranslatableAnswerError as error:
            self._give_up(out, str(error))

    def _note(self, event: Event) -> None:
        if isinstance(event, Counted):
            self.usage = event.usage
        elif isinstance(event, End | Failed):
            self.finished = isinstance(event, Failed)

    def _give_up(self, out: bytearray, message: str) -> None:
        """Say in the caller's format that nothing more can be said."""
        self.finished = True
        out += self._writer.event(Failed("server", message))

    # ------------------------------------------------------------------ plain answers

    def whole(self, status: int, body: bytes) -> tuple[int, bytes]:
        """The caller's status and body for the target's."""
        document = parsed(body)
        if status >= 300:
            error = read_error(self.source, status, document)
            return self._error(status, kind_of_status(status), error.message or "")
        if not isinstance(document, dict):
            return self._error(BAD_GATEWAY, "server", "The target's answer is no JSON object.")
        try:
            events = _PLAIN[self.source](document)
            for event in events:
                self._note(event)
            said = whole(events)
            if said.failed is not None:
                return self._error(BAD_GATEWAY, said.failed.kind, said.failed.message)
            made = self._document(said)
        except UntranslatableAnswerError as error:
            self.refused = True
            return self._error(BAD_GATEWAY, "server", str(error))
        return status, _bytes(made)

    def _document(self, said: Any) -> Any:
        if self.wanted.format == "openai":
            return openai_answer.document(said, self.wanted.created)
        if self.wanted.format == "anthropic":
            return anthropic_answer.document(said)
        made = gemini_answer.document(said)
        return [made] if self.wanted.array else made

    def _error(self, status: int, kind: str, message: str) -> tuple[int, bytes]:
        told = self.status(status)
        return told, _bytes(error_document(self.wanted.format, kind, message, told))


class Chained:
    """Two translations, one after the other: from its home, then into the caller's format."""

    counts = True

    def __init__(self, first: Translation, second: Translation) -> None:
        self.first, self.second = first, second
        self.api = second.api
        self.finished = self.refused = False
        self.answered = 0

    @property
    def usage(self) -> Usage | None:
        """What the target counted."""
        return self.second.usage

    def streams(self, status: int, headers: Mapping[str, str]) -> bool:
        """As the first one says."""
        self.answered = status
        streams = self.first.streams(status, headers)
        between = self.first.headers(headers, streams)
        return self.second.streams(self.first.status(status), between)

    def status(self, status: int) -> int:
        """The status the caller is told."""
        return self.second.status(self.first.status(status))

    def headers(self, headers: Mapping[str, str], streams: bool) -> dict[str, str]:
        """The fields the caller is told."""
        return self.second.headers(self.first.headers(headers, streams), streams)

    def feed(self, data: bytes) -> bytes:
        """The caller's bytes for the target's."""
        out = self.second.feed(self.first.feed(data))
        self.finished = self.first.finished or self.second.finished
        return out

    def end(self) -> bytes:
        """What is left when the target's answer ended in order."""
        return self.second.feed(self.first.end()) + self.second.end()

    def whole(self, status: int, body: bytes) -> tuple[int, bytes]:
        """The caller's status and body for the target's, whole."""
        told = self.second.whole(*self.first.whole(status, body))
        self.refused = self.second.refused
        return told


def writer_for(wanted: Wanted) -> StreamWriter:
    """What says a stream the way the caller wants it."""
    if wanted.format == "openai":
        return openai_answer.Writer(wanted.created, wanted.usage)
    if wanted.format == "anthropic":
        return anthropic_answer.Writer()
    return gemini_answer.Writer(wanted.array)


def _document_in(data: bytes) -> Any:
    """An event's JSON; text where it is none."""
    document = parsed(data)
    return data.decode("utf-8", "replace") if document is None else document


def _bytes(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


_READERS: dict[Format, type[Any]] = {
    "openai": openai_answer.Reader,
    "anthropic": anthropic_answer.Reader,
    "gemini": gemini_answer.Reader,
}
_PLAIN: dict[Format, Any] = {
    "openai": openai_answer.read,
    "anthropic": anthropic_answer.read,
    "gemini": gemini_answer.read,
}
