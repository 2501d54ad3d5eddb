"""What encoded bytes really are: by their first bytes, whatever their sender calls them."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from penstock.exchange import Exchange, Leaf, Path

# Bytes looked at to tell a kind: names inside a ZIP archive stand within the first kilobytes.
SNIFFED_BYTES = 4096
# Readers take a PDF whose first line stands this far inside (ISO 32000-1, annex H).
PDF_HEAD_BYTES = 1024
# Names a JSON field gives the type of the bytes beside it.
_TYPE_FIELDS = ("media_type", "mimeType", "mime_type", "mediaType", "contentType", "content_type")
_DATA_URL = re.compile(r"data:([a-zA-Z0-9.+/-]{3,100})?[^,]{0,200},")
_START = re.compile(r"[A-Za-z0-9+/_\s-]*")

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\0asm", "application/wasm"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"{\\rtf", "application/rtf"),
)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_INSIDE_ZIP: tuple[tuple[bytes, str], ...] = (
    (b"word/", _OFFICE + "wordprocessingml.document"),
    (b"xl/", _OFFICE + "spreadsheetml.sheet"),
    (b"ppt/", _OFFICE + "presentationml.presentation"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
)


@dataclass(slots=True, frozen=True)
class Blob:
    """Bytes inside a request: what they are called, what they are, and how many."""

    types: frozenset[str]
    size_bytes: int


def kinds(start: bytes) -> frozenset[str]:
    """The types that the first bytes show; nothing where they show none."""
    found = {name for at, mark, name in _SIGNATURES if start[at : at + len(mark)] == mark}
    if b"%PDF-" in start[:PDF_HEAD_BYTES]:
        found.add("application/pdf")
    if "application/zip" in found:
        found |= {name for mark, name in _INSIDE_ZIP if mark in start[:SNIFFED_BYTES]}
    return frozenset(found)


def blobs_in(exchange: Exchange, body: bytes = b"") -> Iterator[Blob]:
    """Every blob of a request, as its parts name them and as its bytes show.

    ``body`` is needed for what stands in the body as it is (uploads).
    """
    for message in exchange.messages:
        for part in message.parts:
            if part.kind == "blob":
                yield Blob(frozenset((part.mime_type or "application/octet-stream",)),
                           part.size_bytes or 0)  # fmt: skip
    for leaf in exchange.leaves:
        if leaf.span is not None:
            if leaf.blob:
                start = body[leaf.span[0] : leaf.span[0] + SNIFFED_BYTES]
                yield Blob(kinds(start), leaf.span[1] - leaf.span[0])
        elif leaf.blob or leaf.text.startswith("data:"):
            yield _coded(exchange.document, leaf)


def _coded(document: Any, leaf: Leaf) -> Blob:
    """A blob in base64: its type by the ``data:`` URL, by the field beside it, by its bytes."""
    types, text = set(), leaf.text
    url = _DATA_URL.match(text)
    if url is not None:
        types.add(url[1] or "text/plain")
        text = text[url.end() :]
    stated = _stated(document, leaf.path)
    if stated is not None:
        types.add(stated)
    padding = text.count("=", max(0, len(text) - 2))
    return Blob(
        frozenset(types) | kinds(decoded(text, SNIFFED_BYTES)), len(text) * 3 // 4 - padding
    )


def decoded(text: str, limit: int | None = None) -> bytes:
    """The bytes of base64 (either alphabet), or at least the first ``limit``; of others none."""
    piece = text if limit is None else text[: limit * 2]
    run = _START.match(piece)
    plain = "".join((run[0] if run else "").split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4] + _rest(plain))
    except (binascii.Error, ValueError):
        return b""


def _rest(plain: str) -> str:
    tail = plain[len(plain) // 4 * 4 :]
    return tail + "=" * (4 - len(tail)) if len(tail) > 1 else ""


def _stated(document: Any, path: Path) -> str | None:
    """The type a field beside the bytes names, or beside what holds them."""
    value, above = document, []
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
        above.append(value)
    for holder in reversed(above[-2:]):
        if isinstance(holder, dict):
            named = next((holder[name] for name in _TYPE_FIELDS if name in holder), None)
            if isinstance(named, str):
                return named.lower()
            if isinstance(holder.get("format"), str):
                return _by_format(holder["format"][:20].lower())
    return None


@cache
def _table() -> dict[str, str]:
    import mimetypes

    return {ending.removeprefix("."): name for ending, name in mimetypes.types_map.items()}


def _by_format(word: str) -> str | None:
    """Bedrock's ``format: pdf``; the standard library's own table, never the machine's."""
    return _table().get(word)
