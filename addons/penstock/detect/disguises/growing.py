r"""From where the end of a growing text may become a match once its escapes are undone.

``eyJ…\u002e`` ends a token as it stands; as what it says it goes on. The escapes of the last
unbroken piece are undone as ``normalise`` undoes them, and what is live in that reading is
live in the text. Text without escapes costs two searches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.detect.disguises.normalise import DEPTH_MAX, PIECE_ENDS, unescaped, unpercented
from penstock.detect.disguises.reading import Decoded

# An escape whose end has not come yet.
_BEGUN = re.compile(r"(?:\\(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]?)\Z")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(r"\\u[0-9A-Fa-f]{4}")


def live_behind_escapes(text: str, live: Callable[[str], int], depth: int = DEPTH_MAX) -> int:
    """The first index from which all of the rest is live; ``len(text)`` for none.

    ``live`` says the same of a text as it stands.
    """
    low = unbroken_from(text, len(text))
    if text.find("\\", low) < 0 and text.find("%", low) < 0:
        return len(text)
    first = len(text)
    for reading in _readings(text[low:], low):
        at = live(reading.text)
        if depth > 1:
            at = min(at, live_behind_escapes(reading.text, live, depth - 1))
        if at < len(reading.text):
            first = min(first, reading.place(at, at + 1)[0])
    return first


def unbroken_from(text: str, end: int) -> int:
    """Where the piece begins that ends at ``end`` and that nothing breaks."""
    return max(text.rfind(sign, 0, end) for sign in PIECE_ENDS) + 1


def _readings(piece: str, base: int) -> Iterator[Decoded]:
    """The piece without an escape that has only begun, as it stands and undone."""
    known = _BEGUN.sub("", piece)
    if known != piece:
        yield Decoded(known, (base, base + len(known)), range(base, base + len(known) + 1))
    if _PERCENT.search(known):
        yield unpercented(known, base)
    if _ESCAPED.search(known):
        yield unescaped(known, base)
