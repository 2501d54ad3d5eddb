"""The one stream transform of an answer: from the engine's chunks to the wire room and back.

It keeps the books of the stream (bytes, time, restored placeholders) and says what the
caller hears when something fails in the middle; reading and editing are ``wire.stream``'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from penstock.detect.calls import LOW_LOGPROB
from penstock.exchange import HttpAnswer
from penstock.mcp import EventFilter, LineFilter
from penstock.policy.afterwards import tell_afterwards
from penstock.policy.decision import Decision, Reason
from penstock.proxy.call import LiveCall
from penstock.proxy.capture import decoded_body
from penstock.proxy.cut import Cut, no_scanner
from penstock.proxy.governance import Governance
from penstock.proxy.judge import judge
from penstock.proxy.offload import has_room, on_loop
from penstock.wire.channel_text import ScanStep
from penstock.wire.content_coding import Decoder
from penstock.wire.family import Channel, Framing, Refusal
from penstock.wire.openai.chat import is_usage_only
from penstock.wire.stream import AnswerStream, ChannelScanner

# How much of a stream is looked at to tell its framing when its head does not say.
SNIFFED_BYTES = 512
# Decoded bytes of a stream of tool lists; sessions stay open for hours, lists are kilobytes.
DECODED_BYTES_MAX = 512 * 1024 * 1024
# A document in place of a stream is an error message or a whole answer; as buffered answers.
WHOLE_BYTES_MAX = 32 * 1024 * 1024
# An MCP event this large is read, filtered and searched aside, like a body: half of it takes the
# loop a millisecond. Its further chunks go there too, as any of them may be the last.
ASIDE_BYTES = 256 * 1024
# A stream whose last chunk took this long brings much at a time (a read may hold hundreds of
# notifications): the next one goes aside.
ASIDE_SECONDS = 0.005


class AnswerTransform:
    """``proxy.stream.StreamTransform`` over one call's answer.

    ``framing`` "none" means: the head did not say, look at the first bytes; None means
    that nothing of it is read (audio, images), bytes are only counted.
    """

    def __init__(
        self,
        governance: Governance,
        live: LiveCall,
        headers: Mapping[str, str],
        framing: Framing | None,
    ) -> None:
        self.governance = governance
        self.live = live
        self.headers = headers
        self.framing = framing
        self.stream: AnswerStream | None = None
        self.messages: EventFilter | None = None
        self.decoder: Decoder | None = None
        self.whole: list[bytes] | None = None  # no stream after all: one document, kept to its end
        self.whole_bytes = 0
        self.finished = False
        self.took = 0.0  # seconds for the last chunk
        self.cut = Cut(governance, live) if live.cuts else None
        self.changes_length = live.may_change_answer and framing is not None
        looks = live.scanner_for is not None and framing is not None
        # Definitions, and what turns out to be one document, are read by all detectors.
        by_all = live.call.exchange.mcp is not None or framing == "none"
        slow = governance.reads_answers_slowly if by_all else governance.streams_slowly
        self.slow = looks and slow
        self.loop = asyncio.get_running_loop() if self.slow and self.cut is not None else None
        if framing not in (None, "none"):
            self.open(framing)

    @property
    def aside(self) -> bool:
        """True where the next chunk is to be fed in a worker: it may take long to read."""
        mcp = self.stream is not None and self.live.call.exchange.mcp is not None
        if self.slow or not mcp or self.cut is not None:
            return self.slow
        held = self.stream if self.messages is None else self.messages
        assert held is not None  # there is a stream
        return (held.pending > ASIDE_BYTES or self.took > ASIDE_SECONDS) and has_room()

    def open(self, framing: Framing) -> None:
        live, coding = self.live, self.headers.get("content-encoding", "")
        if live.mcp_answer is not None and framing in ("sse", "ndjson"):
            kind = EventFilter if framing == "sse" else LineFilter
            self.messages = kind(live.mcp_answer, live.call.exchange.mcp)
            if coding not in ("", "identity"):
                self.decoder, coding = Decoder(coding, DECODED_BYTES_MAX), ""
        self.stream = AnswerStream(
            live.call.exchange,
            live.family,
            framing,
            self.scanner if live.scanner_for is not None else no_scanner if live.cuts else None,
            coding=coding,
            hide=is_usage_only if live.hides_usage_chunk else None,
            on_problem=self.unreadable,
            watches=not live.may_change_answer,
            on_text=self.cut.hear if self.cut is not None else None,
        )
        live.stop_reading = self.stream.close

    def scanner(self, channel: Channel) -> ChannelScanner | None:
        """The policy's scanner for a channel, its edits counted."""
        assert self.live.scanner_for is not None  # see open
        scanner = self.live.scanner_for(channel)
        return None if scanner is None else Counting(scanner, self.live)

    def feed(self, chunk: bytes) -> list[bytes]:
        began = time.perf_counter()
        try:
            self.live.answer_bytes += len(chunk)
            if self.framing is None:
                return [chunk]
            if self.stream is None and self.whole is None:
                self.sniff(chunk)
            if self.framing is None:
                return [chunk]
            if self.stream is not None:
                return self.stopped(self.cut_off(self.stream.feed(self.filtered(chunk))))
            return self.keep(chunk)
        finally:
            self.took = time.perf_counter() - began
            self.live.own_seconds += self.took

    def cut_off(self, out: list[bytes]) -> list[bytes]:
        """What leaves, and the last words where a limit that cuts was reached."""
        assert self.stream is not None  # feed has one
        if self.cut is None or self.stream.stopped is not None:
            return out
        # What belongs to the loop (limits) is asked on the loop.
        asked = self.cut.exceeded
        refusal = asked() if self.loop is None else on_loop(self.loop, asked)
        return out if refusal is None else out + self.stream.stop(refusal)

    def end(self) -> list[bytes]:
        began = time.perf_counter()
        try:
            if self.stream is not None:
                rest = self.stream.feed(self.messages.end()) if self.messages is not None else []
                out = self.stopped(rest + self.stream.end())
                self.look_back()
                return out
            return self.judged() if self.whole else []
        finally:
            self.live.own_seconds += time.perf_counter() - began

    def break_off(self) -> list[bytes]:
        """A stream's events are whole and can be judged; half a document cannot."""
        return self.end() if self.stream is not None else []

    def look_back(self) -> None:
        """Tell what only the whole answer shows, where a rule asks."""
        policy, live = self.governance.policy, self.live
        asks = policy.asks_for_tone or LOW_LOGPROB in policy.call_types
        if asks and not self.finished and live.answer_decision is not None:
            state = self.governance.state_for(live.call.caller)
            tell_afterwards(policy, live.call, state, time.time(), live.answer_decision)

    def filtered(self, chunk: bytes) -> bytes:
        """The chunk without what an MCP server may not say to this caller."""
        if self.messages is None:
            return chunk
        plain = self.messages.feed(self.decoder.feed(chunk) if self.decoder else chunk)
        if self.messages.problem is not None:
            raise ValueError("the event stream cannot be read on, so its lists cannot be judged")
        verdict = self.messages.verdict
        if verdict is not None:
            self.live.outcome = "refused"
            self.finished = self.finished or self.messages.over
            if self.live.answer_decision is not None:
                self.live.answer_decision.verdict = self.live.answer_decision.would = "deny"
        return plain

    def sniff(self, chunk: bytes) -> None:
        """The head lied or said nothing: let the family look at the first bytes."""
        live = self.live
        head = HttpAnswer(live.status or 200, self.headers)
        framing = live.family.framing(live.call.exchange, head, chunk[:SNIFFED_BYTES])
        live.streamed = framing != "none"
        if live.streamed:
            self.open(framing)
        elif self.is_opaque(chunk):
            self.framing = None
        else:
            self.whole = []

    def is_opaque(self, chunk: bytes) -> bool:
        """True when a file of no named kind is no text: nothing in it could be read."""
        if "octet-stream" not in self.headers.get("content-type", ""):
            return False
        if self.headers.get("content-encoding", "identity") == "identity":
            start = chunk[:SNIFFED_BYTES]
            known = start.decode("utf-8", "ignore").encode()  # what is no UTF-8 is left out
            if b"\0" in start or not known.startswith(start[:-3]):
                return True
        self.headers = {**self.headers, "content-type": "text/plain"}
        return False

    def keep(self, chunk: bytes) -> list[bytes]:
        """Part of one document. Held back when it may have to change, else only copied."""
        assert self.whole is not None  # see feed
        self.whole_bytes += len(chunk)
        if self.whole_bytes <= WHOLE_BYTES_MAX:
            self.whole.append(chunk)
        elif self.changes_length:
            raise ValueError("an announced stream is one document, and too large to be judged")
        else:
            self.whole = []  # nothing may change; its contents stay unread
        return [] if self.changes_length else [chunk]

    def judged(self) -> list[bytes]:
        """The document is complete: judge it as a plain answer."""
        live, raw = self.live, b"".join(self.whole or [])
        judged = judge(self.governance, live, live.status or 200, dict(self.headers), raw)
        if not self.changes_length:
            return []
        if judged.refusal is not None:
            return [judged.refusal.body]
        if judged.body is not None:
            return [judged.body]
        return [decoded_body(dict(self.headers), raw)]  # the head said: no coding

    def stopped(self, out: list[bytes]) -> list[bytes]:
        """Note a refusal in the middle of the stream; the engine ends the answer after it."""
        assert self.stream is not None  # feed and end have one
        refusal = self.stream.stopped
        if refusal is not None and not self.finished:
            self.finished = True
            self.live.outcome = "refused"
            judged = self.live.answer_decision or Decision()
            judged.verdict = judged.would = "deny"
            judged.refusal = refusal
            judged.reasons.append(Reason(refusal.rule, "deny", "deny", refusal.message))
            self.live.answer_decision = judged
        return out

    def unreadable(self, problem: str) -> Refusal | None:
        """A stream that cannot be read on: refused where rules had to look into it."""
        policy, live = self.governance.policy, self.live
        live.failure_reason = problem
        acts = live.scanner_for is not None and live.may_change_answer
        if not acts or policy.mode != "enforce" or policy.on_error == "allow":
            live.failure = "failed_open" if live.scanner_for is not None else ""
            return None
        live.failure = "failed_closed"
        message = f"The answer cannot be inspected: {problem}."
        return Refusal(403, "policy_denied", message, "penstock.unreadable", live.call.id)

    def unchecked(self, chunk: bytes) -> list[bytes]:
        """The policy lets an answer go on whose check raised: everything leaves as it came.

        Not tool lists: what is hidden there stays hidden.
        """
        if self.messages is not None:
            self.finished = True
            return self.failed(ValueError())
        if self.stream is not None:
            return self.stream.pass_on(chunk)
        raw = b"".join(self.whole or []) if self.changes_length else chunk
        self.framing, self.whole = None, None
        return [decoded_body(dict(self.headers), raw)] if self.changes_length else [raw]

    def failed(self, error: BaseException) -> list[bytes]:
        """A scanner or the reader raised: the API's own error event, then a well-formed end."""
        live = self.live
        live.failure, live.failure_reason = "failed_closed", type(error).__name__
        live.outcome = "refused"
        message = "A check of the answer failed, so the rest of it was withheld."
        refusal = Refusal(403, "check_failed", message, "penstock.failed", live.call.id)
        before = self.stream.broken() if self.stream is not None else []
        return [*before, live.family.stream_refusal(live.call.exchange, refusal)]


class Counting:
    """A scanner that counts what it changes and the time it takes."""

    def __init__(self, scanner: ChannelScanner, live: LiveCall) -> None:
        self.scanner = scanner
        self.live = live

    def feed(self, text: str) -> ScanStep:
        return self.counted(self.scanner.feed, text)

    def finish(self) -> ScanStep:
        return self.counted(self.scanner.finish)

    def counted(self, act: Any, *arguments: str) -> ScanStep:
        began = time.perf_counter()
        step: ScanStep = act(*arguments)
        self.live.check_seconds += time.perf_counter() - began
        self.live.answer_edits += len(step.replacements)
        return step
