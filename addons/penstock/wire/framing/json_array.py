"""A JSON array that grows while it is sent (Gemini without ``alt=sse``), sans-io.

Each element leaves as soon as it is whole, with the bracket, comma and blanks before it.
Joined, the ``raw`` bytes are the stream. One element is buffered at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# As for SSE events: far above any element seen.
MAX_ELEMENT_BYTES = 1024 * 1024

_MARK = re.compile(rb'["\[\]{}]')
_INSIDE_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


@dataclass(slots=True)
class Element:
    """One element. ``data`` is None for the bytes around the elements (the closing bracket)."""

    raw: bytes
    data: bytes | None
    name: str | None = None

    def rebuild(self, data: bytes) -> bytes:
        """The element replaced, with the bytes before it as they were."""
        return self.raw if self.data is None else self.raw[: -len(self.data)] + data


class ArrayParser:
    """Cuts the array into its elements. Never raises; ``problem`` says when it gave up."""

    def __init__(self, max_element_bytes: int = MAX_ELEMENT_BYTES) -> None:
        self.problem: str | None = None
        self._max_element_bytes = max_element_bytes
        self._buffer = bytearray()
        self._at = 0  # scanned so far
        self._start = 0  # where the open element begins
        self._depth = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[Element]:
        """The elements (objects or arrays) that ``data`` completes."""
        self._buffer += data
        found: list[Element] = []
        sent = 0
        while (end := self._next_end()) is not None:
            found.append(
                Element(bytes(self._buffer[sent:end]), bytes(self._buffer[self._start : end]))
            )
            sent = end
        del self._buffer[:sent]
        self._at -= sent
        self._start -= sent
        if len(self._buffer) > self._max_element_bytes:
            self.problem = f"an element longer than {self._max_element_bytes} bytes"
        return found

    def end(self) -> list[Element]:
        """The rest: the closing bracket, or a cut element."""
        rest = bytes(self._buffer)
        data = rest[self._start :] if self._depth > 1 else None
        self._buffer.clear()
        return [Element(rest, data)] if rest else []

    @property
    def pending(self) -> int:
        """Bytes that belong to no whole element yet."""
        return len(self._buffer)

    def _next_end(self) -> int | None:
        """Scan on to the end of the open element; None when it is not there yet."""
        buffer = self._buffer
        while True:
            if self._in_string:
                inside = _INSIDE_STRING.match(buffer, self._at)
                self._at = inside.end() if inside else self._at
                if self._at >= len(buffer) or buffer[self._at] != 0x22:
                    return None
                self._at += 1
                self._in_string = False
            mark = _MARK.search(buffer, self._at)
            if mark is None:
                self._at = len(buffer)
                return None
            self._at = mark.end()
            sign = buffer[mark.start()]
            if sign == 0x22:
                self._in_string = True
            elif sign in b"[{":
                self._depth += 1
                if self._depth == 2:
                    self._start = mark.start()
            else:
                self._depth -= 1
                if self._depth == 1:
                    return self._at
