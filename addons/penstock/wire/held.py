"""An event that waits for a candidate's end, and how it leaves when its texts are settled.

A replacement goes into the event in which the match begins; the matched characters are taken
out of the others. All else of the event stays as it came.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.exchange import Path
from penstock.wire.channel_text import ChannelText
from penstock.wire.edits import Cut, cut_strings, merge
from penstock.wire.family import Delta
from penstock.wire.framing.framings import Frame


@dataclass(slots=True)
class Piece:
    """Where a delta's text stands: raw ``[start, end)`` of a channel, at ``path`` of the event."""

    text: ChannelText
    start: int
    end: int
    delta: Delta


@dataclass(slots=True)
class Held:
    """An event and the texts it carries."""

    frame: Frame
    pieces: list[Piece]

    def changed(self) -> bytes | None:
        """The event with what was found replaced; None when it leaves as it came."""
        cuts: list[Cut] = []
        nulls: set[Path] = set()
        for piece in self.pieces:
            for start, end, text in piece.text.replaced(piece.start, piece.end):
                cuts.append(Cut(piece.delta.path, start, end, text))
                nulls.update(piece.delta.shadows)
        data = self.frame.data
        if not cuts or data is None:
            return None
        if cuts[0].path:
            return self.frame.rebuild(cut_strings(data, cuts, nulls))
        text, at, kept = data.decode("utf-8", "replace"), 0, []
        for start, end, new in merge([(cut.start, cut.end, cut.text) for cut in cuts]):
            kept += [text[at:start], new]
            at = end
        return self.frame.rebuild("".join([*kept, text[at:]]).encode("utf-8", "replace"))
