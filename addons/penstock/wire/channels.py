"""The texts of one streamed answer, told apart by channel, each on its way through its scanner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.wire.channel_text import ChannelScanner, ChannelText
from penstock.wire.family import Channel, Delta, Refusal
from penstock.wire.held import Piece

# Channels of one answer: choices times fields; provider streams stay below 100.
MAX_CHANNELS = 10_000

ScannerFor = Callable[[Channel], ChannelScanner | None]


class Channels:
    """Made with what gives each channel its scanner; None where no rule looks at the channel."""

    def __init__(self, scanner_for: ScannerFor | None) -> None:
        self._scanner_for = scanner_for
        self._channels: dict[Channel, ChannelText | None] = {}
        self._fed: dict[int, ChannelText] = {}  # texts that have grown since they were looked at
        self._last: tuple[Channel, ChannelText] | None = None  # of the piece before

    def __bool__(self) -> bool:
        return bool(self._channels)

    def take(self, deltas: Sequence[Delta]) -> list[Piece]:
        """Add an event's pieces of text to their channels; those that rules look at."""
        pieces = []
        for delta in deltas:
            piece = self._total(delta) if delta.total else self._piece(delta)
            if piece is not None:
                pieces.append(piece)
                self._fed[id(piece.text)] = piece.text
        return pieces

    def look(self) -> list[ChannelText]:
        """Show the scanners what came since the last look; the texts that had grown."""
        fed = list(self._fed.values())
        self._fed.clear()
        for text in fed:
            text.look()
        return fed

    def finish(self) -> Refusal | None:
        """Every text is over; the first refusal that came of it."""
        stop: Refusal | None = None
        for text in self._channels.values():
            if text is not None:
                text.finish()
                stop = stop or text.stop
        return stop

    def _piece(self, delta: Delta) -> Piece | None:
        channel = delta.channel
        if self._last is not None and self._last[0] is channel:  # most pieces; no hash of fields
            text: ChannelText | None = self._last[1]
        else:
            text = self._channels.get(channel)
        if text is None or text.closed:
            if not delta.text or (text is None and channel in self._channels):
                return None
            text = self._open(channel)
            if text is None:
                return None
        self._last = channel, text
        start = text.raw_length
        if delta.text:
            text.gather(delta.text)
        if delta.last:
            text.finish()
        return Piece(text, start, text.raw_length, delta)

    def _total(self, delta: Delta) -> Piece | None:
        """A piece that repeats its channel's text, or is a text of its own."""
        text = self._channels.get(delta.channel)
        if text is not None and text.repeats(delta.text):
            if delta.last:
                text.finish()
        else:
            if not delta.text or (text is None and delta.channel in self._channels):
                return None
            # Kept, so that the same words in the next event need no second look; never in
            # place of a text that grew by deltas.
            text = self._open(delta.channel, keep=text is None or text.whole)
            if text is None:
                return None
            text.whole = True
            text.feed(delta.text)
            text.finish()
        return Piece(text, 0, len(delta.text), delta)

    def _open(self, channel: Channel, keep: bool = True) -> ChannelText | None:
        self._last = None
        scanner = self._scanner_for(channel) if self._scanner_for else None
        text = None if scanner is None else ChannelText(scanner, channel.nested)
        if keep or text is None:
            if len(self._channels) >= MAX_CHANNELS:
                self._channels = {key: kept for key, kept in self._channels.items() if _open(kept)}
            if len(self._channels) >= MAX_CHANNELS and text is not None:
                text.problem = f"more than {MAX_CHANNELS} texts in one answer"
            self._channels[channel] = text
        return text


def _open(text: ChannelText | None) -> bool:
    return text is not None and not text.closed
