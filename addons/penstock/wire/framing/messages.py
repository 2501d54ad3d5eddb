"""WebSocket messages as a framing: each message is one whole event, in and out.

A socket carries many answers. Whoever runs it opens one ``AnswerStream`` for each: when
``exchange.answer.complete`` is set, the next message belongs to the next answer.
"""

from __future__ import annotations

from dataclasses import dataclass

# Coded sound comes in pieces below 100 KB; an event with a whole answer stays below 1 MiB.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Message:
    """One message of a socket."""

    raw: bytes
    data: bytes | None
    name: str | None = None

    def rebuild(self, data: bytes) -> bytes:
        """The message with other data."""
        return data


class MessageParser:
    """One message in, the same message out. ``problem`` says when one was too large."""

    pending = 0

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.problem: str | None = None
        self._max_message_bytes = max_message_bytes

    def feed(self, data: bytes) -> list[Message]:
        """The message; none when it is too large to be read."""
        if len(data) > self._max_message_bytes:
            self.problem = f"a message longer than {self._max_message_bytes} bytes"
            return []
        return [Message(data, data)]

    def end(self) -> list[Message]:
        """Nothing is ever left over."""
        return []
