"""What a scanner says after each piece of a growing text: the stream editor's own values."""

from penstock.wire.channel_text import Replacement, ScanStep

__all__ = ["Replacement", "ScanStep"]
