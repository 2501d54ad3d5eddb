"""Server-sent events, sans-io: bytes in, whole events out, every byte kept.

Line ends may be LF, CRLF or CR; comments, multi-line data, a byte order mark and a missing
final blank line are legal (WHATWG HTML section 9.2). An event's ``raw`` bytes joined over a
stream are the stream. The parser buffers one event at most, up to ``MAX_EVENT_BYTES``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The largest event in recorded traffic is 100 KB; a screenshot in a tool result has a few MiB.
MAX_EVENT_BYTES = 16 * 1024 * 1024

# Of an event that began in an earlier chunk so much is split again with what comes; of a larger
# one only that is searched.
SPLIT_BYTES_MAX = 4096

_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


@dataclass(slots=True)
class SseEvent:
    """One event. ``data`` is None when it has no data line (a comment, a ping without data)."""

    raw: bytes
    name: str | None
    data: bytes | None

    def rebuild(self, data: bytes) -> bytes:
        """The event with its data replaced; all other lines, ends and spaces as they were."""
        fresh = data.split(b"\n")
        pieces: list[bytes] = []
        lines = _lines(self.raw)
        left = sum(1 for line, _ in lines if _is_data(line))
        for line, ending in lines:
            if not _is_data(line):
                pieces += [line, ending]
                continue
            left -= 1
            take = 1 if left else len(fresh)  # the last data line takes all that is left
            head = line[: line.index(b"data") + 4]
            rest = line[len(head) :]
            head += b": " if rest[:2] == b": " or not rest else b":"
            for value in fresh[:take]:
                pieces += [head, value, ending]
            fresh = fresh[take:]
        return b"".join(pieces)


class SseParser:
    """Cuts a byte stream into events. Never raises; ``problem`` says when it gave up."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.problem: str | None = None
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._only_line_feeds = True  # most streams; their blank lines are found faster

    def feed(self, data: bytes) -> list[SseEvent]:
        """The events that ``data`` completes."""
        if self._only_line_feeds and b"\r" in data:
            self._only_line_feeds = False
        if not self._only_line_feeds or len(self._buffer) > SPLIT_BYTES_MAX:
            self._buffer += data
            return self._cut()
        *pieces, rest = (bytes(self._buffer) + data).split(b"\n\n")
        self._buffer[:] = rest
        self._go_on()
        return [_plain_event(piece) for piece in pieces]

    def end(self) -> list[SseEvent]:
        """What is left when the stream ends: an event without its blank line, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return [_event(rest)] if rest else []

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete yet."""
        return len(self._buffer)

    def _blank(self, start: int) -> bytes | None:
        """What blank lines from ``start`` on look like; None where line ends are mixed."""
        if self._only_line_feeds:
            return b"\n\n"
        buffer = self._buffer
        pairs = buffer.count(b"\r\n", start)
        alike = pairs == buffer.count(b"\r", start) == buffer.count(b"\n", start)
        return b"\r\n\r\n" if alike else None

    def _blank_line(self, start: int, blank: bytes | None) -> int:
        """The end of the first blank line from ``start`` on; 0 when there is none yet."""
        if blank is not None:
            at = self._buffer.find(blank, start)
            return at + len(blank) if at >= 0 else 0
        found = _BLANK_LINE.search(self._buffer, start)
        return found.end() if found else 0

    def _cut(self) -> list[SseEvent]:
        buffer, events, at = self._buffer, [], 0
        search_from = self._searched
        blank = self._blank(search_from)
        while (end := self._blank_line(search_from, blank)) > 0:
            # CR LF may be cut between chunks: a CR at the very end ends the line all the same,
            # and a LF that follows starts the next event's bytes, where it is skipped.
            events.append(_event(bytes(buffer[at:end])))
            at = search_from = end
        if at:
            del buffer[:at]
        self._go_on()
        return events

    def _go_on(self) -> None:
        """What is left is the beginning of an event."""
        self._searched = max(0, len(self._buffer) - 3)  # a line end is two bytes at most
        if len(self._buffer) > self._max_event_bytes:
            self.problem = f"an event longer than {self._max_event_bytes} bytes"


def _event(raw: bytes) -> SseEvent:
    usual = _usual_event(raw)
    if usual is not None:
        return usual
    name: str | None = None
    data: list[bytes] = []
    for line, _ in _lines(raw):
        field, colon, value = line.removeprefix(_BOM).partition(b":")
        if not field:
            continue
        if colon and value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return SseEvent(raw, name, b"\n".join(data) if data else None)


def _plain_event(piece: bytes) -> SseEvent:
    """The event in what stands before a blank line, with line feeds alone."""
    name, data = None, piece
    if piece[:7] == b"event: ":
        head, _, data = piece.partition(b"\n")
        name = head[7:].decode("utf-8", "replace")
    if data[:6] != b"data: " or b"\n" in data:
        return _event(piece + b"\n\n")
    return SseEvent(piece + b"\n\n", name, data[6:])


def _usual_event(raw: bytes) -> SseEvent | None:
    """One data line, perhaps a name before it: by far the most common. None for all others."""
    ending = b"\r\n" if raw[-2:] == b"\r\n" else b"\n"
    at, name = 0, None
    if raw[:7] == b"event: ":
        end = raw.find(ending)
        at, name = end + len(ending), raw[7:end]
        if b"\r" in name or b"\n" in name:
            return None
    end = len(raw) - 2 * len(ending)
    if raw[at : at + 6] != b"data: " or raw[end:] != ending * 2:
        return None
    feed, back = (end + 1, end) if len(ending) == 2 else (end, -1)
    if raw.find(b"\n", at) != feed or raw.find(b"\r", at) != back:
        return None
    return SseEvent(
        raw, None if name is None else name.decode("utf-8", "replace"), raw[at + 6 : end]
    )


def _lines(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Lines and the line end of each."""
    returns = raw.count(b"\r")
    if not returns or returns == raw.count(b"\n") == raw.count(b"\r\n"):  # alike, as usual
        ending = b"\r\n" if returns else b"\n"
        *whole, rest = raw.split(ending)
        return [*((line, ending) for line in whole), *([(rest, b"")] if rest else [])]
    lines, at = [], 0
    for found in _LINE_END.finditer(raw):
        lines.append((raw[at : found.start()], found.group()))
        at = found.end()
    if at < len(raw):
        lines.append((raw[at:], b""))
    return lines


def _is_data(line: bytes) -> bool:
    return line.removeprefix(_BOM).partition(b":")[0] == b"data"


def looks_like_sse(first_bytes: bytes) -> bool:
    """True when a body's first bytes read as SSE, whatever its content type says."""
    return first_bytes.removeprefix(_BOM).lstrip(b"\r\n").startswith(_FIELDS)
