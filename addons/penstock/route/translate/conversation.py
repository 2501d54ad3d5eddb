"""The neutral request: what all three formats can say, and nothing else.

Plain values. ``where`` names the place in the caller's body a value came from, so that a
writer that cannot say it can name it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


class UntranslatableError(Exception):
    """A field that cannot be said in the other format; the text names it and no content.

    It never leaves this package: ``request.translate`` makes it a value.
    """

    def __init__(self, where: str, why: str = "") -> None:
        super().__init__(f"'{where}' cannot be translated" + (f": {why}" if why else ""))


@dataclass(slots=True)
class Text:
    """Words of a turn."""

    text: str
    where: str = field(default="", compare=False)


@dataclass(slots=True)
class Call:
    """A tool call the model made."""

    id: str
    name: str
    arguments: dict[str, Any]
    where: str = field(default="", compare=False)


@dataclass(slots=True)
class Result:
    """What a tool answered. ``failed``: the tool says that it did not work."""

    id: str
    name: str
    text: str
    failed: bool = False
    where: str = field(default="", compare=False)


Piece = Text | Call | Result
Who = Literal["user", "assistant"]


@dataclass(slots=True)
class Turn:
    """What one side said. Neighbouring turns of one side are one turn."""

    role: Who
    pieces: list[Piece] = field(default_factory=list)
    where: str = field(default="", compare=False)


@dataclass(slots=True)
class Tool:
    """A declared function; ``schema`` is JSON Schema."""

    name: str
    description: str | None
    schema: dict[str, Any]


@dataclass(slots=True)
class ToolChoice:
    """auto, none, any (some tool must be called), or one (the named one must be)."""

    mode: Literal["auto", "none", "any", "one"]
    name: str | None = None


@dataclass(slots=True)
class Conversation:
    """One call, in nobody's format. None means that the caller said nothing."""

    model: str | None = None
    system: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    choice: ToolChoice | None = None
    parallel: bool = True  # several tool calls in one answer are welcome
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = field(default_factory=list)
    user: str | None = None  # the end user's opaque id
    stream: bool = False
    wants_usage: bool = True  # of a stream: the caller hears what was used

    def say(self, role: Who, pieces: list[Piece], where: str) -> None:
        """Add to the conversation; one side's neighbouring turns become one."""
        if self.turns and self.turns[-1].role == role:
            self.turns[-1].pieces += pieces
        else:
            self.turns.append(Turn(role, pieces, where))

    def name_of(self, call_id: str) -> str | None:
        """The tool the call of this id was for: the last one of that id."""
        for turn in reversed(self.turns):
            for piece in turn.pieces:
                if isinstance(piece, Call) and piece.id == call_id:
                    return piece.name
        return None
