"""What follows when an order to contain is taken up or ends: it is told, recorded, and acted on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, Literal

from penstock.policy.containment import Order
from penstock.policy.language.source import PolicySource
from penstock.record.clean import plain
from penstock.record.line import timestamp
from penstock.record.recording import Recording

logger = logging.getLogger(__name__)

# The file it goes into is small; a list of problems need not be.
PROBLEM_CHARACTERS_MAX = 500

Change = Literal["contained", "released", "expired"]


class Contained:
    """One process's side of ``penstock contain``. ``hang_up`` ends its clients' connections."""

    def __init__(
        self, source: PolicySource, recording: Recording, tell: Callable[[str], None]
    ) -> None:
        self._source = source
        self._recording = recording
        self._tell = tell
        self._seen: tuple[object, ...] = ()
        self._was = False
        self.hang_up: Callable[[bool], int] = lambda _let_finish: 0

    @property
    def now(self) -> bool:
        """True while this process is contained."""
        return self._source.contained is not None

    @property
    def order(self) -> Order | None:
        """The newest order taken up."""
        return self._source.containment.order if self._source.containment else None

    @property
    def problem(self) -> str:
        """Why an order that stands there could not be taken up as it is."""
        return self._source.containment.problem if self._source.containment else ""

    def notice(self) -> None:
        """Look whether something is other than at the last look, and do what follows."""
        seen = (self.order, self.now, self.problem, self._source.policy.hash)
        if seen == self._seen:
            return
        ordered = seen[:3] != self._seen[:3]
        self._seen, was, self._was = seen, self._was, self.now
        change: Change | None = None
        if self.now:
            change = "contained" if ordered else None
        elif was:
            lapsed = self.order is not None and self.order.state == "contained"
            change = "expired" if lapsed else "released"
        if change is not None:
            self._record(change)
            self._say(change)
        if change == "contained":
            ended = self.hang_up(self.order is not None and self.order.let_finish)
            if ended:
                self._tell(f"{ended} connection{'' if ended == 1 else 's'} ended")
        self._answer()

    def status(self) -> dict[str, Any] | None:
        """For ``/status``; None while nothing is contained.

        Who and why are not said there: what runs in the same pod, and may be the reason, can ask.
        """
        if not self.now:
            return None
        told = _told(self.order) if self.order else {}
        return {
            "since": told.get("ordered"),
            "until": told.get("until"),
            "order_is_usable": not self.problem,
            "configured": self._source.configured.hash,
        }

    def _record(self, change: Change) -> None:
        values: dict[str, Any] = {"state": change, "policy": self._source.policy.hash}
        if self.problem:
            values["problem"] = "the order cannot be used, the shipped profile holds"
        told = _told(self.order) if self.order and not self.problem else {}
        with contextlib.suppress(OSError):  # counted by the log; a full disk holds nothing up
            self._recording.audit.note("containment", values | told)

    def _say(self, change: Change) -> None:
        order, policy = self.order, self._source.policy
        if self.problem:
            self._tell(f"contained, by an order that cannot be used: {self.problem}")
        elif change == "contained" and order is not None:
            until = f" until {timestamp(order.until)}" if order.until else ""
            why = f": {order.reason}" if order.reason else ""
            self._tell(f"contained by {order.by}{until}{why} (policy {policy.name}, {policy.hash})")
        else:
            how = "its time is over" if change == "expired" else f"by {order.by if order else '?'}"
            self._tell(f"released, {how}: policy {policy.name}, {policy.hash}")

    def _answer(self) -> None:
        """Say what is in force to `penstock contain`, which waits for every process."""
        values = {
            "policy": self._source.policy.hash,
            "order": self.order.id if self.order else "",
            "problem": self.problem[:PROBLEM_CHARACTERS_MAX],
        }
        try:
            self._recording.audit.enforces(values)
        except OSError as error:
            logger.error("what is in force cannot be written down: %s", error.strerror)


def _told(order: Order) -> dict[str, Any]:
    """What the order says, under the names of the audit log."""
    told: dict[str, Any] = {
        "order": order.id,
        "by": plain(order.by),
        "user": plain(order.user),
        "reason": plain(order.reason),
        "ordered": timestamp(order.time),
    }
    if order.state == "contained":
        told["profile"] = plain(order.profile)
        told["until"] = None if order.until is None else timestamp(order.until)
    return told
