"""What stands around a candidate: its words, or nothing at all."""

from __future__ import annotations

import re
from functools import lru_cache

# Characters before and after a candidate in which a telling word counts.
REACH_BEFORE = 60
REACH_AFTER = 40
# A text this short that is mostly the candidate is a form field or a tool argument.
BARE_CHARACTERS_MAX = 40
BARE_SHARE_MIN = 0.38


def word_near(
    text: str, start: int, end: int, words: tuple[str, ...], reach: int = REACH_BEFORE
) -> bool:
    """True when one of ``words`` (lower case) stands as a word shortly before or after."""
    # One character more: a word that begins at the edge of the window may be the end of another.
    before = max(0, start - reach - 1)
    window = text[before:start] + " | " + text[end : end + min(reach, REACH_AFTER)]
    return _words(words).search(window.lower(), start - before > reach) is not None


@lru_cache(maxsize=256)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    # Words of one table row; they may begin inside a compound (Steuer-IdNr, my_ssn).
    return re.compile("|".join(rf"(?<![a-z]){re.escape(word)}" for word in words))


def bare(text: str, start: int, end: int) -> bool:
    """True when the text is little more than the candidate."""
    return len(text) <= BARE_CHARACTERS_MAX and end - start >= BARE_SHARE_MIN * len(text)
