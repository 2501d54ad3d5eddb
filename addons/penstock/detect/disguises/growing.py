r"""From where the end of a growing text may become a match once its disguises are taken off.

``eyJ…\u002e`` ends a token as it stands; as what it says it goes on. Escapes, letters of
other scripts and letters that stand apart are undone at the text's end as ``normalise`` undoes
them, and what is live in that reading is live in the text. Plain text costs a few searches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import re2

from penstock.detect.disguises.normalise import (
    DEPTH_MAX,
    PIECE_ENDS,
    is_masked,
    unescaped,
    unmasked,
    unpercented,
)
from penstock.detect.disguises.reading import Decoded
from penstock.detect.disguises.spelling import together
from penstock.detect.view import utf8

# An escape whose end has not come yet.
_BEGUN = re.compile(r"(?:\\(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]?)\Z")
BEGUN_CHARACTERS_MAX = 5
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(r"\\u[0-9A-Fa-f]{4}")
# Letters that stand apart at the end: the last two in one look at so many characters, then all.
_TWO_APART = re.compile(r"(?:\s\S\s{1,4}\S?|[._*|-]\w[._*|-]\w?)\s{0,4}\Z")
_TWO_REACH = 14
_APART = re2.compile(rb"(?:^|\s)((?:[^\s]\s{1,4}){3,}[^\s]?\s{0,4})\z")
_MARKED = re2.compile(
    rb"((?:[^\s._*|-][._*|-](?: [._*|-]?)?){3,}[^\s._*|-]?)\z",
)


def may_be_disguised(text: str) -> bool:
    """Whether there is anything to take off; nearly always not."""
    return (
        "\\" in text
        or "%" in text
        or not text.isascii()
        or _TWO_APART.search(text[-_TWO_REACH:]) is not None
    )


def live_undisguised(text: str, live: Callable[[str], int], depth: int = DEPTH_MAX) -> int:
    """The first index from which all of the rest is live; ``len(text)`` for none.

    ``live`` says the same of a text as it stands.
    """
    first = len(text)
    for reading in _readings(text):
        at = live(reading.text)
        if depth > 1 and reading.text != text:
            at = min(at, live_undisguised(reading.text, live, depth - 1))
        if at < len(reading.text):
            first = min(first, reading.place(at, at + 1)[0])
    return first


def known_until(text: str) -> int:
    """Where an escape begins whose end has not come yet; the text's end where none does."""
    begun = _BEGUN.search(text, max(0, len(text) - BEGUN_CHARACTERS_MAX))
    return begun.start() if begun else len(text)


def unbroken_from(text: str, end: int) -> int:
    """Where the piece begins that ends at ``end`` and that nothing breaks."""
    return max(text.rfind(sign, 0, end) for sign in PIECE_ENDS) + 1


def _readings(text: str) -> Iterator[Decoded]:
    if not text.isascii() and is_masked(text):
        yield unmasked(text)
    low = unbroken_from(text, len(text))
    if text.find("\\", low) >= 0 or text.find("%", low) >= 0:
        yield from _unescaped(text[low:], low)
    if _TWO_APART.search(text[-_TWO_REACH:]) is not None:
        data = utf8(text)
        for pattern, marked in ((_APART, False), (_MARKED, True)):
            match = pattern.search(data)
            if match is not None:
                start = len(data[: match.start(1)].decode("utf-8", "surrogatepass"))
                yield together(text[start:], start, marked)


def _unescaped(piece: str, base: int) -> Iterator[Decoded]:
    """The piece without an escape that has only begun, as it stands and undone."""
    known = piece[: known_until(piece)]
    if known != piece:
        yield Decoded(known, (base, base + len(known)), range(base, base + len(known) + 1))
    if _PERCENT.search(known):
        yield unpercented(known, base)
    if _ESCAPED.search(known):
        yield unescaped(known, base)
