"""One WebSocket's conversation: the messages of both sides, judged, in order.

A client's message is judged like a body. A server's message belongs to an answer, which has
one stream that reads it and may hold it back; what is held keeps its place in the queue,
so the order of messages never changes. Sockets and hooks are ``proxy/addons/sockets.py``'s.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from penstock.exchange import Answer as AnswerModel
from penstock.policy.answer import answer_scanner
from penstock.policy.decision import Decision
from penstock.proxy.addons.report import ORDER
from penstock.proxy.answer_stream import AnswerTransform
from penstock.proxy.call import LiveCall
from penstock.proxy.echo_guard import with_echoes
from penstock.proxy.engine.websocket_layer import Ending, Outgoing
from penstock.proxy.governance import CallState, Governance
from penstock.proxy.message_calls import MessageCalls
from penstock.wire import edits
from penstock.wire.openai import socket as openai_socket
from penstock.wire.stream import AnswerStream

# Requests that wait for their answer on one socket; agents send one or two ahead.
PENDING_MAX = 64
# Messages that wait behind a held one, in bytes: as much as one stream may hold, four times.
WAITING_BYTES_MAX = 16 * 1024 * 1024
FAILED_STATUS = 500  # what an error inside a socket would have been over HTTP

Outbox = list[Outgoing | Ending]


@dataclass(slots=True)
class Slot:
    """A server's message in its place; ``content`` None while it is held back."""

    is_text: bool
    size: int
    content: bytes | None = None
    gone: bool = False  # nothing leaves of it


@dataclass(slots=True)
class Speech:
    """An answer that is being given, or what the server says besides (``Conversation.aside``)."""

    live: LiveCall
    stream: AnswerTransform
    held: deque[Slot] = field(default_factory=deque)
    rest: AnswerStream | None = None  # after a refusal: reads on, for the end and the usage


class Conversation:
    """``over`` collects the calls that are finished, to be settled and reported."""

    def __init__(self, governance: Governance, upgrade: LiveCall) -> None:
        self.governance = governance
        self.family = upgrade.family
        self.calls = MessageCalls(governance, upgrade)
        self.over: list[LiveCall] = []
        self.pending: deque[LiveCall] = deque()  # asked for, not begun
        self.open: dict[str, Speech] = {}
        self.current: Speech | None = None
        self.queue: deque[Slot] = deque()
        self.waiting_bytes = 0
        self.aside = self.speech(self.calls.aside())

    # ------------------------------------------------------------------ what the client says

    def from_client(self, content: bytes, is_text: bool, state: CallState) -> Outbox | None:
        """What leaves in place of a client's message; None: the message, as it came."""
        live, creates = self.calls.read(content, is_text)
        full = creates and len(self.pending) + len(self.open) >= PENDING_MAX
        self.calls.judge(live, state, counts=creates, full=full)
        refusal = live.decision.refusal
        if live.decision.verdict == "deny" and refusal is not None:
            live.outcome, live.status = "refused", refusal.status
            self.over.append(live)
            said = openai_socket.refusal_messages(self.family, live.call.exchange, refusal)
            return [Outgoing(True, message) for message in said]
        changes = list(live.decision.edits)
        noted = self.aside.live.decision
        if creates:
            live.call.exchange.model = live.decision.model or live.call.exchange.model
            absorb(live.decision, noted)
            self.aside.live.decision = Decision()
            self.pending.append(live)
        else:
            absorb(noted, live.decision)
        if not changes:
            return None
        if self.aside.live.scanner_for is None and not self.aside.held:
            self.aside = self.speech(self.aside.live)  # there are placeholders to restore now
        return [Outgoing(False, edits.apply(content, changes), is_text)]

    # ------------------------------------------------------------------ what the server says

    def from_server(self, content: bytes, is_text: bool) -> Outbox | None:
        """What leaves now that this message of the server has come; None: it, as it came."""
        event = openai_socket.event_of(content)
        kind = openai_socket.kind_of(event)
        self.calls.model = self.calls.model or openai_socket.model_in_event(event)
        slot = self.place(Slot(is_text, len(content)))
        back: Outbox = []
        if kind == "response.created":
            back += self.begin(openai_socket.answer_id(event) or "")
        elif kind == "error" and self.pending and not self.open:
            self.begin("")
        speech = self.speech_of(kind, openai_socket.answer_id(event))
        if speech.rest is not None:
            slot.gone = True
            speech.rest.feed(content)
        elif not content:
            slot.content = content
        else:
            speech.held.append(slot)
            back += self.fill(speech, speech.stream.feed(content))
        answer = speech.live.call.exchange.answer
        failed = kind == "error" and self.family.api == openai_socket.RESPONSES
        if speech is not self.aside and ((answer and answer.complete) or failed):
            back += self.finish(speech)
        out = self.leaving()
        if not back and out == [Outgoing(True, content, is_text)]:
            return None
        return [*out, *back]

    def speech_of(self, kind: str, answer_id: str | None) -> Speech:
        """Whose message it is: by its id, else the answer that runs, else nobody's."""
        if answer_id in self.open:
            return self.open[answer_id]
        runs = kind.startswith("response.") or kind == "error"
        return self.current if runs and self.current is not None else self.aside

    def begin(self, answer_id: str) -> Outbox:
        """An answer begins: one that was asked for, or one the server gives by itself."""
        if self.pending:
            live = self.pending.popleft()
        else:
            live = self.calls.unasked()
            state = self.governance.state_for(live.call.caller)
            self.calls.judge(live, state, counts=True)
        speech = self.current = self.open[answer_id] = self.speech(live)
        refusal = live.decision.refusal
        if live.decision.verdict != "deny" or refusal is None:
            return []
        live.outcome = "refused"
        for message in openai_socket.refusal_messages(self.family, live.call.exchange, refusal):
            self.place(Slot(True, len(message), message))
        return self.stop(speech, answer_id)

    def speech(self, live: LiveCall) -> Speech:
        """The stream that reads an answer."""
        call, exchange = live.call, live.call.exchange
        state = self.governance.state_for(call.caller)
        live.first_byte, live.status = time.perf_counter(), 200
        live.answer_decision = live.answer_decision or Decision(
            policy_hash=live.decision.policy_hash
        )
        live.scanner_for = answer_scanner(
            self.governance.policy, call, state, time.time(), live.answer_decision
        )
        echoes = self.calls.upgrade.echoes
        if echoes is not None:  # the socket was opened with a real key
            live.scanner_for = with_echoes(live.scanner_for, echoes)
        exchange.answer = AnswerModel(status=200)
        return Speech(live, AnswerTransform(self.governance, live, {}, "message"))

    def fill(self, speech: Speech, contents: list[bytes]) -> Outbox:
        """Give the speech's oldest places what its stream lets go."""
        for content in contents:
            slot = speech.held.popleft() if speech.held else self.place(Slot(True, len(content)))
            slot.content = content
        if not speech.stream.finished:
            return []
        return self.stop(speech, answer_id_of(speech))

    def stop(self, speech: Speech, answer_id: str | None) -> Outbox:
        """Nothing more of this answer leaves; its end and usage are still read."""
        for slot in speech.held:
            slot.gone = True
        speech.held.clear()
        speech.rest = AnswerStream(speech.live.call.exchange, self.family, "message")
        cancel = openai_socket.cancel_message(self.family.api, answer_id)
        return [Outgoing(False, cancel)] if cancel is not None else []

    def finish(self, speech: Speech) -> Outbox:
        """The answer is over."""
        back = self.close(speech)
        self.open = {key: one for key, one in self.open.items() if one is not speech}
        if self.current is speech:
            self.current = None
        answer = speech.live.call.exchange.answer
        if answer is not None and answer.error is not None:
            speech.live.status = FAILED_STATUS
        self.over.append(speech.live)
        return back

    def close(self, speech: Speech) -> Outbox:
        if speech.rest is not None:
            speech.rest.end()
            return []
        return self.fill(speech, speech.stream.end())

    # ------------------------------------------------------------------ order, and the end

    def place(self, slot: Slot) -> Slot:
        self.queue.append(slot)
        self.waiting_bytes += slot.size
        if self.waiting_bytes > WAITING_BYTES_MAX:
            raise ValueError("too much waits behind a message that is held back")
        return slot

    def leaving(self) -> Outbox:
        """Messages at the head of the queue whose contents are settled."""
        out: Outbox = []
        while self.queue and (self.queue[0].gone or self.queue[0].content is not None):
            slot = self.queue.popleft()
            self.waiting_bytes -= slot.size
            if not slot.gone and slot.content is not None:
                out.append(Outgoing(True, slot.content, slot.is_text))
        return out

    def closing(self) -> Outbox:
        """One side says goodbye: what is held is judged as it stands, and leaves."""
        for speech in (*self.open.values(), self.aside):
            self.close(speech)
        return self.leaving()

    def end(self, by_client: bool) -> None:
        """The socket is gone: what had not ended is cut, what had not begun has failed."""
        self.closing()
        for speech in self.open.values():
            if speech.live.outcome == "answered":
                speech.live.outcome = "aborted" if by_client else "cut"
            self.over.append(speech.live)
        for live in self.pending:
            live.outcome = "aborted" if by_client else "failed"
            self.over.append(live)
        self.open, self.current = {}, None
        self.pending.clear()
        aside, judged = self.aside.live, self.aside.live.answer_decision
        if aside.decision.reasons or (judged is not None and judged.reasons):
            self.over.append(aside)


def answer_id_of(speech: Speech) -> str | None:
    answer = speech.live.call.exchange.answer
    return answer.id if answer is not None else None


def absorb(into: Decision, earlier: Decision) -> None:
    """Tell what was found in messages that ask for no answer with the next one that does."""
    into.findings += earlier.findings
    into.edits += earlier.edits
    into.reasons += [reason for reason in earlier.reasons if reason not in into.reasons]
    into.verdict = max(into.verdict, earlier.verdict, key=ORDER.index)
    into.would = max(into.would, earlier.would, key=ORDER.index)
    into.policy_hash = into.policy_hash or earlier.policy_hash
