"""One call as the policy engine sees it: values only, no flow, no clock, no socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from penstock.detect.files.blobs import Blob
from penstock.exchange import Caller, Destination, Exchange
from penstock.meter.media import Media, media_of

Kind = Literal["model", "mcp", "other"]


@dataclass(slots=True)
class Call:
    """What is judged.

    ``id`` is the decision's id, shown to the caller and in the Record. ``body_bytes`` is the
    size of the decoded request body. ``path`` carries no query string (keys travel there).
    """

    exchange: Exchange
    caller: Caller
    destination: Destination
    id: str
    body_bytes: int = 0
    method: str = "POST"
    scheme: str = "https"
    path: str = "/"
    blobs: tuple[Blob, ...] = ()  # where a rule asks for them: see policy.files
    looked_into: bool = False  # its files were read
    _media: Media | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def media(self) -> Media:
        """Its pictures, sounds and documents, counted once."""
        if self._media is None:
            self._media = media_of(self.exchange)
        return self._media


def kind_of(call: Call) -> Kind:
    """The kind of destination: an MCP server, an AI service, or anything else."""
    if call.exchange.mcp is not None or call.destination.category == "mcp":
        return "mcp"
    if call.destination.category == "other" and call.exchange.api.startswith("unknown"):
        return "other"
    return "model"
