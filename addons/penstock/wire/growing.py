"""Texts of an answer that arrive in pieces, joined once when the stream is over.

Adding each piece to a string would copy what came before it for every event; pieces are
kept and joined by ``settle`` instead. Nothing here knows a provider.
"""

from __future__ import annotations

import json
from typing import Any

from penstock.exchange import Message, Part, PartKind


class Growing:
    """The parts of one streamed answer that still grow."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[Part, list[str]]] = {}

    def add(self, part: Part, piece: str) -> None:
        """One more piece of the part's text, or of a call's arguments."""
        self._pieces.setdefault(id(part), (part, []))[1].append(piece)

    def say(self, message: Message, kind: PartKind, piece: str) -> None:
        """One more piece of text at the end of the message, in a new part if the kind changes."""
        if not message.parts or message.parts[-1].kind != kind:
            message.parts.append(Part(kind))
        self.add(message.parts[-1], piece)

    def settle(self) -> None:
        """Put the joined pieces into their parts; arguments are parsed where they are JSON."""
        for part, pieces in self._pieces.values():
            text = "".join(pieces)
            if part.kind in ("tool_call", "server_tool_call"):
                part.arguments = parsed_arguments(text) if text.strip() else part.arguments
            else:
                part.text = (part.text or "") + text
        self._pieces.clear()


def parsed_arguments(text: str) -> Any:
    """A call's arguments as JSON, or the raw text where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
