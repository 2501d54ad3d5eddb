"""Content codings (gzip, deflate, br, zstd) taken off a body, whole or as it streams.

Output is bounded in bytes and in ratio, so that a small body cannot fill the memory
(a decompression bomb). Nothing is ever compressed again here.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

# Model traffic compresses 3 to 10 times; a ratio of 200 is reached by bombs and by blank pages.
MAX_RATIO = 200
# Below this size the ratio says nothing: a few bytes of header expand a lot.
RATIO_FLOOR_BYTES = 1024 * 1024
# How much a decoder may produce at a time.
_STEP_BYTES = 256 * 1024
# zstd gives all of its output at once; a block of 128 KiB can be coded in 4 bytes.
_ZSTD_STEP_BYTES = 256

KNOWN = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})


class ContentCodingError(ValueError):
    """The body cannot be decoded: unknown coding, broken bytes, or larger than allowed."""


class _Sink:
    """Takes decoded pieces and enforces the bounds while they come."""

    def __init__(self, limit_bytes: int, ratio: int) -> None:
        self.taken = 0  # coded bytes so far
        self.given = 0  # decoded bytes so far
        self.pieces: list[bytes] = []
        self._limit_bytes = limit_bytes
        self._ratio = ratio

    def write(self, piece: bytes) -> int:
        self.given += len(piece)
        if self.given > self._limit_bytes:
            raise ContentCodingError(f"decoded body is larger than {self._limit_bytes} bytes")
        if self.given > RATIO_FLOOR_BYTES and self.given > self.taken * self._ratio:
            raise ContentCodingError(f"body expands more than {self._ratio} times")
        self.pieces.append(bytes(piece))
        return len(piece)


class _Coding(Protocol):
    def feed(self, data: bytes, sink: _Sink) -> None: ...
    def complete(self) -> bool: ...


class _Zlib:
    """gzip (RFC 1952, several members too) and deflate (RFC 1950; raw RFC 1951 is met as well)."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._decoder = zlib.decompressobj(window_bits)
        self._started = False
        self._head = b""

    def feed(self, data: bytes, sink: _Sink) -> None:
        if not self._started and self._window_bits == zlib.MAX_WBITS:
            self._head += data
            if len(self._head) < 2:
                return
            data = self._head
            if data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31:
                self._decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        full = False  # the last step gave all it may: there can be more without further data
        while data or full:
            if self._decoder.eof:
                if self._window_bits != 31 or not data.strip(b"\0"):
                    return  # padding after the end
                self._decoder = zlib.decompressobj(self._window_bits)
            self._started = True
            piece = self._decoder.decompress(data, _STEP_BYTES)
            sink.write(piece)
            data = self._decoder.unconsumed_tail or self._decoder.unused_data
            full = len(piece) == _STEP_BYTES and not self._decoder.eof

    def complete(self) -> bool:
        return self._decoder.eof


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        import brotli

        self._decoder: Any = brotli.Decompressor()

    def feed(self, data: bytes, sink: _Sink) -> None:
        sink.write(self._decoder.process(data, output_buffer_limit=_STEP_BYTES))
        while not self._decoder.can_accept_more_data():
            sink.write(self._decoder.process(b"", output_buffer_limit=_STEP_BYTES))

    def complete(self) -> bool:
        return bool(self._decoder.is_finished())


class _Zstandard:
    """zstd (RFC 8878, several frames too). The window is bounded as RFC 9659 asks."""

    def __init__(self) -> None:
        import zstandard

        self._library = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
        self._decoder = self._library.decompressobj()

    def feed(self, data: bytes, sink: _Sink) -> None:
        for at in range(0, len(data), _ZSTD_STEP_BYTES):
            piece = data[at : at + _ZSTD_STEP_BYTES]
            while piece:
                if self._decoder.eof:
                    self._decoder = self._library.decompressobj()
                sink.write(self._decoder.decompress(piece))
                piece = self._decoder.unused_data if self._decoder.eof else b""

    def complete(self) -> bool:
        return bool(self._decoder.eof)


class Decoder:
    """Decodes a body as it comes. ``coding`` is the header's value, several joined by commas."""

    def __init__(self, coding: str, limit_bytes: int, ratio: int = MAX_RATIO) -> None:
        names = [name.strip().lower() for name in coding.split(",")]
        self._stages: list[tuple[_Coding, _Sink]] = []
        for name in reversed([name for name in names if name not in ("", "identity")]):
            sink = _Sink(limit_bytes, ratio)
            self._stages.append((_open(name), sink))

    def feed(self, data: bytes) -> bytes:
        """The bytes that ``data`` decodes to; raises ContentCodingError."""
        for coding, sink in self._stages:
            sink.taken += len(data)
            try:
                coding.feed(data, sink)
            except ContentCodingError:
                raise
            except Exception as error:  # each library raises its own kind
                raise ContentCodingError("body is not what its content-encoding says") from error
            data = b"".join(sink.pieces)
            sink.pieces.clear()
        return data

    @property
    def complete(self) -> bool:
        """The coded stream reached its own end."""
        return all(coding.complete() for coding, _ in self._stages)


def _open(name: str) -> _Coding:
    if name in ("gzip", "x-gzip"):
        return _Zlib(31)
    if name == "deflate":
        return _Zlib(zlib.MAX_WBITS)
    if name == "br":
        return _Brotli()
    if name == "zstd":
        return _Zstandard()
    raise ContentCodingError("unknown content-encoding")


def decode(body: bytes, coding: str, limit_bytes: int, ratio: int = MAX_RATIO) -> bytes:
    """The whole body decoded; raises ContentCodingError, also when it is cut short."""
    decoder = Decoder(coding, limit_bytes, ratio)
    decoded = decoder.feed(body) if body else b""
    if body and not decoder.complete:
        raise ContentCodingError("coded body ends too early")
    return decoded
