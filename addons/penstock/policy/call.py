"""One call as the policy engine sees it: values only, no flow, no clock, no socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.exchange import Caller, Destination, Exchange

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


def kind_of(call: Call) -> Kind:
    """The kind of destination: an MCP server, an AI service, or anything else."""
    if call.exchange.mcp is not None or call.destination.category == "mcp":
        return "mcp"
    if call.destination.category == "other" and call.exchange.api.startswith("unknown"):
        return "other"
    return "model"
