"""Texts of an answer that arrive in pieces, joined once when the stream is over.

Adding each piece to a string would copy what came before it for every event; pieces are
kept and joined by ``settle`` instead. Nothing here knows a provider.
"""

from __future__ import annotations

import json
from typing import Any

from penstock.exchange import Answer, Exchange, Message, Part, PartKind
from penstock.wire.json_family import started_answer

# What is kept of one answer's texts for records and limits; the rest streams by unkept.
KEPT_CHARACTERS_MAX = 1024 * 1024
# Blocks and calls of one answer; provider streams stay below 100.
KEPT_PARTS_MAX = 10_000


class Growing:
    """The parts of one streamed answer that still grow."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[Part, list[str]]] = {}
        self._room = KEPT_CHARACTERS_MAX

    def take(self, message: Message, parts: list[Part]) -> list[Part]:
        """Put new parts at the end of the message; answers those there was room for."""
        taken = parts[: max(0, KEPT_PARTS_MAX - len(message.parts))]
        message.parts += taken
        return taken

    def add(self, part: Part, piece: str) -> None:
        """One more piece of the part's text, or of a call's arguments."""
        if len(piece) > self._room:
            self._room = 0  # a text with holes would be worse than a beginning
            return
        self._room -= len(piece)
        known = self._pieces.get(id(part))
        if known is None:
            known = self._pieces[id(part)] = (part, [])
        known[1].append(piece)

    def say(self, message: Message, kind: PartKind, piece: str) -> None:
        """One more piece of text at the end of the message, in a new part if the kind changes."""
        last = message.parts[-1:]
        if not last or last[0].kind != kind:
            last = self.take(message, [Part(kind)])
        if last:
            self.add(last[0], piece)

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


class OneMessageReader:
    """What readers of a stream that says one message begin and end with.

    Subclasses take its events; what grows in ``message`` is joined at the end.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.answer: Answer = started_answer(exchange)
        self.message = Message("assistant")
        self.answer.messages = [self.message]
        self.growing = Growing()

    def end(self) -> None:
        """Join the pieces."""
        self.growing.settle()
