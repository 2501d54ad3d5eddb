"""The neutral answer: what happens in it, one event after the other, plain or streamed.

A plain answer is the same events all at once, so that both are read and written by the same
rules. Readers of a format make events, writers say them in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from penstock.exchange import Usage

# Why an answer ended: its words, a stop sequence, its length, a tool call, or its content.
Reason = Literal["stop", "sequence", "length", "tools", "filtered"]


class UntranslatableAnswerError(Exception):
    """The answer says something the caller's format has no words for; the text names it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The target's answer has '{what}', which cannot be translated.")


@dataclass(slots=True, frozen=True)
class Begin:
    """The answer begins: its id, and the model that says it."""

    id: str | None
    model: str | None


@dataclass(slots=True, frozen=True)
class Words:
    """More of the text."""

    text: str


@dataclass(slots=True, frozen=True)
class CallBegin:
    """A tool call begins; what follows until ``CallEnd`` is its arguments."""

    id: str
    name: str


@dataclass(slots=True, frozen=True)
class Arguments:
    """More of the JSON text of the arguments of the call under way."""

    text: str


@dataclass(slots=True, frozen=True)
class CallEnd:
    """The call's arguments are complete."""


@dataclass(slots=True, frozen=True)
class Counted:
    """The tokens used, as the target counts them; the last one said holds."""

    usage: Usage


@dataclass(slots=True, frozen=True)
class Finish:
    """Why it ended; ``sequence`` is the stop sequence where the target names it."""

    reason: Reason
    sequence: str | None = None


@dataclass(slots=True, frozen=True)
class Failed:
    """The target's error in place of (the rest of) an answer."""

    kind: str
    message: str


@dataclass(slots=True, frozen=True)
class End:
    """The target said that the answer is complete."""


Event = Begin | Words | CallBegin | Arguments | CallEnd | Counted | Finish | Failed | End


class StreamReader(Protocol):
    """Reads a target's stream, event by event."""

    def event(self, name: str | None, document: Any) -> Sequence[Event]:
        """What one event of the stream says. ``document`` is its JSON, or text that is none."""

    def end(self) -> Sequence[Event]:
        """What the orderly end of the stream says."""


class StreamWriter(Protocol):
    """Says an answer as a stream of the caller's format."""

    def event(self, event: Event) -> bytes:
        """The bytes that say this; none where the format has to wait for more."""


@dataclass(slots=True)
class MadeCall:
    """A tool call of a plain answer; ``text`` is the JSON text of its arguments."""

    id: str
    name: str
    text: str = ""


@dataclass(slots=True)
class Whole:
    """A plain answer: its events put together."""

    id: str | None = None
    model: str | None = None
    pieces: list[str | MadeCall] = field(default_factory=list)
    usage: Usage | None = None
    finish: Finish | None = None
    failed: Failed | None = None

    def texts(self) -> list[str]:
        """The words, in order."""
        return [piece for piece in self.pieces if isinstance(piece, str)]


def whole(events: Iterable[Event]) -> Whole:
    """Put the events of one answer together."""
    made = Whole()
    for event in events:
        match event:
            case Begin():
                made.id, made.model = event.id, event.model
            case Words():
                made.pieces.append(event.text)
            case CallBegin():
                made.pieces.append(MadeCall(event.id, event.name))
            case Arguments():
                call = made.pieces[-1]
                assert isinstance(call, MadeCall)  # readers begin a call before its arguments
                call.text += event.text
            case Counted():
                made.usage = event.usage
            case Finish():
                made.finish = event
            case Failed():
                made.failed = event
    return made
