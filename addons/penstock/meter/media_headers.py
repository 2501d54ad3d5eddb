"""What the first bytes of a picture or a sound say: width and height, seconds.

Only headers are read, bounded, without a library: the numbers serve an estimate, and what
cannot be read has a stated default. Nothing is decompressed.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

# Enough for all but JPEG, whose size stands behind its metadata (up to 64 KiB a segment).
HEADER_CHARACTERS = 4096
# Camera metadata, a colour profile and a preview come before a JPEG's size; more is no photo.
JPEG_CHARACTERS_MAX = 512 * 1024
# Segments before the size; real files have some twenty.
SEGMENTS_MAX = 200
# Providers refuse pictures above 8000 pixels (Anthropic) or scale them down.
EDGE_MAX = 20_000

# A compressed sound, by its common bit rates: 64 kbit/s of Opus and AAC speech, 128 of MP3.
SPEECH_BYTES_PER_SECOND = 8_000
MP3_BYTES_PER_SECOND = 16_000
VIDEO_BYTES_PER_SECOND = 125_000  # 1 Mbit/s
# Nobody's context holds more: Gemini's, the longest, ends at 9.5 hours of sound.
SECONDS_MAX = 34_200.0
# A page of a PDF: scans have some 100 KB, text 10 KB.
PAGE_BYTES = 50_000
PAGES_MAX = 1000  # of one document, what the providers take

_PAGE = re.compile(rb"/Type ?/Page[^s]")
# JPEG's start-of-frame markers; C4, C8 and CC are something else (ITU T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


@dataclass(slots=True, frozen=True)
class Size:
    """Pixels."""

    width: int
    height: int


def decoded(text: str, characters: int) -> bytes:
    """The first bytes of a base64 text, of either alphabet; what is no base64 is passed over."""
    head = text[:characters].encode("ascii", "ignore").translate(_URL_SAFE)
    try:
        return base64.b64decode(head[: len(head) // 4 * 4])
    except binascii.Error:
        return b""


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def picture_size(text: str) -> Size | None:
    """Width and height of a PNG, JPEG, GIF or WebP in base64; None where they cannot be read."""
    head = decoded(text, HEADER_CHARACTERS)
    found = (0, 0)
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        found = _big(head, 16, 4), _big(head, 20, 4)
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        found = _little(head, 6, 2), _little(head, 8, 2)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = _webp(head)
    elif head.startswith(b"\xff\xd8"):
        found = _jpeg(head)
        if not all(found) and len(text) > HEADER_CHARACTERS:
            found = _jpeg(decoded(text, JPEG_CHARACTERS_MAX))
    width, height = found
    if 0 < width <= EDGE_MAX and 0 < height <= EDGE_MAX:
        return Size(width, height)
    return None


def _big(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")


def _webp(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return _little(head, 24, 3) + 1, _little(head, 27, 3) + 1
    if kind == b"VP8L" and head[20:21] == b"\x2f" and len(head) >= 25:
        bits = _little(head, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        return _little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF
    return 0, 0


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(SEGMENTS_MAX):
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            break
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _FRAMES:
            return _big(data, at + 7, 2), _big(data, at + 5, 2)
        else:
            at += 2 + _big(data, at + 2, 2)
    return 0, 0


def sound_seconds(text: str, mime_type: str) -> float:
    """How long a sound is: exact for WAV, else by its size and a common bit rate."""
    size = len(text) * 3 // 4
    head = decoded(text, HEADER_CHARACTERS)
    rate = SPEECH_BYTES_PER_SECOND
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        at = head.find(b"fmt ")
        stated = _little(head, at + 16, 4) if at >= 0 else 0
        rate = stated or 48_000  # 24 kHz, 16 bit, one channel
    elif mime_type.endswith(("pcm16", "l16", "pcm")):
        rate = 48_000
    elif head[:3] == b"ID3" or mime_type.endswith(("mp3", "mpeg")):
        rate = MP3_BYTES_PER_SECOND
    return min(size / rate, SECONDS_MAX)


def video_seconds(text: str) -> float:
    """How long a film is, by its size."""
    return min(len(text) * 3 / 4 / VIDEO_BYTES_PER_SECOND, SECONDS_MAX)


def document_pages(text: str) -> int:
    """How many pages a PDF has: those that can be seen in its beginning, else by its size."""
    seen = len(_PAGE.findall(decoded(text, JPEG_CHARACTERS_MAX)))
    return max(1, min(PAGES_MAX, max(seen, len(text) * 3 // 4 // PAGE_BYTES)))
