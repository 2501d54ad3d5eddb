"""Line-wise JSON (application/x-ndjson, JSONL), sans-io: bytes in, whole lines out.

Joined, the ``raw`` bytes of the lines are the stream. One line is buffered at most.
"""

from __future__ import annotations

from dataclasses import dataclass

# As for SSE events: far above any line seen, small enough to hold one per open stream.
MAX_LINE_BYTES = 1024 * 1024


@dataclass(slots=True)
class Line:
    """One line with its end. ``data`` is None when it is blank."""

    raw: bytes
    data: bytes | None
    name: str | None = None

    def rebuild(self, data: bytes) -> bytes:
        """The line with its JSON replaced; blanks around it stay."""
        return self.raw if self.data is None else self.raw.replace(self.data, data, 1)


class LineParser:
    """Cuts a byte stream into lines. Never raises; ``problem`` says when it gave up."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.problem: str | None = None
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Line]:
        """The lines that ``data`` completes."""
        searched = len(self._buffer)
        self._buffer += data
        end = self._buffer.rfind(b"\n", searched) + 1
        whole = bytes(self._buffer[:end])
        del self._buffer[:end]
        if len(self._buffer) > self._max_line_bytes:
            self.problem = f"a line longer than {self._max_line_bytes} bytes"
        return [_line(raw) for raw in whole.splitlines(keepends=True)]

    def end(self) -> list[Line]:
        """A last line without an end, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return [_line(rest)] if rest else []

    @property
    def pending(self) -> int:
        """Bytes of a line that is not complete yet."""
        return len(self._buffer)


def _line(raw: bytes) -> Line:
    return Line(raw, raw.strip() or None)
