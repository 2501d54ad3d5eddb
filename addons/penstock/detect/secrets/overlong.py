"""The rest of a secret that is longer than what a stream may hold: it is taken out as it comes.

Its beginning was found and has left as its stand-in. What the beginning stood in says where
the rest ends: a key at its END line, a value in quotes at the quote, any other at white
space or a separator, also where an escape stands for it. Nothing of it is judged again.
"""

from __future__ import annotations

import re

from penstock.detect.secrets.assigned import closed_by, quoted_end, token_end
from penstock.detect.secrets.keys import END_LINE, PRIVATE_KEY, in_a_key
from penstock.exchange import Finding

# What may still be the beginning of an ending: the END line of a key is the longest.
ENDING_CHARACTERS_MAX = 80
# Signs that values are trimmed of: behind them the value may go on.
_TRIMMED = "\\).]}:"
# A quote that an escape stands for; a value behind one ends at the next, or where its piece does.
_ESCAPED_QUOTE = re.compile(r"(?:\\u00|%)(?:2[27]|60)\Z")
_QUOTE_CHARACTERS_MAX = 6
_BREAK = re.compile(r"[\s\"'<>]")
# Letters that stand apart, at the end of a value and of what comes of it.
_APART = re.compile(r"(?:\s\S){8}\s{0,4}\Z")
_LETTERS_APART = re.compile(r"(?:\s{0,4}\S(?=\s|\Z))*+")
_APART_REACH = 64


def goes_on(whole: str, finding: Finding) -> bool:
    """True when the finding reaches the text's end, so that more of it may come."""
    tail = whole[finding.end :]
    if _is_apart(whole, finding):
        tail = tail.strip()
    return not (tail.strip() if _is_key(whole, finding) else tail.strip(_TRIMMED))


def _is_key(whole: str, finding: Finding) -> bool:
    """True for a private key that stands there in plain lines, not in base64."""
    return finding.type == PRIVATE_KEY and whole.startswith(
        ("-----", "---- ", "PuTTY"), finding.start
    )


def _is_apart(whole: str, finding: Finding) -> bool:
    """True for a value that stands there letter by letter."""
    low = max(finding.start, finding.end - _APART_REACH)
    return _APART.search(whole[low : finding.end]) is not None


class Rest:
    """Says how much of what comes belongs to a secret whose beginning has left."""

    __slots__ = ("_close", "_close_escaped", "_is_apart", "_is_key")

    def __init__(self, whole: str, finding: Finding) -> None:
        self._is_key = _is_key(whole, finding)
        self._is_apart = _is_apart(whole, finding)
        low = max(0, finding.start - _QUOTE_CHARACTERS_MAX)
        quote = _ESCAPED_QUOTE.search(whole, low, finding.start)
        self._close_escaped = quote.group() if quote else None
        self._close = None if self._is_key else closed_by(whole, finding.start)

    def take(self, text: str, last: bool) -> tuple[int, bool]:
        """How many characters of ``text`` belong to it, and whether it has ended there."""
        end = self._key_end(text) if self._is_key else self._value_end(text)
        if last or end <= len(text) - ENDING_CHARACTERS_MAX:
            return end, True
        sure = max(0, len(text) - ENDING_CHARACTERS_MAX)
        while sure and text[sure - 1] == "\\":
            sure -= 1  # never between a backslash and what it stands before
        return sure, False

    def _value_end(self, text: str) -> int:
        if self._is_apart:
            apart = _LETTERS_APART.match(text)
            return apart.end() if apart else 0
        if self._close_escaped is not None:
            stop = _BREAK.search(text)
            end = stop.start() if stop else len(text)
            close = text.find(self._close_escaped, 0, end)
            return close if close >= 0 else end
        return token_end(text) if self._close is None else quoted_end(text, self._close)

    def _key_end(self, text: str) -> int:
        run = in_a_key(text)
        line = END_LINE.search(text, 0, run)
        return line.end() if line else run
