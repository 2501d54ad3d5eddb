"""One streamed answer on its way to the client: read, scanned, and changed only where needed.

Whole events go out in order. While a scanner still waits for the end of a candidate, events
queue; when the candidate dies they leave as they came, byte for byte. When a match
completes over several events, its replacement goes into the first and the matched
characters are taken out of the others; every event stays. Nothing here knows a provider.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from penstock.exchange import Exchange
from penstock.wire import content_coding
from penstock.wire.channel_text import ChannelScanner, ChannelText, Replacement, ScanStep
from penstock.wire.channels import Channels, ScannerFor
from penstock.wire.family import Delta, Family, Framing, Refusal
from penstock.wire.framing.framings import (
    PARSERS,
    Frame,
    Parser,
    is_fragment,
    read_document,
    unclaimed,
)
from penstock.wire.framing.sse import SseParser
from penstock.wire.held import Held
from penstock.wire.json_family import started_answer

__all__ = ["AnswerStream", "ChannelScanner", "Replacement", "ScanStep", "utf8_size"]

# What may wait for a candidate's end: more is no secret. Each event counts with what it takes in
# memory besides its bytes, so 10 KB that come letter by letter are 8 MiB.
MAX_HELD_BYTES = 16 * 1024 * 1024
HELD_EVENT_BYTES = 600
# Events looked at together: enough of them that a look costs each next to nothing, and few
# enough that what waits meanwhile stays small.
LOOK_EVENTS = 256
# A decoded answer stream; more than any context window can hold.
MAX_DECODED_BYTES = 512 * 1024 * 1024


def utf8_size(text: str) -> int:
    """The bytes of a text: what is counted where a provider has not said how many tokens."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class AnswerStream:
    """Feeds on the answer's bytes and gives the bytes to send.

    ``scanner_for`` answers a scanner for each channel that rules look at, or None; without it
    nothing can change and bytes pass as they come, in whatever coding. ``coding`` is the answer's
    content-encoding: a stream that may be edited leaves decoded, and ``decoded`` is then True.
    ``hide`` names events to drop whole; ``on_text`` hears how many bytes of text an event brought.
    With ``watches`` the scanners see every text and change nothing: bytes pass as without them.
    ``on_problem`` is asked when the stream cannot be read on: a Refusal stops it, None passes the
    rest unread; without it an answer under rules stops. After each call ``stopped`` is the refusal
    that ended the stream (cancel the upstream), and ``problem`` says why reading gave up.
    """

    def __init__(
        self,
        exchange: Exchange,
        family: Family,
        framing: Framing,
        scanner_for: ScannerFor | None = None,
        *,
        coding: str = "",
        hide: Callable[[Any], bool] | None = None,
        on_problem: Callable[[str], Refusal | None] | None = None,
        on_text: Callable[[int], None] | None = None,
        watches: bool = False,
    ) -> None:
        self.stopped: Refusal | None = None
        self.problem: str | None = None
        self.edited = 0  # events whose bytes were changed
        self._exchange = exchange
        self._family = family
        self._answer = started_answer(exchange)
        self._reader = family.answer_reader(exchange)
        self._parser: Parser | None = PARSERS[framing]() if framing in PARSERS else None
        self._scanner_for = scanner_for
        self._hide = hide
        self._on_problem, self._on_text = on_problem, on_text
        self._apart = framing == "message"  # each piece of output is a message of its own
        self._passes = watches or (scanner_for is None and hide is None)
        self._decoder: content_coding.Decoder | None = None
        if coding.strip().lower() not in ("", "identity"):
            self._open_decoder(coding)
        self.decoded = self._decoder is not None and not self._passes
        self._texts = Channels(scanner_for)
        self._queue: deque[Held] = deque()
        self._coming: deque[Frame] = deque()  # of this feed, not yet taken
        self._out: list[bytes] = []  # of this feed, ready to leave
        self._held_bytes = 0
        self._finished = False
        self._whole: int | None = 0  # events that had left when a feed began; None: and half a one

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete yet."""
        return 0 if self._parser is None else self._parser.pending

    def feed(self, data: bytes) -> list[bytes]:
        """The bytes to send now for the bytes that came (maybe none)."""
        if self.stopped or not data:
            return []
        if self._parser is None or self.problem:
            return [self._unread(data)]
        plain = self._decode(data)
        if self._passes:
            self._whole = None if self._parser.pending else self._answer.events
            for frame in self._parser.feed(plain):
                self._look(frame)
            self._settle([])
            return self._given_up(data) if self._parser.problem else [data]
        calm = not self._queue and not self._parser.pending and not self.decoded
        before = self.edited
        out: list[bytes] = []
        self._out = out
        self._coming.extend(self._parser.feed(plain))
        try:
            while self._coming and self.stopped is None:
                self._take(self._coming[0], out)
                self._coming.popleft()
        finally:
            self._settle(out)
        if self.stopped:
            return out
        if self._parser.problem:
            return self._unreadable(out, data)
        if calm and self.edited == before and not self._queue and not self._parser.pending:
            return [data]
        return self._joined(out)

    def end(self) -> list[bytes]:
        """The bytes to send when the answer is over, cut or complete."""
        if self._finished:
            return []
        self._finished = True
        out: list[bytes] = []
        if self._parser and not self.stopped and not self.problem:
            for frame in self._parser.end():
                if self._passes:
                    self._look(frame)
                elif self._scanner_for is None or not is_fragment(frame.data):
                    self._take(frame, out)
            self._settle(out)
            if not self.stopped:
                self._finish_texts(out)
                self._release(out)
        self._reader.end()
        return [] if self._passes else self._joined(out)

    def pass_on(self, data: bytes) -> list[bytes]:
        """After ``feed(data)`` raised: what has not left yet, as it came; so does the rest.

        Of an answer that may change, edits that are done stay done.
        """
        self.problem = self.problem or "a check failed"
        if self._passes or self._parser is None:
            return [data] if data else []
        held = [one.frame for one in self._queue]
        coming = [frame for frame in self._coming if not held or frame is not held[-1]]
        rest = [frame.raw for frame in (*held, *coming, *self._parser.end())]
        out = [*self._out, *rest]
        self._queue.clear()
        self._coming.clear()
        return self._joined(out)

    def broken(self) -> list[bytes]:
        """After ``feed(data)`` raised: what of it was judged, to leave before the last words.

        Raises where no last words would be read: inside an event, or in a coding.
        """
        out, self._out = self._joined(self._out), []
        if self._passes:
            if self._whole is None or self._decoder is not None:
                raise ValueError("the stream cannot be ended well-formed here")
            self._answer.events_sent = self._whole
        self._queue.clear()
        self._coming.clear()
        return out

    def _unread(self, data: bytes) -> bytes:
        """Bytes nobody reads any more; their head said that they come without coding."""
        return self._decoder.feed(data) if self.decoded and self._decoder else data

    def close(self) -> None:
        """The answer was stopped or broke off: what came of it counts as read. Harmless twice."""
        if not self._finished:
            self._finished = True
            self._reader.end()

    def _joined(self, out: list[bytes]) -> list[bytes]:
        return out if self._apart or not out else [b"".join(out)]

    # ------------------------------------------------------------------ one event

    def _look(self, frame: Frame) -> None:
        """Read an event that leaves as it came, and show it to scanners that only watch."""
        if self._scanner_for is None:
            self._read(frame)
        else:
            self._take(frame, [])

    def _read(self, frame: Frame) -> tuple[Any, list[Delta]]:
        data = frame.data
        if data is None:
            return None, []
        self._answer.events += 1
        document = read_document(data)
        deltas = self._reader.event(frame.name, document)
        if self._on_text is not None:
            self._on_text(sum(utf8_size(delta.text) for delta in deltas if not delta.total))
        if not deltas:
            deltas = unclaimed(document)
        return document, deltas

    def _take(self, frame: Frame, out: list[bytes]) -> None:
        document, deltas = self._read(frame)
        if self._hide is not None and self._hide(document):
            self.edited += 1
            return
        pieces = self._texts.take(deltas)
        if self._answer.complete and self._texts:
            self._settle(out)
            self._finish_texts(out)
            if self.stopped:
                return
        if not pieces and not self._queue:
            out.append(frame.raw)
            self._answer.events_sent += frame.data is not None
            return
        self._queue.append(Held(frame, pieces))
        self._held_bytes += len(frame.raw) + HELD_EVENT_BYTES
        if len(self._queue) % LOOK_EVENTS == 0:
            self._settle(out)

    def _settle(self, out: list[bytes]) -> None:
        """Show the scanners what came, all of it at once, and send what they let go."""
        fed = self._texts.look()
        self._release(out)
        if self.stopped is None:
            self._heed(fed, out)
        if self.stopped is None and self._held_bytes > MAX_HELD_BYTES:
            self._fail(f"more than {MAX_HELD_BYTES >> 20} MiB held for one candidate", out)

    def _finish_texts(self, out: list[bytes]) -> None:
        stop = self._texts.finish()
        if stop is not None and self.stopped is None:
            self._stop(stop, out)

    # ------------------------------------------------------------------ what leaves

    def _release(self, out: list[bytes]) -> None:
        """Send every event at the head of the queue whose texts are settled."""
        queue = self._queue
        while queue and self.stopped is None:
            held = queue[0]
            may_change = False
            for piece in held.pieces:
                text = piece.text
                may_change = may_change or text.is_changed
                if text.problem is not None and text.stop is None:
                    return self._fail(text.problem, out)
                if piece.end > text.settled:
                    return None if text.stop is None else self._stop(text.stop, out)
            frame, changed = held.frame, held.changed() if may_change else None
            queue.popleft()
            out.append(frame.raw if changed is None else changed)
            self.edited += changed is not None
            self._held_bytes -= len(frame.raw) + HELD_EVENT_BYTES
            self._answer.events_sent += frame.data is not None
        return None

    def _heed(self, texts: list[ChannelText], out: list[bytes]) -> None:
        """Stop at once, whatever is still held before the event that asks for it."""
        for text in texts:
            if text.stop is not None:
                return self._stop(text.stop, out)
            if text.problem is not None and self.problem is None:
                return self._fail(text.problem, out)
        return None

    def stop(self, refusal: Refusal) -> list[bytes]:
        """End the stream now, for a reason outside of it: the API's own last words."""
        out: list[bytes] = []
        self._stop(refusal, out)
        return self._joined(out)

    def _stop(self, refusal: Refusal, out: list[bytes]) -> None:
        self.stopped = refusal
        self._queue.clear()
        last_words = self._family.stream_refusal(self._exchange, refusal)
        if self._apart:
            events = SseParser().feed(last_words)
            out += [event.data for event in events if event.data not in (None, b"[DONE]")]
        else:
            out.append(last_words)

    # ------------------------------------------------------------------ what cannot be read

    def _open_decoder(self, coding: str) -> None:
        try:
            self._decoder = content_coding.Decoder(coding, MAX_DECODED_BYTES)
        except content_coding.ContentCodingError as error:
            self._parser = self._parser or SseParser()
            self._parser.problem = str(error)

    def _decode(self, data: bytes) -> bytes:
        if self._decoder is None:
            return b"" if self._parser and self._parser.problem else data
        try:
            return self._decoder.feed(data)
        except content_coding.ContentCodingError as error:
            if self._parser is not None:
                self._parser.problem = str(error)
            return b""

    def _given_up(self, data: bytes) -> list[bytes]:
        """Nothing could have been changed: the bytes pass, unread from here on."""
        self.problem = self._parser.problem if self._parser else self.problem
        refusal = self._on_problem(self.problem or "") if self._on_problem else None
        if refusal is None:
            return [data]
        out: list[bytes] = []
        self._answer.events_sent = self._answer.events
        self._stop(refusal, out)
        return out

    def _unreadable(self, out: list[bytes], data: bytes) -> list[bytes]:
        self._fail(self._parser.problem if self._parser and self._parser.problem else "", out)
        if self._apart and self.stopped is None:
            out.append(data)  # a message is whole: the parser kept nothing of it
        return self._joined(out)

    def _fail(self, problem: str, out: list[bytes]) -> None:
        """Reading gave up while rules looked at the answer: stop, or pass on if asked to."""
        self.problem = problem
        if self._on_problem is None:
            refusal: Refusal | None = Refusal(
                403, "policy_denied", f"The answer cannot be read on: {problem}.", "", ""
            )
        else:
            refusal = self._on_problem(problem)
        if refusal is not None:
            return self._stop(refusal, out)
        out += [held.frame.raw for held in self._queue]
        self._queue.clear()
        if self._parser is not None:
            out += [frame.raw for frame in self._parser.end()]
        return None
