"""The AWS event stream framing (application/vnd.amazon.eventstream), sans-io.

A frame is: total length, header length, CRC of those eight bytes, headers, payload, CRC of
all before it; numbers big-endian, CRC-32 (Smithy specification, "Amazon Event Stream").
Both CRCs are verified; a frame whose payload changed gets new lengths and CRCs.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

# Frames seen are below 20 KB; the format itself would allow 16 MiB.
MAX_FRAME_BYTES = 1024 * 1024
_PRELUDE = 12
_SMALLEST = 16
# Sizes of header values by type; types 6 and 7 carry a length of their own.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


@dataclass(slots=True)
class Frame:
    """One frame. ``name`` is its event, exception or error type; ``data`` the payload."""

    raw: bytes
    data: bytes | None
    name: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def rebuild(self, data: bytes) -> bytes:
        """The frame with another payload: headers as they were, new lengths and CRCs."""
        header_length = struct.unpack_from(">I", self.raw, 4)[0]
        return encode(self.raw[_PRELUDE : _PRELUDE + header_length], data)


class FrameParser:
    """Cuts a byte stream into frames. Never raises; ``problem`` says when it gave up."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.problem: str | None = None
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; none after a problem."""
        self._buffer += data
        frames: list[Frame] = []
        at = 0
        while self.problem is None and len(self._buffer) - at >= _PRELUDE:
            total, _, check = struct.unpack_from(">III", self._buffer, at)
            if zlib.crc32(self._buffer[at : at + 8]) != check:
                self.problem = "event stream prelude with a wrong checksum"
            elif not _SMALLEST <= total <= self._max_frame_bytes:
                self.problem = f"event stream frame of {total} bytes"
            elif len(self._buffer) - at < total:
                break
            else:
                frame = self._frame(bytes(self._buffer[at : at + total]))
                if frame is not None:
                    frames.append(frame)
                    at += total
        del self._buffer[:at]
        return frames

    def end(self) -> list[Frame]:
        """The bytes of a cut frame, or nothing."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return [Frame(rest, None)] if rest else []

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def _frame(self, raw: bytes) -> Frame | None:
        header_length = struct.unpack_from(">I", raw, 4)[0]
        if zlib.crc32(raw[:-4]) != struct.unpack(">I", raw[-4:])[0]:
            self.problem = "event stream frame with a wrong checksum"
            return None
        if _PRELUDE + header_length + 4 > len(raw):
            self.problem = "event stream frame with headers longer than itself"
            return None
        headers = _headers(raw[_PRELUDE : _PRELUDE + header_length])
        name = headers.get(":event-type") or headers.get(":exception-type")
        name = name or headers.get(":error-code")
        return Frame(raw, raw[_PRELUDE + header_length : -4], name, headers)


def encode(headers: bytes, payload: bytes) -> bytes:
    """A frame of encoded headers and payload."""
    prelude = struct.pack(">II", _SMALLEST + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def encode_headers(headers: dict[str, str]) -> bytes:
    """String headers in wire form (type 7)."""
    pieces = []
    for name, value in headers.items():
        key, text = name.encode(), value.encode()
        pieces += [bytes([len(key)]), key, b"\x07", struct.pack(">H", len(text)), text]
    return b"".join(pieces)


def _headers(block: bytes) -> dict[str, str]:
    """The string headers; broken ones end the list."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(block):
            size = block[at]
            name = block[at + 1 : at + 1 + size].decode("utf-8", "replace")
            at += 1 + size
            kind = block[at]
            at += 1
            if kind in (6, 7):
                length = struct.unpack_from(">H", block, at)[0]
                if kind == 7:
                    found[name] = block[at + 2 : at + 2 + length].decode("utf-8", "replace")
                at += 2 + length
            else:
                at += _FIXED[kind]
    except (IndexError, KeyError, struct.error):
        return found
    return found
