"""Lines from and to this process's own pipes and those of a child, bounded.

Reading waits for the other side and writing for whoever reads: neither holds the loop.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from typing import IO

# As the proxy's largest body: a line is a message.
LINE_BYTES_MAX = 32 * 1024 * 1024
CHUNK_BYTES = 64 * 1024

Read = Callable[[], Awaitable[bytes]]


class OverlongLineError(Exception):
    """A line is longer than may be kept; what follows it cannot be told apart."""


class Lines:
    """Cuts what ``read`` gives (empty: the end) into lines with their ends."""

    def __init__(self, read: Read, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._read = read
        self._max = line_bytes_max
        self._waiting = bytearray()
        self._searched = 0

    async def next(self) -> bytes:
        """The next line; empty at the end. An unfinished last line is given as it is.

        Raises:
            OverlongLineError: it is longer than is allowed.
        """
        while True:
            at = self._waiting.find(b"\n", self._searched)
            if at >= 0:
                line = bytes(self._waiting[: at + 1])
                del self._waiting[: at + 1]
                self._searched = 0
                if len(line) > self._max:
                    raise OverlongLineError
                return line
            self._searched = len(self._waiting)
            if self._searched > self._max:
                raise OverlongLineError
            chunk = await self._read()
            if not chunk:
                rest = bytes(self._waiting)
                self._waiting.clear()
                self._searched = 0
                return rest
            self._waiting += chunk


async def reader_of(pipe: IO[bytes]) -> Read:
    """What reads this process's input, whatever kind of file it is."""
    if is_regular(pipe):
        return lambda: asyncio.to_thread(os.read, pipe.fileno(), CHUNK_BYTES)
    reader = asyncio.StreamReader(limit=CHUNK_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return lambda: reader.read(CHUNK_BYTES)


class Output:
    """Writes to this process's output. ``closed`` once nobody reads it any more."""

    def __init__(self, pipe: IO[bytes], writer: asyncio.StreamWriter | None) -> None:
        self._pipe = pipe
        self._writer = writer
        self.closed = False

    @classmethod
    async def over(cls, pipe: IO[bytes]) -> Output:
        """For a pipe, a socket, a terminal or a file."""
        if is_regular(pipe):
            return cls(pipe, None)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, pipe)
        return cls(pipe, asyncio.StreamWriter(transport, protocol, None, loop))

    async def write(self, lines: list[bytes]) -> None:
        """Write, and wait while the reader is slow."""
        if self.closed or not lines:
            return
        try:
            if self._writer is None:
                await asyncio.to_thread(self._pipe.write, b"".join(lines))
                await asyncio.to_thread(self._pipe.flush)
            else:
                self._writer.writelines(lines)
                await self._writer.drain()
        except (BrokenPipeError, ConnectionError):
            self.closed = True

    async def close(self) -> None:
        """Let what was written leave."""
        if self._writer is not None and not self.closed:
            self._writer.transport.set_write_buffer_limits(high=0)
            await self.write([b""])


def is_regular(pipe: IO[bytes]) -> bool:
    """A plain file, which the event loop cannot wait for."""
    return stat.S_ISREG(os.fstat(pipe.fileno()).st_mode)
