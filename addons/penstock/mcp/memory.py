"""What is remembered between MCP calls: tools as last shown, tasks, what models asked for.

Everything is bounded in number and age, per process, and forgotten with it. What does not fit
or was never seen counts as unknown, which is the cautious answer. Holds no text of a call.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.mcp.causes import Causes
from penstock.mcp.definitions import Digests
from penstock.mcp.names import skeleton
from penstock.mcp.pins import Pin, pin_of, pins_of
from penstock.mcp.shown import Shown
from penstock.mcp.taint import Taints
from penstock.wire.loose import name_of

# A pod talks to dozens of servers with some hundred tools together.
SERVERS_MAX = 1000
TOOLS_MAX = 10_000
# What their definitions may take as written: 10,000 of the usual size, and one in the hands of a
# hostile server. Further ones are pinned at once, which costs time in place of memory.
WRITTEN_BYTES_MAX = 16 * 2**20
# Pages of one list, in each of its filtered forms.
PAGES_MAX = 100
# Tasks whose result may still come, and how long it is waited for.
TASKS_MAX = 10_000
TASK_SECONDS = 86_400.0
# Questions open in the middle of a call, and how long a person may take to answer one.
STATES_MAX = 10_000
STATE_SECONDS = 86_400.0


class Memory:
    """One per process. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.taints = Taints(clock)
        self.causes = Causes(clock)
        self._shown: dict[str, dict[str, Shown]] = {}
        self._written_bytes = 0  # of all tools as shown
        self._pages: dict[str, set[bytes]] = {}  # documents that changed nothing since
        self._looks: dict[str, set[tuple[str, str]]] = {}
        self._tools = 0
        self._states: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        self._tasks: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    # ------------------------------------------------------------------ definitions

    def see(
        self, server: str, definitions: Sequence[Any], digests: Digests | None = None
    ) -> list[str]:
        """Note one page of a server's tools; a sentence for each new name that may deceive.

        ``digests`` are those of the document it came in.
        """
        if server not in self._shown and len(self._shown) >= SERVERS_MAX:
            return []
        page = digests.whole if digests is not None else None
        pages = self._pages.setdefault(server, set())
        if page in pages:
            return []  # as it was, and nothing else was shown since
        shown = self._shown.setdefault(server, {})
        alarms = []
        fresh = _fresh(shown, definitions, digests)
        if fresh or len(pages) >= PAGES_MAX:
            pages.clear()
        if page is not None:
            pages.add(page)
        with self._lock:  # large answers are judged in threads
            for name, tool in fresh.items():
                if name not in shown:
                    if self._tools >= TOOLS_MAX:
                        continue
                    self._tools += 1
                    alarms += self._deceives(server, name)
                self._keep(shown, name, tool)
        return alarms

    def _keep(self, shown: dict[str, Shown], name: str, tool: Shown) -> None:
        before = shown.get(name)
        if before is not None:
            self._written_bytes -= len(before.written or b"")
        if self._written_bytes + len(tool.written or b"") > WRITTEN_BYTES_MAX:
            tool.settle()
        self._written_bytes += len(tool.written or b"")
        shown[name] = tool

    def _deceives(self, server: str, name: str) -> list[str]:
        alike = self._looks.setdefault(skeleton(name), set())
        if not alike:
            alike.add((server, name))
            return []
        others = sorted(alike)
        alike.add((server, name))
        found = []
        if any(of != server and other == name for of, other in others):
            found.append(f"the tool {name!r} is offered by another server too")
        if any(other != name for _, other in others):
            found.append(f"the tool {name!r} looks like another tool's name")
        return found

    def shown(self, server: str, tool: str) -> Pin | None:
        """The tool as the server last showed it; None when it did not."""
        known = self._shown.get(server, {}).get(tool)
        return None if known is None else known.pin

    def shown_hash(self, server: str, tool: str) -> str | None:
        """The hash of its pin, which is quicker to be had."""
        known = self._shown.get(server, {}).get(tool)
        return None if known is None else known.hash

    # ------------------------------------------------------------------ deferred results

    def ask_back(self, server: str, request_state: str, owner: str) -> None:
        """A call was answered with a question and this state (a hash), for ``owner`` to go on."""
        self._states[(server, request_state)] = owner, self._clock() + STATE_SECONDS
        while len(self._states) > STATES_MAX:
            self._states.popitem(last=False)

    def asked(self, server: str, request_state: str) -> str | None:
        """Whose the state is; None when it is not known (any more)."""
        owner, until = self._states.get((server, request_state), (None, 0.0))
        return owner if until > self._clock() else None

    def start_task(self, server: str, task: str, tool: str) -> None:
        """A call of ``tool`` was answered with a task: its result comes later."""
        self._tasks[(server, task)] = tool, self._clock() + TASK_SECONDS
        while len(self._tasks) > TASKS_MAX:
            self._tasks.popitem(last=False)

    def tool_of_task(self, server: str, task: str) -> str | None:
        """The tool a task runs; None when it is not known (any more)."""
        tool, until = self._tasks.get((server, task), (None, 0.0))
        return tool if until > self._clock() else None


def _fresh(
    shown: Mapping[str, Shown], definitions: Sequence[Any], digests: Digests | None
) -> dict[str, Shown]:
    """The definitions that are not as last seen, by name."""
    names = [name_of(one) for one in definitions]
    if digests is None or not digests.strict or len(set(names)) < len(names):
        # A name given twice is pinned as both together.
        return {name: Shown(pin=pin) for name, pin in pins_of(definitions).items()}
    fresh: dict[str, Shown] = {}
    for name, one in zip(names, definitions, strict=True):
        written = digests.written(one)
        known = shown.get(name)
        if not name or (known is not None and written is not None and known.stays(written)):
            continue
        fresh[name] = Shown(written) if written is not None else Shown(pin=pin_of(one))
    return fresh
