"""What a call is the consequence of: a model's answer asks for a tool, its result comes back.

A wish of a model is tied to the call that follows it by caller and tool name, a result to the
next prompt by the model's own id of the tool call. Bounded in number and age, per process; what
is not known here has no cause. Holds names and ids, no text of a call.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

# Wishes that were not followed yet, and results that did not come back yet.
ASKED_MAX = 10_000
RESULTS_MAX = 10_000
# A model's wish is followed within minutes, or a person was asked in between.
ASKED_SECONDS = 900.0
# Clients put the server's name before a tool's: mcp__github__get_me, github.get_me, github-get_me.
_SEPARATORS = "_.-/:"
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(slots=True, frozen=True)
class Cause:
    """A call others follow from. ``trace_parent`` is the application's own, if it sent one."""

    call_id: str
    trace_id: str
    trace_parent: str | None = None


@dataclass(slots=True, frozen=True)
class Wish:
    """A tool a model asked for, under the model's id of that."""

    tool: str
    use_id: str | None = None
    cause: Cause | None = None
    until: float = 0.0


def traced(call_id: str, trace_parent: str | None, before: Cause | None) -> Cause:
    """A call in the trace the application put it in, else in that of its cause, else in its own."""
    if before is not None and trace_parent is None:
        return Cause(call_id, before.trace_id, before.trace_parent)
    named = _TRACE_PARENT.fullmatch(trace_parent or "")
    own = blake2b(call_id.encode(), digest_size=16).hexdigest()
    return Cause(call_id, named[1] if named else own, trace_parent if named else None)


class Causes:
    """One per process. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: OrderedDict[str, list[Wish]] = OrderedDict()
        self._count = 0
        self._results: OrderedDict[tuple[str, str], tuple[Cause, float]] = OrderedDict()

    def model_asks(
        self, caller: str, tools: Iterable[tuple[str, str | None]], cause: Cause | None
    ) -> None:
        """A model's answer asked ``caller`` for these tools (each with the model's own id)."""
        until = self._clock() + ASKED_SECONDS
        waiting = self._asked.setdefault(caller, [])
        for tool, use_id in tools:
            waiting.append(Wish(tool, use_id, cause, until))
            self._count += 1
            if use_id and cause is not None:
                self.came_from(caller, use_id, cause)
        self._asked.move_to_end(caller)
        while self._count > ASKED_MAX:
            oldest = next(iter(self._asked))
            del self._asked[oldest][0]
            self._count -= 1
            if not self._asked[oldest]:
                del self._asked[oldest]

    def wish(self, caller: str, tool: str, take: bool = False) -> Wish | None:
        """The oldest wish for ``tool`` that no call used up; ``take`` uses it up.

        Clients prefix names with the server's; what follows the prefix has to be the name.
        """
        waiting = self._asked.get(caller)
        if not waiting:
            return None
        now = self._clock()
        alive = [one for one in waiting if one.until > now]
        self._count -= len(waiting) - len(alive)
        waiting[:] = alive
        found = next((one for one in alive if _means(one.tool, tool)), None)
        if found is not None and take:
            waiting.remove(found)
            self._count -= 1
        if not waiting:
            del self._asked[caller]
        return found

    def came_from(self, caller: str, use_id: str, cause: Cause) -> None:
        """The result the model will get under ``use_id`` is that of the call ``cause``."""
        self._results[(caller, use_id)] = cause, self._clock() + ASKED_SECONDS
        self._results.move_to_end((caller, use_id))
        while len(self._results) > RESULTS_MAX:
            self._results.popitem(last=False)

    def of_results(self, caller: str, use_ids: Iterable[str]) -> Cause | None:
        """The call one of these results is from; the last that is known."""
        found: Cause | None = None
        for use_id in use_ids:
            cause, until = self._results.get((caller, use_id), (None, 0.0))
            if cause is not None and until > self._clock():
                found = cause
        return found


def _means(asked: str, tool: str) -> bool:
    if asked == tool:
        return True
    return asked.endswith(tool) and asked[-len(tool) - 1] in _SEPARATORS
