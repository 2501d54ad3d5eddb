"""What a scanner says after each piece of a growing text: the wire room's words for it."""

from __future__ import annotations

from penstock.wire.channel_text import Replacement, ScanStep

__all__ = ["Replacement", "ScanStep"]
