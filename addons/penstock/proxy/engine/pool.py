"""Upstream connections that outlive their client: kept open a while for the next one.

For clients that open a connection for each call. A connection is kept only when it is idle and
clean (nothing under way, nothing unread, not bound to a caller by its authentication), and given
only to a client from the same address, for the same destination, name and TLS. Whatever happens
on it while it is kept (a byte, an end, an error) ends it: it is never handed out unsure. The
handshake with the upstream, and the check of its certificate, have been made and stay made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.server import ConnectionIO
from OpenSSL import SSL

# A sidecar's callers use a handful of services, a few calls at a time.
KEPT_MAX, KEPT_MAX_PER_KEY = 64, 8
# Servers end idle connections after 60 s as a rule, some after 30 s; a call sent into one that is
# ending is lost, and may have been accepted, so it is not sent again.
KEPT_SECONDS = 20.0

# Client address, destination address, server name ("" without TLS).
Key = tuple[str, tuple[str, int], str]


@dataclass(slots=True, eq=False)
class Kept:
    """One open connection without a client."""

    key: Key
    server: Server
    ssl: SSL.Connection | None
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float
    free: bool = False  # its last owner has let go of it
    watch: asyncio.Task[None] | None = None

    def sound(self) -> bool:
        """True when it is idle and open, as far as can be known without asking."""
        # The buffer is what the stream reader has no question for: a byte that came unasked.
        unread = getattr(self.reader, "_buffer", b"")
        young = monotonic() - self.since < KEPT_SECONDS
        open_still = not self.reader.at_eof() and self.reader.exception() is None
        return self.free and young and open_still and not unread and not self.writer.is_closing()

    async def released(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Its two ends, once nobody listens to it any more: a stream has one reader."""
        watch, self.watch = self.watch, None  # or each owner would remember all before it
        if watch is not None:
            await asyncio.wait([watch])
        return self.reader, self.writer


class Pool:
    """All kept connections of one engine."""

    def __init__(self) -> None:
        self._kept: dict[Key, list[Kept]] = {}
        self._given: dict[Server, Kept] = {}  # on the way to their new owner
        self.reused = 0

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def keep(self, one: Kept, owner: asyncio.Task[None]) -> None:
        """Take over a connection whose ``owner`` is about to end."""
        found = self._kept.setdefault(one.key, [])
        found.append(one)
        one.watch = asyncio.create_task(self._watch(one, owner))
        if len(found) > KEPT_MAX_PER_KEY:
            self._end(found[0])
        if len(self) > KEPT_MAX:
            self._end(next(self._all()))

    def take(self, key: Key) -> Kept | None:
        """A sound connection, the one used last; those that are not sound are ended."""
        while found := [one for one in self._kept.get(key, ()) if one.free]:
            one = found[-1]
            sound = one.sound()
            self._forget(one)
            if sound:
                self.reused += 1
                return one
            one.writer.close()
        return None

    def hand_over(self, one: Kept, server: Server) -> None:
        """``one`` goes on as ``server``, whose opening collects it."""
        self._given[server] = one

    def collect(self, server: Server) -> Kept | None:
        """The open connection ``server`` stands for; None: it has to be opened."""
        return self._given.pop(server, None)

    def close(self) -> None:
        """End them all."""
        for one in list(self._all()):
            self._end(one)

    def _all(self) -> Iterator[Kept]:
        return (one for found in list(self._kept.values()) for one in list(found))

    def _forget(self, one: Kept) -> None:
        found = self._kept.get(one.key, [])
        if one in found:
            found.remove(one)
        if not found:
            self._kept.pop(one.key, None)
        if one.watch is not None and one.watch is not asyncio.current_task():
            one.watch.cancel()

    def _end(self, one: Kept) -> None:
        self._forget(one)
        one.writer.close()

    async def _watch(self, one: Kept, owner: asyncio.Task[None]) -> None:
        """Wait for anything to happen on it, or for its time to be over: then it ends."""
        await asyncio.wait([owner])  # it is still reading
        del owner
        one.free = True
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(KEPT_SECONDS):
                await one.reader.read(1)
        self._end(one)


class KeptOpen:
    """In place of the writer of a connection that goes on without its owner: closes nothing."""

    def close(self) -> None:
        """The owner is through with it."""

    def is_closing(self) -> bool:
        """True: the owner writes no more."""
        return True

    async def drain(self) -> None:
        """Nothing is written."""


class Tls(tls.ServerTLSLayer):
    """TLS with an upstream, or what is left of it when its connection changes its owner."""

    kept: SSL.Connection | None = None

    def start_handshake(self) -> layer.CommandGenerator[None]:
        """Begin the handshake; one that was made is not made again."""
        if self.kept is None:
            yield from super().start_handshake()
            return
        self.tls, self.kept = self.kept, None
        yield from self._handshake_finished(None)


def key_of(context: Context, server: Server) -> Key:
    """Who may share a connection to ``server``."""
    assert server.address
    name = (server.sni or "") if server.tls else ""
    peer = context.client.peername
    return (peer[0] if peer else ""), (server.address[0], server.address[1]), name


def resumed(one: Kept) -> Server:
    """A connection that has not been opened yet, and will turn out to be ``one``."""
    old = one.server
    made = Server(address=old.address)
    made.sni, made.tls, made.alpn = old.sni, old.tls, old.alpn
    made.certificate_list, made.cipher = old.certificate_list, old.cipher
    made.tls_version, made.timestamp_tls_setup = old.tls_version, old.timestamp_tls_setup
    return made


def kept_from(
    key: Key, server: Connection, stack: Any, io: ConnectionIO, since: float
) -> Kept | None:
    """The connection of a client that is gone, if it can be kept: idle and clean."""
    reader, writer = io.reader, io.writer
    if not isinstance(server, Server) or server.state is not ConnectionState.OPEN:
        return None
    if not isinstance(reader, asyncio.StreamReader) or not isinstance(writer, asyncio.StreamWriter):
        return None
    upper: Any = stack.child_layer if isinstance(stack, Tls) else stack
    if not getattr(upper.child_layer, "may_be_kept", False):
        return None
    ssl = stack.tls if isinstance(stack, Tls) else None
    if reader.at_eof() or writer.is_closing() or (ssl and (ssl.pending() or ssl.get_shutdown())):
        return None
    return Kept(key, server, ssl, reader, writer, since)
