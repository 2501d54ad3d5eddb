"""What is remembered between MCP calls: tools as last shown, tasks, what models asked for.

Everything is bounded in number and age, per process, and forgotten with it. What does not fit
or was never seen counts as unknown, which is the cautious answer. Holds no text of a call.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from penstock.mcp.causes import Causes
from penstock.mcp.definitions import Digests
from penstock.mcp.names import skeleton
from penstock.mcp.pins import Pin, pins_of
from penstock.mcp.taint import Taints
from penstock.wire.loose import as_dict, as_text

# A pod talks to dozens of servers with some hundred tools together.
SERVERS_MAX = 1000
TOOLS_MAX = 10_000
# Pages of one list, in each of its filtered forms.
PAGES_MAX = 100
# Tasks whose result may still come, and how long it is waited for.
TASKS_MAX = 10_000
TASK_SECONDS = 86_400.0

Digest = Callable[[Any], bytes | None]


class Memory:
    """One per process. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.taints = Taints(clock)
        self.causes = Causes(clock)
        self._shown: dict[str, dict[str, Pin]] = {}
        self._marks: dict[str, dict[str, bytes]] = {}  # quick hashes of the same
        self._pages: dict[str, set[bytes]] = {}  # documents that changed nothing since
        self._looks: dict[str, set[tuple[str, str]]] = {}
        self._tools = 0
        self._tasks: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    # ------------------------------------------------------------------ definitions

    def see(
        self, server: str, definitions: Sequence[Any], digests: Digests | None = None
    ) -> list[str]:
        """Note one page of a server's tools; a sentence for each new name that may deceive.

        ``digests`` are the hashes of the document it came in.
        """
        if server not in self._shown and len(self._shown) >= SERVERS_MAX:
            return []
        page = digests.whole if digests is not None else None
        pages = self._pages.setdefault(server, set())
        if page in pages:
            return []  # as it was, and nothing else was shown since
        shown = self._shown.setdefault(server, {})
        marks = self._marks.setdefault(server, {})
        alarms = []
        fresh = self._fresh(marks, definitions, digests or _mark)
        if fresh or len(pages) >= PAGES_MAX:
            pages.clear()
        if page is not None:
            pages.add(page)
        for name, pin in pins_of(fresh).items():
            if name not in shown:
                if self._tools >= TOOLS_MAX:
                    marks.pop(name, None)
                    continue
                self._tools += 1
                alarms += self._deceives(server, name)
            shown[name] = Pin(name, pin.hash, pin.fields)  # without its texts
        return alarms

    def _fresh(
        self, marks: dict[str, bytes], definitions: Sequence[Any], digest: Digest
    ) -> list[Any]:
        """The definitions that are not as last seen: pinning 500 tools anew costs 20 ms."""
        names = [as_text(as_dict(one).get("name")) or "" for one in definitions]
        if len(set(names)) < len(names):
            marks.clear()  # a name given twice is pinned as both together
            return list(definitions)
        fresh = []
        for name, one in zip(names, definitions, strict=True):
            mark = digest(one)
            if mark is None or marks.get(name) != mark:
                fresh.append(one)
                marks.pop(name, None)
                if mark is not None:
                    marks[name] = mark
        return fresh

    def _deceives(self, server: str, name: str) -> list[str]:
        alike = self._looks.setdefault(skeleton(name), set())
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
        return self._shown.get(server, {}).get(tool)

    # ------------------------------------------------------------------ deferred results

    def start_task(self, server: str, task: str, tool: str) -> None:
        """A call of ``tool`` was answered with a task: its result comes later."""
        self._tasks[(server, task)] = tool, self._clock() + TASK_SECONDS
        while len(self._tasks) > TASKS_MAX:
            self._tasks.popitem(last=False)

    def tool_of_task(self, server: str, task: str) -> str | None:
        """The tool a task runs; None when it is not known (any more)."""
        tool, until = self._tasks.get((server, task), (None, 0.0))
        return tool if until > self._clock() else None


def _mark(definition: Any) -> bytes | None:
    """A quick hash; None for what the quick writer cannot write (huge numbers)."""
    try:
        return blake2b(orjson.dumps(definition), digest_size=16).digest()
    except orjson.JSONEncodeError:
        return None
