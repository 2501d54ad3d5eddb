"""What a scanner says after each piece of a growing text. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.wire.family import Refusal


@dataclass(slots=True, frozen=True)
class Replacement:
    """Put ``text`` (plain, unescaped) in place of the channel's characters [start, end)."""

    start: int
    end: int
    text: str


@dataclass(slots=True)
class ScanStep:
    """``settled`` is the absolute offset up to which text may leave; ``stop`` ends the stream."""

    replacements: list[Replacement]
    settled: int
    stop: Refusal | None = None
