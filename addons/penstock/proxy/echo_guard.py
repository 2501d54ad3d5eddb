"""Keeps a real key out of an answer that streams: byte by byte, and text by text.

Bytes are cleaned before anything reads the stream; texts are scanned for keys that are
spread over events.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.policy.answer import Together
from penstock.proxy.aside import goes_aside
from penstock.proxy.call import LiveCall
from penstock.proxy.engine.stream import Holding, StreamTransform
from penstock.route.credentials.echoes import Echoes, EchoStream
from penstock.wire.channel_text import ChannelScanner
from penstock.wire.channels import ScannerFor
from penstock.wire.content_coding import Decoder
from penstock.wire.family import Channel

# A decoded answer stream; more than any context window can hold.
DECODED_BYTES_MAX = 512 * 1024 * 1024


def watch_for(live: LiveCall, secrets: Sequence[str]) -> None:
    """From here on nothing of ``secrets`` may reach the caller of this call."""
    live.echoes = Echoes(secrets)
    live.scanner_for = with_echoes(live.scanner_for, live.echoes)


def with_echoes(inner: ScannerFor | None, echoes: Echoes) -> ScannerFor:
    """The policy's scanners, each beside one that looks for echoes."""

    def scanner(channel: Channel) -> ChannelScanner:
        other = inner(channel) if inner is not None else None
        own = echoes.scanner()
        return own if other is None else Together([own, other])

    return scanner


class EchoGuard:
    """A ``StreamTransform`` in front of another one: decodes, cleans, hands on."""

    def __init__(self, echoes: Echoes, coding: str, inner: StreamTransform) -> None:
        self.inner = inner
        self.stream = EchoStream(echoes)
        self.decoder = Decoder(coding, DECODED_BYTES_MAX) if coding else None
        self.changes_length = inner.changes_length or bool(coding)
        self.finished = False

    @property
    def aside(self) -> bool:
        """As the one behind it."""
        return goes_aside(self.inner)

    def feed(self, chunk: bytes) -> list[bytes]:
        return self.hand_on(self.stream.feed(self.decoder.feed(chunk) if self.decoder else chunk))

    def end(self) -> list[bytes]:
        out = self.hand_on(self.stream.end())
        if not self.finished:
            out += self.inner.end()
            self.finished = self.inner.finished
        return out

    def break_off(self) -> list[bytes]:
        if not isinstance(self.inner, Holding):
            return []
        return self.hand_on(self.stream.end()) + self.inner.break_off()

    def hand_on(self, plain: bytes) -> list[bytes]:
        out = self.inner.feed(plain) if plain else []
        self.finished = self.inner.finished
        return out

    def failed(self, error: BaseException) -> list[bytes]:
        return self.inner.failed(error)
