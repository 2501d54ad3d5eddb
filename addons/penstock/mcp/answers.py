"""Take an MCP server's answers apart, let rules judge each message, put them together again.

A message that is refused is replaced by the refusal under the call's own id; what lists may
not show leaves them element by element. All other bytes stay as they came.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import re2

from penstock.exchange import McpCall
from penstock.mcp.definitions import LISTS, Digests, mark
from penstock.mcp.shorten import shorten
from penstock.mcp.tools import filter_list_answer
from penstock.wire.family import Refusal
from penstock.wire.framing.sse import SseParser
from penstock.wire.json_leaves import parse
from penstock.wire.json_spans import replace_value
from penstock.wire.jsonrpc.calls import MessageLeaves
from penstock.wire.jsonrpc.refusal import answer_refusal, refusal_document
from penstock.wire.jsonrpc.shape import messages_of
from penstock.wire.loose import as_dict

# No event is longer than the stream itself lets pass; the parser here only takes one apart.
EVENT_BYTES_MAX = 64 * 2**20
# A message without one of these holds no list, no task, no state and no request of the server's.
_TELLING = re2.compile(
    rf'"(?:{"|".join(LISTS)}|taskId|inputRequests|requestState|method)"|\\u'.encode()
)


@dataclass(slots=True, frozen=True)
class Verdict:
    """A refusal in place of a message. ``ends``: nothing of the stream may follow it.

    ``shorten_to`` bytes the message may be shortened in place of the refusal.
    """

    refusal: Refusal
    ends: bool = False
    shorten_to: int | None = None


class Rules(Protocol):
    """What is asked about the messages of one answer."""

    bytes_max: int | None
    digest: Digests | None  # of the document that is being judged

    def judge(self, message: dict[str, Any], size: int) -> Verdict | None:
        """A refusal in place of ``message``, which is ``size`` bytes long."""
        ...

    def hidden(self, member: str, element: Any) -> bool:
        """True for an element of the list ``member`` that may not be shown."""
        ...


def judge_document(
    body: bytes, rules: Rules, call: McpCall | None, digests: Digests | None = None
) -> tuple[bytes, Verdict | None]:
    """A JSON answer (one message or a batch) as it may leave, and what was refused of it.

    A refused message is answered under its own id, or that of the call; one with neither (a
    server's request on a stream of its own) leaves nothing. ``digests`` are those of the body as
    parsed, if it was.
    """
    small = rules.bytes_max is None or len(body) <= rules.bytes_max
    if small and _TELLING.search(body) is None:
        return body, None
    digests = rules.digest = digests or Digests(mark, MessageLeaves(body, parse(body)))
    judged = _judge_batch if isinstance(digests.reading.value, list) else _judge_single
    try:
        return judged(body, digests, rules, call)
    finally:
        rules.digest = None  # a stream that stays open must not keep its last message


def _judge_single(
    body: bytes, digests: Digests, rules: Rules, call: McpCall | None
) -> tuple[bytes, Verdict | None]:
    body, verdict = _judge_one(body, digests.reading.value, rules, call)
    return (_filtered(body, rules, digests) if verdict is None else body), verdict


def _filtered(body: bytes, rules: Rules, digests: Digests) -> bytes:
    """The answer without what its lists may not show."""
    results = [as_dict(one.get("result")) for one in messages_of(digests.reading.value)]
    for member in (name for name in LISTS if any(name in result for result in results)):
        hidden = partial(rules.hidden, member)
        body = filter_list_answer(body, hidden, member, digests.reading, digests.written)
    return body


def _judge_one(
    body: bytes, message: Any, rules: Rules, call: McpCall | None
) -> tuple[bytes, Verdict | None]:
    verdict = rules.judge(as_dict(message), len(body)) if message else None
    if verdict is None:
        return body, None
    if verdict.shorten_to is not None:
        shorter = shorten(body, (), as_dict(message), verdict.shorten_to)
        if shorter is not None:
            return shorter, None
    replaced = answer_refusal(verdict.refusal, call, as_dict(message))
    if replaced is None and call is not None and any(ident is not None for ident in call.ids):
        replaced = refusal_document(verdict.refusal, call)
    return replaced or b"", verdict


def _judge_batch(
    body: bytes, digests: Digests, rules: Rules, call: McpCall | None
) -> tuple[bytes, Verdict | None]:
    """Each message by itself: those that are refused are answered in their place."""
    batch = digests.reading.value
    judged = [(index, one) for index, one in enumerate(batch) if isinstance(one, dict)]
    verdicts = [(index, one, rules.judge(one, _size(one))) for index, one in judged]
    body = _filtered(body, rules, digests)
    if not body.startswith(b"["):
        return body, None  # withheld as a whole
    last: Verdict | None = None
    for index, message, verdict in verdicts:
        if verdict is None:
            continue
        if verdict.shorten_to is not None:
            shorter = shorten(body, (index,), message, verdict.shorten_to)
            if shorter is not None:
                body = shorter
                continue
        last = verdict
        replaced = answer_refusal(verdict.refusal, call, message)
        if replaced is None:
            answerable = call is not None and any(ident is not None for ident in call.ids)
            return refusal_document(verdict.refusal, call) if answerable else b"", verdict
        body = replace_value(body, (index,), replaced)
    return body, last


def _size(message: dict[str, Any]) -> int:
    return len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())


class EventFilter:
    """Judges the messages inside an event stream that comes in pieces of any size.

    Whole events leave in the call that completes them; only the beginning of an event waits.
    """

    def __init__(self, rules: Rules, call: McpCall | None) -> None:
        self.rules, self.call = rules, call
        self.verdict: Verdict | None = None  # the last refusal
        self.on_endpoint: Callable[[str], None] | None = None  # hears where calls are posted to
        self.over = False  # the call was answered by it, and nothing may follow
        self._parser = SseParser(EVENT_BYTES_MAX)

    @property
    def problem(self) -> str | None:
        """Why the stream cannot be read on, None while it can."""
        return self._parser.problem

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete yet."""
        return self._parser.pending

    def feed(self, data: bytes) -> bytes:
        """The events that ``data`` completes, judged."""
        return self._judged(self._parser.feed(data))

    def end(self) -> bytes:
        """An event without its blank line; clients drop it, it is judged all the same."""
        return self._judged(self._parser.end())

    def _judged(self, events: Any) -> bytes:
        out = []
        for event in events:
            if self.over:
                break
            if event.data is None:
                out.append(event.raw)
                continue
            if event.name == "endpoint" and self.on_endpoint is not None:
                self.on_endpoint(event.data.decode("utf-8", "replace"))
            fresh, verdict = judge_document(event.data, self.rules, self.call)
            self.verdict = verdict or self.verdict
            self.over = verdict is not None and verdict.ends and bool(fresh)
            if fresh or not event.data:
                out.append(event.raw if fresh == event.data else event.rebuild(fresh))
        return b"".join(out)


class LineFilter(EventFilter):
    """The same for a stream of JSON lines (``subscriptions/listen`` of some servers)."""

    def __init__(self, rules: Rules, call: McpCall | None) -> None:
        super().__init__(rules, call)
        self._begun = bytearray()
        self._overlong = False

    @property
    def problem(self) -> str | None:
        return "a line is too long" if self._overlong else None

    def feed(self, data: bytes) -> bytes:
        """The lines that ``data`` completes, judged."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._begun) + lines[0]
            self._begun.clear()
        self._begun += rest
        self._overlong = len(self._begun) > EVENT_BYTES_MAX
        return b"".join(self._line(line, b"\n") for line in lines)

    def end(self) -> bytes:
        rest = bytes(self._begun)
        self._begun.clear()
        return self._line(rest, b"")

    def _line(self, line: bytes, ending: bytes) -> bytes:
        if self.over:
            return b""
        if not line.strip():
            return line + ending
        fresh, verdict = judge_document(line, self.rules, self.call)
        self.verdict = verdict or self.verdict
        self.over = verdict is not None and verdict.ends and bool(fresh)
        return fresh + ending if fresh else b""
