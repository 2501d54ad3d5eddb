"""The contract between the engine and whatever rewrites a streamed answer.

An addon sets ``flow.response.stream = transform`` in its ``responseheaders`` hook; from
then on the engine drives the transform, chunk by chunk, and owns the framing on the
wire. A transform never awaits and never sees the connection.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class StreamTransform(Protocol):
    """Bytes of an answer in, bytes out, in order.

    ``changes_length`` is read once, before the head leaves: True drops a
    ``Content-Length`` and uses chunked framing instead. ``finished`` is read after every
    call; True ends the answer well-formed after the returned bytes, cancels the upstream
    and leaves the client connection usable. Empty chunks are never put on the wire.
    """

    changes_length: bool
    finished: bool

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the body; return what may leave now."""
        ...

    def end(self) -> list[bytes]:
        """The body is complete; return what was held back."""
        ...

    def failed(self, error: BaseException) -> list[bytes]:
        """``feed`` or ``end`` raised: return the bytes that say so to the client.

        The answer then ends well-formed and the upstream is cancelled. When this raises
        too, the client connection is cut.
        """
        ...


@runtime_checkable
class Yielding(Protocol):
    """A transform that can stand aside where ``on_error`` lets the call go on."""

    def unchecked(self, chunk: bytes) -> list[bytes]:
        """``feed(chunk)`` raised (``end``: b""): what has not left yet; the rest passes too."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A transform that may hold a part of a stream back."""

    def break_off(self) -> list[bytes]:
        """The upstream broke off: what was held back is judged as it stands, and leaves."""
        ...
