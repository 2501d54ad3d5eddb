"""What is remembered between calls: bounded, expiring, and never a text."""

from __future__ import annotations

import json

from penstock.mcp.definitions import Digests, mark
from penstock.mcp.memory import WRITTEN_BYTES_MAX, Memory
from penstock.wire.json_leaves import parse
from penstock.wire.jsonrpc.calls import MessageLeaves

TOOL = {"name": "search", "description": "Finds things.", "inputSchema": {"type": "object"}}
URL = "https://a.example/mcp"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_last_shown_definition_counts() -> None:
    """A later list replaces an earlier one; the texts themselves are not kept."""
    memory = Memory()
    memory.see(URL, [TOOL])
    first = memory.shown(URL, "search")
    memory.see(URL, [{**TOOL, "description": "evil"}])
    second = memory.shown(URL, "search")
    assert first and second and first.hash != second.hash
    assert second.description is None and memory.shown("https://b.example", "search") is None


def test_names_that_deceive_are_told_once() -> None:
    """One name from two servers, and a name that only looks like another."""
    memory = Memory()
    assert memory.see(URL, [{"name": "send_mail"}]) == []
    (again,) = memory.see("https://b.example/mcp", [{"name": "send_mail"}])
    assert "another server" in again
    (alike,) = memory.see(URL, [{"name": "send_m\u0430il"}])
    assert "looks like" in alike
    assert memory.see(URL, [{"name": "send_mail"}]) == []


def test_invented_servers_and_tools_do_not_grow_memory() -> None:
    """The memory of what was shown is bounded by servers and tools."""
    memory = Memory()
    for number in range(1500):
        memory.see(f"https://s{number}.example", [TOOL])
    memory.see("https://s1.example", [{"name": f"t{number}"} for number in range(20_000)])
    assert len(memory._shown) == 1000
    assert sum(len(tools) for tools in memory._shown.values()) == 10_000


def test_what_definitions_take_is_bounded() -> None:
    """Past the limit they are pinned at once: compared and named as ever, and not kept."""
    memory = Memory()

    def see(says: str) -> None:
        tools = [{"name": f"t{n}", "description": says * 2**20} for n in range(20)]
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).encode()
        digests = Digests(mark, MessageLeaves(body, parse(body)))
        memory.see(URL, digests.reading.value["result"]["tools"], digests)

    see("a")
    before = [memory.shown(URL, f"t{n}") for n in (0, 19)]
    assert memory._written_bytes <= WRITTEN_BYTES_MAX
    see("a")
    assert [memory.shown(URL, f"t{n}") for n in (0, 19)] == before
    see("b")
    assert all(memory.shown(URL, f"t{n}") != pin for n, pin in zip((0, 19), before, strict=True))
    assert memory._written_bytes <= WRITTEN_BYTES_MAX
    memory.see(URL, [{"name": f"t{n}"} for n in range(20)])
    assert memory._written_bytes == 0


def test_tasks_are_forgotten_oldest_first() -> None:
    """A server that invents tasks pushes out old ones, and memory stays flat."""
    memory = Memory()
    for number in range(10_001):
        memory.start_task(URL, str(number), "search")
    assert memory.tool_of_task(URL, "0") is None
    assert memory.tool_of_task(URL, "10000") == "search"


def test_a_list_seen_again_is_compared_and_not_hashed_anew() -> None:
    """What changed is noticed among what did not; a name given twice is both together."""
    memory = Memory()
    tools = [{"name": f"t{number}", "huge": 2**70 if number == 3 else 1} for number in range(5)]
    memory.see(URL, tools)
    before = [memory.shown(URL, f"t{number}") for number in range(5)]
    memory.see(URL, [*tools[:4], {**tools[4], "title": "New"}])
    after = [memory.shown(URL, f"t{number}") for number in range(5)]
    assert after[:4] == before[:4] and after[4] != before[4]
    memory.see(URL, [*tools, {**tools[0], "title": "Twin"}])
    assert memory.shown(URL, "t0") != before[0]
    memory.see(URL, tools)
    assert [memory.shown(URL, f"t{number}") for number in range(5)] == before
