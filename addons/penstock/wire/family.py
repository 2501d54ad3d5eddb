"""What every API family offers: one small file each, all with these functions.

A family is a module-level object of a class below ``wire/``; ``wire/__init__.py`` lists
them literally, most specific first. Adding a provider that speaks a known family is data
(the destinations catalogue), not code. Families are sans-io: bytes in, values out, and
they never raise on hostile bytes: ``Exchange.problem`` says what could not be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from penstock.exchange import (
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    Leaf,
    McpCall,
    Path,
    Zone,
)

# "message" is a WebSocket: each message one event (``wire.messages``).
Framing = Literal["sse", "ndjson", "json_array", "aws_eventstream", "message", "none"]


@dataclass(slots=True, frozen=True)
class Refusal:
    """A refusal to be said in a family's own error shape (design section 9).

    ``status`` is 403 (policy) or 429 (limit); ``code`` a short machine word
    (``policy_denied``, ``insufficient_quota``, ``rate_limit_exceeded``); ``message`` says
    which rule, why and what to do, and never repeats what was found. ``form`` and ``call``
    matter to MCP only: how the refusal is said there (chosen per rule; empty: what suits the
    method), and the refused call, whose ids and protocol era shape the answer. ``parts`` are
    the answers to the single calls of a batch.
    """

    status: int
    code: str
    message: str
    rule: str
    decision_id: str
    retry_after_seconds: float | None = None
    form: Literal["", "hidden", "advise", "error"] = ""
    call: McpCall | None = None
    parts: tuple[Refusal, ...] = ()


@dataclass(slots=True, frozen=True)
class Channel:
    """One text that grows over the events of a streamed answer.

    ``key`` tells channels apart: choice or content index and the field. ``nested`` marks
    text that is JSON inside a JSON string (tool-call arguments).
    """

    key: tuple[str | int, ...]
    zone: Zone
    nested: bool = False


@dataclass(slots=True)  # one for each piece of text: freezing it would triple its cost
class Delta:
    """A piece of a channel inside one event: the string leaf at ``path`` of its JSON.

    ``last`` says that the channel's text ends with this piece: it can be settled at once,
    nothing has to be held for what might follow (MCP: every event is whole, and the client
    may answer it before the stream goes on). ``total`` says that ``text`` repeats the channel's
    text from its beginning (a running total, a closing copy): what was changed there is
    changed here. ``shadows`` are values that say the text in another form (log
    probabilities): they become null when the text is changed.
    """

    channel: Channel
    path: Path
    text: str
    last: bool = False
    total: bool = False
    shadows: tuple[Path, ...] = ()


class AnswerReader(Protocol):
    """Reads one streamed answer, event by event, into ``exchange.answer``."""

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """Take one event's parsed JSON (``name`` is the SSE event name); return its text pieces.

        Data that is no JSON (``[DONE]``) comes as a string. The reader sets
        ``exchange.answer.complete`` at the family's own end marker.
        """

    def end(self) -> None:
        """The stream is over: settle what only the end can tell (completeness, usage)."""


class Family(Protocol):
    """One API family."""

    api: str
    operation: str

    def recognise(self, request: HttpRequest, destination: Destination) -> bool:
        """True when this request speaks the family (path first, then shape of the body)."""

    def read_request(self, request: HttpRequest, destination: Destination) -> Exchange:
        """The request as an Exchange, ``leaves`` filled with every string of the body."""

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """How the answer is framed; sniffs ``first_bytes`` where the content type may lie."""

    def read_answer(self, exchange: Exchange, answer: HttpAnswer) -> Sequence[Leaf]:
        """Read a plain answer into ``exchange.answer``; return its string leaves."""

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader for a streamed answer."""

    def refusal(self, refusal: Refusal) -> HttpAnswer:
        """The refusal as a plain HTTP answer in this API's error shape."""

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The refusal as this API's own error event and terminator, for a running stream."""
