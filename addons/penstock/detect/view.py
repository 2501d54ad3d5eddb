"""One text as the detectors see it: the string, its UTF-8 bytes, and the way between them.

RE2 works on UTF-8 bytes and findings are string indices. For ASCII text both agree and
nothing is computed; otherwise offsets are counted forward from the last one asked for, or
from the nearest of the marks left on the way.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

import re2

from penstock.exchange import Zone

if TYPE_CHECKING:
    from penstock.detect.injection.features import Grams

# Candidates of one probe in one text. Honest text has some ten per KB of code; hostile text
# could hold one per character, and each may cost 0.2 ms. What lies behind them is reported
# as not judged, so nobody hides a secret behind a wall of numbers.
CANDIDATES_MAX = 20_000
# RE2 lets other threads run while it reads, the methods of bytes do not: a longer text is
# RE2's, also where they would be faster.
LOCKED_BYTES_MAX = 256 * 1024
# A thread that searches often and shortly lets go of the interpreter lock and takes it again before
# another has woken, as long as it has something to search for. So it sleeps now and then.
MATCHES_OF_A_TURN, TURN_SECONDS = 16, 0.00002
# Of a long text so much is encoded, folded or counted at a time: some 0.3 ms.
PIECE_CHARACTERS = 64 * 1024
# How far apart places are marked whose string index is kept: counting from there takes 2 us.
MARK_BYTES = 4096
# Around a word so much is searched for what counts beside it: more than a word reaches
# (``nearby``), in letters of any script, and the longest such code. From one word the search for
# the next goes on so much further, as if there were one all the way.
NEAR_BYTES = 512
NEAR_STEP_BYTES = 1024
_ASCII = bytes(range(128))
_RUN_MAP = bytes(bool(re2.match(rb"[0-9A-Za-z+/_-]", bytes([byte]))) for byte in range(256))
_ONES = b"\x01" * 64


def utf8(text: str) -> bytes | bytearray:
    """A text as RE2 reads it; lone surrogates survive as bytes."""
    if len(text) <= PIECE_CHARACTERS:
        return text.encode("utf-8", "surrogatepass")
    data = bytearray()
    for piece in pieces_of(text):
        data += piece.encode("utf-8", "surrogatepass")
    return data


def pieces_of(text: str) -> Iterator[str]:
    """A text piece by piece: what works on all of a long one keeps other threads waiting."""
    for start in range(0, len(text), PIECE_CHARACTERS):
        yield text[start : start + PIECE_CHARACTERS]


class View:
    """A text under scan. ``data`` is its UTF-8 form."""

    __slots__ = (
        "_around", "_beyond", "_byte", "_index", "_marks", "_runs", "ascii", "data",
        "features", "quiet", "root", "spent_seconds", "text", "unjudged", "zone",
    )  # fmt: skip

    def __init__(self, text: str, zone: Zone = "user", root: View | None = None) -> None:
        self.text = text
        self.root = root or self  # of a text inside another: the text that was sent
        self.spent_seconds = 0.0  # what encoders took for it, and for what is inside it
        self.zone = zone
        self.ascii = text.isascii()
        self.data = utf8(text)
        self.unjudged: int | None = None  # from here on, something was left unread
        self.quiet = False  # models that looked at many texts together found nothing in it
        self.features: Grams | None = None  # what models see of it, once one has looked
        self._byte = 0  # the last byte offset asked for, and its string index
        self._index = 0
        self._marks: list[tuple[int, int]] | None = None  # byte offsets and string indices
        self._runs: bytes | bytearray | None = None
        self._around: tuple[Pattern, list[tuple[int, int]]] | None = None
        self._beyond: bytes | bytearray | None = b"" if self.ascii else None

    @property
    def beyond(self) -> bytes | bytearray:
        """The characters beyond ASCII, one after the other; of a long text all of it."""
        if self._beyond is None:
            long = len(self.data) > LOCKED_BYTES_MAX
            self._beyond = self.data if long else self.data.translate(None, _ASCII)
        return self._beyond

    def index(self, byte: int) -> int:
        """The string index of a byte offset (which must stand at a character's start)."""
        if self.ascii:
            return byte
        if self._marks is None:
            self._marks = [(0, 0)]
        if byte < self._byte:
            self._byte, self._index = self._marks[bisect_left(self._marks, (byte + 1, 0)) - 1]
        while self._byte < byte:
            until = min(byte, self._byte + MARK_BYTES)
            while until < byte and self.data[until] & 0xC0 == 0x80:  # inside a character
                until += 1
            self._index += len(self.data[self._byte : until].decode("utf-8", "surrogatepass"))
            self._byte = until
            if until - self._marks[-1][0] >= MARK_BYTES:
                self._marks.append((until, self._index))
        return self._index

    def has_run(self, count: int) -> bool:
        """Whether so many characters of base64 (either kind) stand in a row."""
        return len(self.data) >= count and self.run_from(0, count) >= 0

    def run_from(self, byte: int, count: int) -> int:
        """Where the first such row from ``byte`` on begins; -1 for nowhere."""
        if len(self.data) > LOCKED_BYTES_MAX:
            found = re2.compile(rb"[0-9A-Za-z+/_-]{%d}" % count).search(self.data, byte)
            return -1 if found is None else int(found.start())
        if self._runs is None:  # a row of ones: in a quarter of the time a search takes
            self._runs = self.data.translate(_RUN_MAP)
        return self._runs.find(_ONES[:count], byte)

    def leave(self, start: int) -> None:
        """Remember that what begins at ``start`` was not judged."""
        self.unjudged = start if self.unjudged is None else min(self.unjudged, start)

    def spans(
        self, pattern: Pattern, near: Pattern | None = None
    ) -> Iterator[tuple[int, int, int, int]]:
        """Matches as string indices: (start, end, group start, group end).

        Without a capture group the group is the whole match; an unset group is skipped.
        ``near``: only what is about as near to that as a word may be to count.
        """
        matches = pattern.finditer(self.data) if near is None else self._matches(pattern, near)
        long = len(self.data) > LOCKED_BYTES_MAX
        for count, match in enumerate(matches):
            if long and count % MATCHES_OF_A_TURN == MATCHES_OF_A_TURN - 1:
                time.sleep(TURN_SECONDS)
            if count >= CANDIDATES_MAX:
                self.leave(self.index(match.start()))
                return
            start, end = match.span()
            inner = (start, end)
            for group in range(1, pattern.groups + 1):
                if match.span(group)[0] >= 0:
                    inner = match.span(group)
                    break
            if self.ascii:
                yield start, end, inner[0], inner[1]
                continue
            first = self.index(start)
            if inner == (start, end):
                last = self.index(end)
                yield first, last, first, last
                continue
            low = self.index(inner[0])
            high = self.index(inner[1])
            yield first, self.index(end), low, high

    def _matches(self, pattern: Pattern, near: Pattern) -> Iterator[re2._Match]:
        if self._around is None or self._around[0] is not near:
            self._around = near, [*self._surroundings(near)]
        for low, high in self._around[1]:
            yield from pattern.finditer(self.data, low, high)

    def _surroundings(self, pattern: Pattern) -> Iterator[tuple[int, int]]:
        """Stretches of bytes around each match; where these are many, one look for each step."""
        low = high = 0
        match = next(pattern.finditer(self.data), None)
        while match is not None:
            start = match.start()
            if start - NEAR_BYTES > high:
                if high:
                    yield low, high
                low = start - NEAR_BYTES
            high = start + NEAR_STEP_BYTES + NEAR_BYTES
            match = next(pattern.finditer(self.data, start + NEAR_STEP_BYTES), None)
        if high:
            yield low, high


class Pattern:
    """An RE2 expression over bytes, compiled when first needed (most rules never hit)."""

    __slots__ = ("_compiled", "groups", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.groups = 0
        self._compiled: re2._Regexp | None = None

    def finditer(
        self, data: bytes | bytearray, start: int = 0, end: int | None = None
    ) -> Iterator[re2._Match]:
        if self._compiled is None:
            self._compiled = re2.compile(self.source.encode())
            self.groups = self._compiled.groups
        found: Iterator[re2._Match] = self._compiled.finditer(data, start, end)
        return found
