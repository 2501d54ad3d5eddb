"""The rest of a secret that is longer than what a stream may hold: it is taken out as it comes.

Its beginning was found and has left as its stand-in. What the beginning stood in says where
the rest ends: a key at its END line, a value in quotes at the quote, any other at white
space or a separator, also where an escape stands for it. Nothing of it is judged again.
"""

from __future__ import annotations

from penstock.detect.secrets.assigned import closed_by, quoted_end, token_end
from penstock.detect.secrets.keys import END_LINE, PRIVATE_KEY, in_a_key
from penstock.exchange import Finding

# What may still be the beginning of an ending: the END line of a key is the longest.
ENDING_CHARACTERS_MAX = 80
# Signs that values are trimmed of: behind them the value may go on.
_TRIMMED = "\\).]}:"


def goes_on(whole: str, finding: Finding) -> bool:
    """True when the finding reaches the text's end, so that more of it may come."""
    tail = whole[finding.end :]
    return not (tail.strip() if _is_key(whole, finding) else tail.strip(_TRIMMED))


def _is_key(whole: str, finding: Finding) -> bool:
    """True for a private key that stands there in plain lines, not in base64."""
    return finding.type == PRIVATE_KEY and whole.startswith(
        ("-----", "---- ", "PuTTY"), finding.start
    )


class Rest:
    """Says how much of what comes belongs to a secret whose beginning has left."""

    __slots__ = ("_close", "_is_key")

    def __init__(self, whole: str, finding: Finding) -> None:
        self._is_key = _is_key(whole, finding)
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
        return token_end(text) if self._close is None else quoted_end(text, self._close)

    def _key_end(self, text: str) -> int:
        run = in_a_key(text)
        line = END_LINE.search(text, 0, run)
        return line.end() if line else run
