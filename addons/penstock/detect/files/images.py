"""What a picture says beside its pixels: comments, descriptions, authors, places.

PNG text chunks, JPEG comments, Exif, XMP and IPTC, WebP and GIF. Everything is found by its
length and bounded; a length that lies ends the reading.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

# Bytes of one piece of metadata, unpacked: XMP of a large catalogue has some 100 KB.
PIECE_BYTES_MAX = 4 * 1024 * 1024
# Pieces of one picture.
PIECES_MAX = 1000
# Entries of one Exif directory, and directories.
ENTRIES_MAX, DIRECTORIES_MAX = 500, 8
_POINTERS = (0x8769, 0x8825, 0xA005)  # Exif, GPS, interoperability
_WINDOWS_TAGS = range(0x9C9B, 0x9CA0)  # title, comment, author, keywords, subject: UTF-16
_USER_COMMENT = 0x9286
_TAGS = re.compile(r"<[^<>]*>")


def image_texts(raw: bytes) -> list[str]:
    """The texts of a picture; an empty list where it has none."""
    found: list[str] = []
    for piece in _pieces(raw):
        text = piece.strip("\0 \r\n\t")
        if text:
            found.append(text)
        if len(found) >= PIECES_MAX:
            break
    return found


def _pieces(raw: bytes) -> Iterator[str]:
    if raw.startswith(b"\x89PNG"):
        yield from _png(raw)
    elif raw.startswith(b"\xff\xd8"):
        yield from _jpeg(raw)
    elif raw[8:12] == b"WEBP":
        yield from _webp(raw)
    elif raw.startswith(b"GIF8"):
        yield from _gif(raw)
    elif raw[:4] in (b"II*\0", b"MM\0*"):
        yield from _exif(raw)
    else:
        yield from _xmp_inside(raw)


def _png(raw: bytes) -> Iterator[str]:
    at = 8
    while at + 12 <= len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if len(data) < length:
            return
        if kind == b"tEXt":
            yield data.replace(b"\0", b": ").decode("latin-1")
        elif kind == b"zTXt":
            name, _, packed = data.partition(b"\0")
            yield name.decode("latin-1") + ": " + _unpacked(packed[1:]).decode("latin-1")
        elif kind == b"iTXt":
            yield _international(data)
        elif kind == b"eXIf":
            yield from _exif(data)
        at += 12 + length


def _international(data: bytes) -> str:
    name, _, rest = data.partition(b"\0")
    packed, rest = rest[:1] == b"\1", rest[2:]
    _, _, rest = rest.partition(b"\0")  # the language
    title, _, text = rest.partition(b"\0")
    words = _unpacked(text) if packed else text
    return f"{name.decode('latin-1')} {title.decode('utf-8', 'replace')}: " + _plain(words)


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, PIECE_BYTES_MAX)
    except zlib.error:
        return b""


def _plain(data: bytes) -> str:
    text = data[:PIECE_BYTES_MAX].decode("utf-8", "replace")
    if "<x:xmpmeta" in text or "<rdf:" in text:
        # Attributes hold values as well as elements do.
        text = text + "\n" + _TAGS.sub("\n", text)
    return text


def _jpeg(raw: bytes) -> Iterator[str]:
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if marker in (0xD9, 0xDA):  # end, or the pixels begin
            return
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 1:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", raw, at + 2)
        data = raw[at + 4 : at + 2 + length]
        if marker == 0xFE:
            yield data.decode("utf-8", "replace")
        elif marker == 0xE1 and data.startswith(b"Exif\0\0"):
            yield from _exif(data[6:])
        elif marker == 0xE1:
            yield _plain(data.partition(b"\0")[2])
        elif marker == 0xED:
            yield from _iptc(data)
        at += 2 + max(length, 2)


def _iptc(data: bytes) -> Iterator[str]:
    """Datasets of the application record: 0x1C, 2, number, length, text."""
    at = data.find(b"\x1c\x02")
    while at >= 0 and at + 5 <= len(data):
        (length,) = struct.unpack_from(">H", data, at + 3)
        if length < 0x8000:
            yield data[at + 5 : at + 5 + length].decode("utf-8", "replace")
        else:
            length = 0
        at = data.find(b"\x1c\x02", at + 5 + length)


def _webp(raw: bytes) -> Iterator[str]:
    at = 12
    while at + 8 <= len(raw):
        (length,) = struct.unpack_from("<I", raw, at + 4)
        data = raw[at + 8 : at + 8 + length]
        if raw[at : at + 4] == b"EXIF":
            yield from _exif(data.removeprefix(b"Exif\0\0"))
        elif raw[at : at + 4] == b"XMP ":
            yield _plain(data)
        at += 8 + length + length % 2


def _gif(raw: bytes) -> Iterator[str]:
    at = raw.find(b"\x21\xfe")
    while at >= 0:
        end, text = at + 2, b""
        while end < len(raw) and raw[end] and len(text) < PIECE_BYTES_MAX:
            text += raw[end + 1 : end + 1 + raw[end]]
            end += 1 + raw[end]
        yield text.decode("utf-8", "replace")
        at = raw.find(b"\x21\xfe", end)


def _xmp_inside(raw: bytes) -> Iterator[str]:
    start = raw.find(b"<x:xmpmeta")
    end = raw.find(b"</x:xmpmeta>", start)
    if 0 <= start < end:
        yield _plain(raw[start:end])


def _exif(data: bytes) -> Iterator[str]:
    """The texts of a TIFF structure (Exif 3.0, section 4.6)."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return
    waiting: list[int] = [struct.unpack_from(order + "I", data, 4)[0]]
    seen: set[int] = set()
    while waiting and len(seen) < DIRECTORIES_MAX:
        at = waiting.pop()
        if at in seen or at + 2 > len(data):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", data, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, ENTRIES_MAX), 12):
            if entry + 12 > len(data):
                break
            tag, kind, size = struct.unpack_from(order + "HHI", data, entry)
            (value,) = struct.unpack_from(order + "I", data, entry + 8)
            if tag in _POINTERS:
                waiting.append(value)
                continue
            text = _entry(data, entry, tag, kind, size, value)
            if text:
                yield text


def _entry(data: bytes, entry: int, tag: int, kind: int, size: int, value: int) -> str:
    start = entry + 8 if size <= 4 else value
    raw = data[start : start + min(size, PIECE_BYTES_MAX)]
    if tag in _WINDOWS_TAGS:
        return raw.decode("utf-16-le", "replace")
    if tag == _USER_COMMENT:
        return raw[8:].decode("utf-16" if raw.startswith(b"UNICODE") else "utf-8", "replace")
    if tag == 700:  # XMP inside TIFF
        return _plain(raw)
    return raw.decode("utf-8", "replace") if kind in (2, 129) else ""
