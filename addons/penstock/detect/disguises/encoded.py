"""Runs of base64, base64url and hexadecimal, also of gzip, read as the text they are.

A run is read as long as it is, in pieces; one whose beginning is no text (an image, a
program) costs that piece. What gzip packs is read up to a bound: the rest is reported as
not judged, because a small run can hold a very long text.
"""

from __future__ import annotations

import base64
import codecs
import re
import zlib
from collections.abc import Callable, Iterator

import re2

from penstock.detect.disguises.reading import RUN_CHARACTERS_MAX, RUNS_MAX, Decoded
from penstock.detect.view import View

# Shorter runs are words.
RUN_CHARACTERS_MIN = 24
# What stands at the end of a piece stands whole at the beginning of the next.
PIECE_OVERLAP = 4096
# Text that gzip packed, of one run.
INFLATED_BYTES_MAX = 1024 * 1024
# Decoded bytes must read as text: this share of printable characters.
PRINTABLE_SHARE_MIN = 0.95
GZIP = b"\x1f\x8b"

_RUN = re2.compile(rb"[0-9A-Za-z+/_-]{24,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-f]+|[0-9A-F]+)")
_NO_BREAKS = str.maketrans("", "", "\r\n\t")


def encoded_runs(view: View) -> Iterator[Decoded]:
    """What the runs of a text say; each reading stands for its run as a whole."""
    data = view.data
    count = 0
    low = view.run_from(0, RUN_CHARACTERS_MIN)
    while low >= 0:
        match = _RUN.match(data, low)
        assert match is not None  # a run begins there
        high = match.end()
        start = None
        for plain in _texts(bytes(data[low:high])):
            start = view.index(low) if start is None else start
            count += 1
            if plain is None or count > RUNS_MAX:
                view.leave(start)
                break
            yield Decoded(plain, (start, start + high - low))
        if count > RUNS_MAX:
            return
        low = view.run_from(high, RUN_CHARACTERS_MIN)


def decoded_run(run: str) -> str | None:
    """What a short run of letters and digits says; None when it is no text."""
    return next(_texts(run.encode()), None)


def _texts(run: bytes) -> Iterator[str | None]:
    """The texts of a run, piece by piece; None for a rest that is not looked into."""
    body = run.rstrip(b"=")
    if len(body) % 2 == 0 and _HEX.fullmatch(body[:RUN_CHARACTERS_MAX]) and _HEX.fullmatch(body):
        texts = list(_readable_pieces(body, _unhex))
        if texts:
            yield from texts
            return
    first = _unbase64(body[:RUN_CHARACTERS_MAX])
    if first[:2] == GZIP:
        yield from _inflated(_unbase64(body))
    else:
        yield from _readable_pieces(body, _unbase64)


def _readable_pieces(body: bytes, decode: _Decode) -> Iterator[str]:
    """Pieces as long as they read as text; a run that does not begin as one has none."""
    for low in range(0, len(body), RUN_CHARACTERS_MAX - PIECE_OVERLAP):
        if low and len(body) - low <= PIECE_OVERLAP:
            return  # the piece before had it all
        piece = body[low : low + RUN_CHARACTERS_MAX]
        text = _readable(decode(piece), low > 0, low + len(piece) < len(body))
        if text is None:
            return
        yield text


def _unhex(body: bytes) -> bytes:
    return bytes.fromhex(body.decode())


def _unbase64(body: bytes) -> bytes:
    body = body.replace(b"-", b"+").replace(b"_", b"/")
    if len(body) % 4 == 1:
        body = body[:-1]
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4))
    except ValueError:  # other characters stand in it, and without them it is no base64
        return b""


def _inflated(raw: bytes) -> Iterator[str | None]:
    """What gzip packed (RFC 1952): a damaged end leaves what came before it."""
    reader = zlib.decompressobj(wbits=31)
    read = 0
    before = b""
    while raw and not reader.eof:
        try:
            plain = reader.decompress(raw, RUN_CHARACTERS_MAX)
        except zlib.error:
            return
        raw = reader.unconsumed_tail
        read += len(plain)
        text = _readable(before + plain, bool(before), not reader.eof) if plain else None
        if text is None:
            return
        yield text
        if read >= INFLATED_BYTES_MAX and raw:
            yield None
            return
        before = plain[-PIECE_OVERLAP:]


def _readable(raw: bytes, begun: bool = False, goes_on: bool = False) -> str | None:
    """The bytes as text when they are text; a character may be cut at either end of a piece."""
    start = 0
    while begun and start < min(3, len(raw)) and raw[start] & 0xC0 == 0x80:
        start += 1
    try:
        text, _ = codecs.utf_8_decode(raw[start:], "strict", not goes_on)
    except UnicodeDecodeError:
        return None
    if len(text) < 8:
        return None
    words = text.translate(_NO_BREAKS)
    if words.isprintable():
        return text
    odd = sum(not char.isprintable() for char in words)
    return text if len(text) - odd >= PRINTABLE_SHARE_MIN * len(text) else None


_Decode = Callable[[bytes], bytes]
