"""What is known to hold nothing is not read again, and nothing else is left unread."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import pytest

from penstock.exchange import Exchange, HttpAnswer, McpCall
from penstock.mcp.definitions import Digests, telling_leaves
from penstock.mcp.memory import Memory
from penstock.wire.jsonrpc.calls import MCP, MCP_API, MessageLeaves


def tool(name: str, says: str = "Adds two numbers.") -> dict[str, Any]:
    return {"name": name, "description": says, "inputSchema": {"type": "object"}}


def answer(*tools: Any, ident: Any = 1, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": ident, "result": {"tools": tools, **more}}).encode()


class Reader:
    """Reads answers as the proxy does; ``evil`` is what its detector finds."""

    def __init__(self) -> None:
        self.clean: set[bytes] = set()
        self.looked: list[str] = []

    def holding(self, texts: set[str]) -> set[str]:
        self.looked += texts
        return {text for text in texts if "evil" in text}

    def found(self, body: bytes) -> list[str]:
        """The texts that are handed on, of which some hold something."""
        leaves = self.leaves(body)
        self.looked.clear()
        told = telling_leaves(
            leaves, self.digests(leaves), self.clean.__contains__, self.clean.add,
            self.holding,
        )  # fmt: skip
        return [leaf.text for leaf in told if "evil" in leaf.text]

    def leaves(self, body: bytes) -> MessageLeaves:
        exchange = Exchange(MCP_API, mcp=McpCall())
        return MCP.read_answer(exchange, HttpAnswer(200, {}, body))

    def digests(self, leaves: MessageLeaves) -> Digests:
        return Digests(lambda data: blake2b(data, digest_size=16).digest(), leaves)


def test_an_unchanged_list_is_not_looked_into_again() -> None:
    reader = Reader()
    body = answer(tool("add"), tool("sub"))
    assert reader.found(body) == [] and "Adds two numbers." in reader.looked
    assert reader.found(answer(tool("add"), tool("sub"), ident=2)) == []
    assert "Adds two numbers." not in reader.looked


def test_what_stands_outside_of_lists_is_always_handed_on() -> None:
    """A list beside a result is no way to keep the result from rules that change every text."""
    reader = Reader()
    body = answer(tool("add"), content=[{"type": "text", "text": "fine"}], instructions="Be kind.")
    for _ in range(2):
        leaves = reader.leaves(body)
        told = telling_leaves(
            leaves, reader.digests(leaves), reader.clean.__contains__, reader.clean.add,
            reader.holding,
        )  # fmt: skip
        texts = {leaf.text for leaf in told}
        assert {"fine", "Be kind."} <= texts and "Adds two numbers." not in texts


def test_a_changed_definition_is_looked_into() -> None:
    """Whatever was known of the one before, and of its neighbours."""
    reader = Reader()
    reader.found(answer(tool("add"), tool("sub")))
    assert reader.found(answer(tool("add"), tool("sub", "evil"))) == ["evil"]
    assert reader.found(answer(tool("add"), tool("sub", "evil"))) == ["evil"]
    assert "Adds two numbers." not in reader.looked


@pytest.mark.parametrize(
    "hostile",
    [
        answer(tool("add"), nextCursor="evil"),
        answer(tool("add"), ident="evil"),
        answer(tool("add"), _meta={"note": "evil"}),
        answer(tool("add"), prompts=[{"name": "p", "description": "evil"}]),
        answer(tool("add"), "evil"),
        answer(tool("add"), [tool("evil")]),
        json.dumps([json.loads(answer(tool("add"))), json.loads(answer(tool("evil")))]).encode(),
        answer(tool("add")).replace(b'"name"', b'"name": "evil", "name2"'),
    ],
)
def test_what_stands_beside_a_known_definition_is_looked_into(hostile: bytes) -> None:
    reader = Reader()
    reader.found(answer(tool("add")))
    assert reader.found(hostile)
    assert reader.found(hostile)  # and again


def test_an_id_inside_a_definition_cannot_hide_a_change() -> None:
    """The answer's number is left out of the hash where it stands first, wherever that is."""
    reader = Reader()
    first = b'{"result":{"tools":[{"name":"a","id":7,"x":"fine"}]},"jsonrpc":"2.0","id":7}'
    other = first.replace(b'"id":7,"x":"fine"', b'"id":8,"x":"evil"')
    assert reader.found(first) == []
    assert reader.found(other) == ["evil"]
    assert reader.found(first.replace(b'"id":7}', b'"id":"evil"}')) == ["evil"]


def test_memory_sees_what_changed_after_an_unchanged_page() -> None:
    """Page, change, page as before: the last look is what counts."""
    reader, memory = Reader(), Memory()

    def see(body: bytes) -> None:
        leaves = reader.leaves(body)
        memory.see("s", leaves.reading.value["result"]["tools"], reader.digests(leaves))

    see(answer(tool("add")))
    first = memory.shown("s", "add")
    see(answer(tool("add"), ident=2))
    assert memory.shown("s", "add") == first
    see(answer(tool("add", "Other.")))
    assert memory.shown("s", "add") != first
    see(answer(tool("add"), ident=3))
    assert memory.shown("s", "add") == first


def test_many_pages_and_servers_are_bounded() -> None:
    reader, memory = Reader(), Memory()
    for number in range(1200):
        leaves = reader.leaves(answer(tool("add"), nextCursor=str(number)))
        tools = leaves.reading.value["result"]["tools"]
        memory.see(f"s{number}", tools, reader.digests(leaves))
        memory.see("one", tools, reader.digests(leaves))
    assert len(memory._pages) <= 1000
    assert len(memory._pages.get("one", ())) <= 100
