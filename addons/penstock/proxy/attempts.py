"""The attempts of one call: which target is next, whether there may be a next, what came of each.

Made by the addon ``Route`` from the decision's plan; the engine (``failover``) asks it. It keeps
the rows of the Record and tells the process's health board, in seconds since the epoch as the
decision reads it; it never sees a connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mitmproxy import http

from penstock.proxy.call import LiveCall
from penstock.proxy.capture import headers_of
from penstock.proxy.engine.failover import Verdict
from penstock.route import said
from penstock.route.budget import RetryBudget
from penstock.route.form import Form
from penstock.route.health import Board, Outcome
from penstock.route.outcome import (
    FIRST_EVENT_BYTES,
    Attempt,
    billed_by_problem,
    billed_by_status,
    is_error_event,
    of_status,
)
from penstock.route.plan import Choice, Plan
from penstock.route.translate.translation import Translation
from penstock.wire.framing.eventstream import FrameParser
from penstock.wire.framing.sse import SseParser

# Streams whose first event is looked at while another target could be asked.
BEGINNINGS: dict[str, Callable[[int], SseParser | FrameParser]] = {
    "text/event-stream": SseParser,
    "application/vnd.amazon.eventstream": FrameParser,
}
# A target that says "too many" and not how long: the next calls go elsewhere for this long.
NO_WORD_SECONDS = 1.0


@dataclass(slots=True)
class Stop:
    """One target with the request as it wants it; ``sign`` puts its key in at the last moment.

    ``translation`` makes what turns its answer into the caller's format.
    """

    choice: Choice
    form: Callable[[], Form]
    sign: Callable[[http.HTTPFlow], None] | None = None
    translation: Callable[[], Translation] | None = None


class CallAttempts:
    """``failover.Attempts`` of one call."""

    __slots__ = (
        "_began",
        "_board",
        "_budget",
        "_choice",
        "_first_began",
        "_left",
        "_live",
        "_open",
        "_parser",
        "_plan",
        "_under_way",
        "patience",
        "rows",
    )  # fmt: skip

    def __init__(
        self,
        live: LiveCall,
        plan: Plan,
        stops: Sequence[Stop],
        board: Board,
        budget: RetryBudget,
    ) -> None:
        self.patience: float | None = None
        self.rows: list[Attempt] = []
        self._live = live
        self._plan = plan
        self._left = list(stops)
        self._board = board
        self._budget = budget
        self._choice: Choice | None = None  # of the attempt under way, or of the answer
        self._open = False  # nothing is known yet about the attempt under way
        self._under_way = False  # begun, and not over
        self._began = 0.0
        self._first_began = time.monotonic()
        self._parser: SseParser | FrameParser | None = None
        budget.call()

    # ------------------------------------------------------------------ what the engine asks

    def begin(self, flow: http.HTTPFlow) -> None:
        """Make the flow's request the one for the next target."""
        stop = self._left.pop(0)
        choice = self._choice = stop.choice
        put(flow, stop.form())
        live = self._live
        live.call.destination = choice.destination
        live.model = choice.asked_model
        live.decision.credential = choice.use
        live.translation = stop.translation() if stop.translation is not None else None
        if stop.sign is not None:
            stop.sign(flow)
        place = choice.destination
        row = Attempt(choice.name, place.provider, choice.asked_model, choice.region)
        row.translated, row.began = choice.into, time.time()
        self.rows.append(row)
        self._began = time.monotonic()
        self._open = self._under_way = True
        self._parser = None
        self.patience = self._plan.attempt_seconds if self._left else None
        self._board.begin(choice.name, time.time())

    def failed(self, code: str) -> bool:
        """The attempt ended with this problem; True when another one is to begin."""
        if not self._under_way:
            return False
        if self._open:
            self._known(code, None, "failed")
        else:  # it had begun to answer
            assert self._choice is not None  # an attempt is under way
            self._board.answered(self._choice.name, time.time(), "failed")
        row = self.rows[-1]
        row.outcome, row.billed = code, billed_by_problem(code)
        self._over()
        return self._may_go_on()

    def head(self, answer: http.Response) -> Verdict:
        """An answer's head came."""
        status = answer.status_code
        headers = headers_of(answer)
        outcome = of_status(status)
        self._note_room(outcome, headers)
        if outcome != "well":
            self._known(f"status_{status}", status, outcome)
            if not self._may_go_on():
                return "take"
            self._over()
            return "next"
        kind = headers.get("content-type", "").lower().partition(";")[0]
        if kind in BEGINNINGS and self._left and not headers.get("content-encoding"):
            self._parser = BEGINNINGS[kind](FIRST_EVENT_BYTES)
            self.rows[-1].status = status
            return "look"
        self._known("answered", status, "well")
        return "take"

    def first(self, data: bytes) -> Verdict:
        """More of a stream's beginning came."""
        parser = self._parser
        assert parser is not None  # see head
        events = [event for event in parser.feed(data) if event.data is not None]
        if not events and parser.problem is None:
            return "look"
        status = self.rows[-1].status
        if events and is_error_event(events[0]):
            self._known("error_event", status, "failed")
            self.rows[-1].billed = "no"
            if self._may_go_on():
                self._over()
                return "next"
            return "take"
        self._known("answered", status, "well")
        return "take"

    # ------------------------------------------------------------------ what the books ask

    def close(self, outcome: str) -> None:
        """The call is over: ``outcome`` is the Record's."""
        if not self._under_way:
            return
        row = self.rows[-1]
        if self._open:
            row.outcome, row.billed = outcome, "possibly"
        elif outcome == "cut" and row.outcome == "answered":
            row.outcome = "cut"
            assert self._choice is not None  # an attempt is under way
            self._board.answered(self._choice.name, time.time(), "failed")
        self._over()

    # ------------------------------------------------------------------ inside

    def _may_go_on(self) -> bool:
        """True when there is another target, time, and budget for it."""
        if not self._left:
            return False
        longest = self._plan.give_up_seconds
        if longest is not None and time.monotonic() - self._first_began > longest:
            return False
        return self._budget.take()

    def _known(self, word: str, status: int | None, outcome: Outcome) -> None:
        """The attempt showed how it goes."""
        if not self._open:
            return
        assert self._choice is not None  # an attempt is under way
        self._open = False
        row = self.rows[-1]
        row.outcome, row.status = word, status
        row.seconds = time.monotonic() - self._began
        if status is not None:
            row.billed = billed_by_status(status)
        self._board.answered(self._choice.name, time.time(), outcome, row.seconds)

    def _over(self) -> None:
        """The attempt is over."""
        assert self._choice is not None  # an attempt is under way
        self._board.over(self._choice.name)
        self.rows[-1].ended = time.time()
        self._open = self._under_way = False

    def _note_room(self, outcome: Outcome, headers: Mapping[str, str]) -> None:
        """Remember what the provider says about its limits."""
        assert self._choice is not None  # an attempt is under way
        now, name, model = time.time(), self._choice.name, self._choice.model
        if outcome == "limited":
            wait = said.retry_after(headers, now)
            until = now + (NO_WORD_SECONDS if wait is None else wait)
            self._board.limit(name, model, 0, until, now)
        elif (room := said.room(headers, now)) is not None:
            self._board.limit(name, model, *room, now)


def put(flow: http.HTTPFlow, form: Form) -> None:
    """Make the flow's request what ``form`` says; method and HTTP version stay."""
    request = flow.request
    request.data.host, request.data.port = form.host, form.port
    request.data.scheme = form.scheme.encode()
    request.data.authority = b""
    request.data.path = form.path.encode("latin-1", "replace")
    fields = tuple(form.fields)
    if request.is_http2:  # there the host is no field
        request.data.authority = next((v for n, v in fields if n.lower() == b"host"), b"")
        fields = tuple(field for field in fields if field[0].lower() != b"host")
    request.headers.fields = fields
    request.data.content = form.body
