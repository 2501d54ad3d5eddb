"""The text of one channel: fed in pieces, settled by its scanner, replaced exactly.

Positions come in two kinds. *Raw* counts characters of the strings as the events carry
them; *view* counts characters as the scanner sees them: for nested JSON each inner escape is
one character. Without escapes the two are the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Protocol

from penstock.wire.family import Refusal
from penstock.wire.json_spans import UNESCAPE, escape, unescape

# Kept to tell that a closing copy repeats the text; longer texts are scanned again instead.
MAX_KEPT_CHARACTERS = 1024 * 1024
# A text with more replacements than this is no answer any more; the stream is stopped.
MAX_REPLACEMENTS = 100_000

_SURROGATE = re.compile("[\ud800-\udfff]")
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_PARTIAL_LOW = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")
_PARTIAL = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")


@dataclass(slots=True, frozen=True)
class Replacement:
    """Replace ``[start, end)`` of a channel's text by ``text`` (plain, escaped by the caller)."""

    start: int
    end: int
    text: str


@dataclass(slots=True)
class ScanStep:
    """What a scanner knows after a piece.

    ``replacements`` are new since the last step, in order; ``settled`` is the absolute
    offset up to which text may leave (what stands before it never changes again);
    ``stop`` ends the stream with a refusal: then nothing leaves any more but what stands
    before ``before_stop``.
    """

    replacements: Sequence[Replacement] = field(default_factory=list)
    settled: int = 0
    stop: Refusal | None = None
    before_stop: int = 0


class ChannelScanner(Protocol):
    """Reads the text of one channel piece by piece. Offsets are absolute in that text."""

    def feed(self, text: str) -> ScanStep:
        """Take the next piece."""

    def finish(self) -> ScanStep:
        """No more text comes: everything is settled."""


class ChannelText:
    """One channel's text on its way through a scanner."""

    def __init__(self, scanner: ChannelScanner, nested: bool) -> None:
        self.scanner = scanner
        self.nested = nested
        self.raw_length = 0
        self.settled = 0  # raw
        self.stop: Refusal | None = None
        self.problem: str | None = None
        self.closed = False
        self.is_changed = False  # something was replaced in it
        self.whole = False  # came in one piece, as a total
        self._starts: list[int] = []  # of the replacements, raw, ascending
        self._replaced: list[tuple[int, int, str]] = []  # raw start, raw end, text as carried
        self._kept: StringIO | None = StringIO()
        self._unseen: list[str] = []  # pieces, as the scanner will see them
        self._waiting = ""  # an inner escape whose end has not come yet
        self._view_length = 0
        self._escape_views: list[int] = []  # view index of each inner escape
        self._escape_widths: list[int] = []  # raw characters more than view ones, up to and with it

    def feed(self, text: str) -> None:
        """Take a piece; ``settled`` says afterwards what may leave."""
        self.gather(text)
        self.look()

    def gather(self, text: str) -> None:
        """Take a piece that is looked at later."""
        self.raw_length += len(text)
        self._unseen.append(text)

    def look(self) -> None:
        """Show the scanner what came since the last look; ``settled`` says what may leave."""
        if not self._unseen:
            return
        text = self._unseen[0] if len(self._unseen) == 1 else "".join(self._unseen)
        self._unseen.clear()
        if self._kept is not None:
            self._kept.write(text)
            if self.raw_length > MAX_KEPT_CHARACTERS:
                self._kept = None
        view = self._view(text) if self.nested else text
        if not view.isascii():
            view = _SURROGATE.sub("\ufffd", view)
        self._view_length += len(view)
        self._take(self.scanner.feed(view))

    def finish(self) -> None:
        """The text is over: all of it is settled."""
        if self.closed:
            return
        self.closed = True
        self.look()
        if self._waiting:
            rest, self._waiting = self._waiting, ""
            self._view_length += len(rest)
            self._take(self.scanner.feed(rest))
        self._take(self.scanner.finish())
        if self.stop is None:
            self.settled = self.raw_length

    def repeats(self, text: str) -> bool:
        """True when ``text`` is this channel's text, from its beginning on."""
        self.look()
        return self._kept is not None and self._kept.getvalue().startswith(text)

    def replaced(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """Replacements inside raw ``[start, end)``, relative to ``start``.

        A replacement's text stands where it begins; of one that began before ``start``
        only the characters are gone.
        """
        if not self._replaced:
            return []
        first = max(bisect_right(self._starts, start) - 1, 0)
        found = []
        for begin, stop, text in self._replaced[first:]:
            if begin >= end:
                break
            if stop > start:
                cut = (max(begin, start) - start, min(stop, end) - start)
                found.append((*cut, text if begin >= start else ""))
        return found

    def _take(self, step: ScanStep) -> None:
        for change in step.replacements:
            start = self._raw(change.start)
            text = escape(change.text) if self.nested else change.text
            self.is_changed = True
            self._starts.append(start)
            self._replaced.append((start, self._raw(change.end), text))
        if len(self._starts) > MAX_REPLACEMENTS:
            self.problem = f"more than {MAX_REPLACEMENTS} replacements in one text"
        settled = step.settled if step.stop is None else step.before_stop
        if self.stop is None:
            self.settled = max(self.settled, self._raw(min(settled, self._view_length)))
        self.stop = self.stop or step.stop

    def _raw(self, view: int) -> int:
        before = bisect_left(self._escape_views, view)
        return view + self._escape_widths[before - 1] if before else view

    def _view(self, text: str) -> str:
        """The piece as the scanner sees it; a cut escape waits for its end."""
        if self._waiting:
            text, self._waiting = self._waiting + text, ""
        if "\\" not in text:
            return text
        at, last, width = 0, "", self._escape_widths[-1] if self._escape_widths else 0
        views = []
        for match in UNESCAPE.finditer(text):
            views.append((match.start(), match.end()))
            at, last = match.end(), match.group()
        cut = self._cut_escape(text, at, last)
        shift = 0
        for start, end in views:
            if start >= cut:
                break
            self._escape_views.append(self._view_length + start - shift)
            shift += end - start - 1
            self._escape_widths.append(width + shift)
        text, self._waiting = text[:cut], text[cut:]
        return unescape(text)

    @staticmethod
    def _cut_escape(text: str, at: int, last: str) -> int:
        """Where an escape begins that the next piece has to complete; the end when none does."""
        if _HIGH.fullmatch(last) and _PARTIAL_LOW.fullmatch(text, at):
            return at - len(last)
        partial = _PARTIAL.search(text, max(at, len(text) - 5))
        return partial.start() if partial else len(text)
