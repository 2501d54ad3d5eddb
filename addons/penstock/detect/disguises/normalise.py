"""The same text without its disguises: what base64, hex, percent and JSON escapes, invisible
characters and look-alike letters hide, each with the way back to the original offsets.

Cheap tests come first: plain text costs a search or two. Decoding is bounded in depth,
size and number, also where gzip packed it; nothing is interpreted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import re2

from penstock.detect.disguises.encoded import RUN_CHARACTERS_MIN, encoded_runs
from penstock.detect.disguises.reading import RUNS_MAX, Decoded, Places
from penstock.detect.disguises.spelling import respelt, spellings
from penstock.detect.view import View, pieces_of, utf8

# base64 inside base64, percent inside JSON: two levels are seen in practice.
DEPTH_MAX = 2
# Windows of odd characters, before they are read as one.
WINDOWS_MAX = 64
# How far around an invisible or look-alike character a hidden value may reach; and how far to
# either side a value goes on that nothing breaks. What is longer counts as not judged.
MASK_REACH = 400
UNBROKEN_REACH = 256 * 1024
# Characters to be replaced one by one, each in a thirtieth of the time a look at all takes.
REPLACED_MAX = 24
_PERCENT = re2.compile(rb"%[0-9A-Fa-f]{2}")
_PERCENT_RUN = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPED = re2.compile(rb"\\u[0-9A-Fa-f]{4}")
PIECE_ENDS = " \t\r\n\"'<>"
_WHITE = " \t\r\n"
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\([nrtbf\"\\/])")
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef"
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_HIDDEN = re.compile(f"[{_INVISIBLE}]")
_ODD = re2.compile(
    (
        f"[{_INVISIBLE}\uff01-\uff5e\U0001d400-\U0001d7ff\u2102-\u2119\u24b6-\u24e9]"
        "|[A-Za-z0-9][\u0370-\u03ff\u0400-\u052f]|[\u0370-\u03ff\u0400-\u052f][A-Za-z0-9]"
    ).encode()
)
# The same of the characters beyond ASCII alone, which are few where quotation marks are all.
_PERHAPS_ODD = re2.compile(
    (
        f"[{_INVISIBLE}\uff01-\uff5e\U0001d400-\U0001d7ff\u2102-\u2119\u24b6-\u24e9"
        "\u0370-\u03ff\u0400-\u052f]"
    ).encode()
)
# Letters of other scripts that look like Latin ones (Unicode confusables, the common part).
_LOOK_ALIKES = dict(
    zip(
        "АВЕЅІЈКМНОРСТХУаеіјкорсухѕԁԛԝһΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανιρκτυχ",
        "ABESIJKMHOPCTXYaeijkopcyxsdqwhABEZHIKMNOPTYXoavipktux",
        strict=True,
    )
)


def readings(view: View, unmasked: bool = False) -> Iterator[Decoded]:
    """The hidden readings of a text, at most ``RUNS_MAX`` of each kind; the view knows the rest.

    ``unmasked``: the text is such a reading already.
    """
    if not (unmasked or view.ascii) and _PERHAPS_ODD.search(view.beyond) and _ODD.search(view.data):
        yield from _masked(view)
    if view.has_run(RUN_CHARACTERS_MIN):
        yield from encoded_runs(view)
    if b"%" in view.data:
        yield from _pieces(view, _PERCENT, unpercented)
    if b"\\" in view.data:
        yield from _pieces(view, _ESCAPED, unescaped)
    if kinds := spellings(view):
        yield from respelt(view, kinds)


def is_masked(text: str) -> bool:
    """Whether a text has characters that ``unmasked`` makes others."""
    return _ODD.search(utf8(text)) is not None


def _masked(view: View) -> Iterator[Decoded]:
    """The surroundings of odd characters, unmasked: what they hide is near them."""
    low = high = 0
    windows: list[tuple[int, int]] = []
    for match in _ODD.finditer(view.data):
        at = view.index(match.start())
        if windows and at + MASK_REACH <= high:
            continue
        begin, end = _unbroken(view, at, high, _WHITE)
        begin = min(begin, max(0, at - MASK_REACH))
        if windows and begin <= high:
            high = max(end, at + MASK_REACH)
            windows[-1] = (low, high)
        else:
            low, high = begin, max(end, at + MASK_REACH)
            windows.append((low, high))
            if len(windows) > WINDOWS_MAX:
                windows = [(0, len(view.text))]
                break
    for low, high in windows:
        masked = view.text[low:high]
        piece = unmasked(masked, low)
        if piece.text != masked:  # else nothing was hidden, and this was looked at
            yield piece


def unmasked(text: str, base: int = 0) -> Decoded:
    """Without invisible characters, compatibility forms folded, look-alikes made Latin.

    Tag characters (U+E0020 to U+E007E) become the ASCII text they smuggle. ``base`` is where
    the text stands in the original.
    """
    span = (base, base + len(text))
    found = {char for piece in pieces_of(text) for char in set(piece)}
    folds = {char: _folded(char) for char in found if char > "\x7f"}
    changed = {char: folded for char, folded in folds.items() if folded != char}
    plain = "".join([_unmasked(piece, changed) for piece in pieces_of(text)])
    if all(len(folded) == 1 for folded in changed.values()):  # any text that hides nothing
        return Decoded(plain, span, range(base, span[1] + 1), True)
    places = Places()
    done = 0
    for at, char in _occurrences(text, changed):
        if at > done:
            places.add(base + done, at - done)
        for _ in changed[char]:
            places.add(base + at)
        done = at + 1
    places.add(base + done, len(text) + 1 - done)
    return Decoded(plain, span, places, True)


def _occurrences(text: str, changed: Collection[str]) -> Iterator[tuple[int, str]]:
    """Where characters beyond ASCII that change stand, and which they are."""
    base = 0
    for piece in pieces_of(text):
        if len(changed) <= REPLACED_MAX:
            places = sorted((at, char) for char in changed for at in _places_of(char, piece))
        else:
            found = ((match.start(), match.group()) for match in _NOT_ASCII.finditer(piece))
            places = [place for place in found if place[1] in changed]
        for at, char in places:
            yield base + at, char
        base += len(piece)


def _places_of(char: str, piece: str) -> Iterator[int]:
    at = piece.find(char)
    while at >= 0:
        yield at
        at = piece.find(char, at + 1)


def _unmasked(piece: str, changed: dict[str, str]) -> str:
    """One piece, folded: by a search for each character, or (many) by a look at each place."""
    if len(changed) > REPLACED_MAX:
        return piece.translate({ord(char): changed.get(char, char) for char in set(piece)})
    for char, folded in changed.items():
        piece = piece.replace(char, folded)
    return piece


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    """What a character stands for; what it stands for stands for itself."""
    if 0xE0020 <= ord(char) <= 0xE007E:
        return chr(ord(char) - 0xE0000)
    if _HIDDEN.match(char):
        return ""
    plain = unicodedata.normalize("NFKC", char)
    if plain == char:
        return _LOOK_ALIKES.get(char, char)
    return "".join(_folded(inner) for inner in plain)


def _pieces(view: View, pattern: re2._Regexp, decode: _Decode) -> Iterator[Decoded]:
    """The unbroken pieces of text around each escape, decoded."""
    text = view.text
    match = pattern.search(view.data)
    high = 0  # where the last piece ends
    for count in range(RUNS_MAX + 1):
        if match is None:
            return
        low, escaped = view.index(match.start()), view.index(match.end())
        if count == RUNS_MAX:
            view.leave(low)
            return
        low, high = _unbroken(view, low, high, PIECE_ENDS)
        yield decode(text[low:high], low)
        match = pattern.search(view.data, match.end() + len(utf8(text[escaped:high])))


def _unbroken(view: View, at: int, floor: int, ends: str) -> tuple[int, int]:
    """The piece around ``at`` that holds none of ``ends``, looked for from ``floor`` on."""
    text = view.text
    floor, ceiling = max(floor, at - UNBROKEN_REACH), min(len(text), at + UNBROKEN_REACH)
    low = floor
    for end in ends:  # the nearest so far bounds the search for the next
        low = max(low, text.rfind(end, low, at) + 1)
    after = _UNTIL[ends].search(text, at, ceiling)
    if after is None and ceiling < len(text):
        view.leave(ceiling)
    return low, after.start() if after else ceiling


_UNTIL = {ends: re.compile(f"[{ends}]") for ends in (PIECE_ENDS, _WHITE)}


def unpercented(piece: str, base: int) -> Decoded:
    """A piece that stands at ``base``, its percent escapes undone."""
    return _mapped(piece, base, _PERCENT_RUN, _percent_text)


def _percent_text(match: re.Match[str]) -> list[tuple[str, int]]:
    """The characters of a run of %XX; each byte takes three of the original."""
    raw = unquote_to_bytes(match.group())
    try:
        return [(char, 3 * len(char.encode())) for char in raw.decode()]
    except UnicodeDecodeError:
        return [(chr(byte), 3) for byte in raw]


def unescaped(piece: str, base: int) -> Decoded:
    """A piece that stands at ``base``, its escapes of JSON undone."""
    short = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}

    def plain(match: re.Match[str]) -> list[tuple[str, int]]:
        char = chr(int(match[1], 16)) if match[1] else short.get(match[2], match[2])
        return [(char, len(match[0]))]

    return _mapped(piece, base, _ESCAPE, plain)


def _mapped(piece: str, base: int, pattern: re.Pattern[str], plain: _Plain) -> Decoded:
    characters: list[str] = []
    places = Places()
    at = 0
    for match in pattern.finditer(piece):
        characters.append(piece[at : match.start()])
        if match.start() > at:
            places.add(base + at, match.start() - at)
        at = match.start()
        for char, width in plain(match):
            characters.append(char)
            places.add(base + at, len(char))
            at += width
        at = match.end()
    characters.append(piece[at:])
    places.add(base + at, len(piece) + 1 - at)
    return Decoded("".join(characters), (base, base + len(piece)), places)


_Decode = Callable[[str, int], Decoded]
_Plain = Callable[[re.Match[str]], list[tuple[str, int]]]
