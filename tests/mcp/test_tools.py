"""Filtering list answers: only what is hidden leaves, byte for byte, plain and in a stream."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from penstock.mcp.answers import EventFilter
from penstock.mcp.tools import filter_list_answer
from penstock.policy.globs import Globs

ODD = b"""{ "jsonrpc" : "2.0",\r
  "id": 7, "result": {"tools": [
    {"name": "get_a", "description": "\\u00e4 \xc3\xa4", "n": 1.0e5},
    {"name": "drop_b"} ,
    {"description": "no name"},
    {"name": "get_c", "big": 12345678901234567890123}
  ], "nextCursor" : "c=="}}"""


GET = Globs(("get_*",), fold=False)


def listed_names(document: Any, member: str = "tools") -> list[str]:
    """The names in a list answer, in order."""
    return [element["name"] for element in document["result"][member]]


def hidden(element: Any) -> bool:
    name = element.get("name")
    return name is None or not GET.match(name)


class Hiding:
    """Rules that hide, and refuse nothing."""

    bytes_max = None

    def judge(self, message: dict[str, Any], size: int) -> None:
        return None

    def hidden(self, member: str, element: Any) -> bool:
        return hidden(element)


def stream() -> EventFilter:
    return EventFilter(Hiding(), None)


def list_answer(*names: str, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": n} for n in names], **members}}


def test_tool_patterns_are_exact_in_letter_case() -> None:
    """A server may have ``Get_x`` and ``get_x`` as two tools."""
    either = Globs(("get_*", "ping"), fold=False)
    assert either.match("get_x") and either.match("ping")
    assert not GET.match("Get_x") and not Globs((), fold=False).match("x")


def test_only_hidden_elements_leave() -> None:
    """Everything else keeps its bytes: spaces, escapes, numbers, order, cursor."""
    filtered = filter_list_answer(ODD, hidden)
    assert listed_names(json.loads(filtered)) == ["get_a", "get_c"]
    for kept in (
        b'"\\u00e4 \xc3\xa4", "n": 1.0e5',
        b"12345678901234567890123",
        b'"nextCursor" : "c=="',
    ):
        assert kept in filtered
    assert filtered.startswith(ODD[:40]) and filtered.endswith(ODD[-20:])


@pytest.mark.parametrize(
    "names",
    [(), ("get_a",), ("x",), ("x", "y"), ("x", "get_a"), ("get_a", "x"), ("x", "get_a", "y")],
)
def test_every_position_can_leave(names: tuple[str, ...]) -> None:
    """First, last, only and all elements leave well-formed JSON behind."""
    body = json.dumps(list_answer(*names)).encode()
    expected = [name for name in names if name.startswith("get_")]
    assert listed_names(json.loads(filter_list_answer(body, hidden))) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json, but tools",
        b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"tools"}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":"none"}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"tools"}}',
        b'{"tools":[{"name":"x"}]}',
        json.dumps(list_answer("get_a", "get_b")).encode(),
    ],
)
def test_what_needs_no_change_is_not_touched(body: bytes) -> None:
    """Other answers, and lists without anything hidden, come back identical."""
    assert filter_list_answer(body, hidden) == body


def test_an_escaped_key_does_not_evade() -> None:
    """``"to\\u006fls"`` is the same key to every client."""
    body = json.dumps(list_answer("drop_b", "get_a")).replace("tools", "to\\u006fls").encode()
    assert listed_names(json.loads(filter_list_answer(body, hidden))) == ["get_a"]


def test_a_list_that_reads_two_ways_is_withheld() -> None:
    """With the key twice, another parser could show what this one took out."""
    twice = b'{"tools":[{"name":"drop"}],"tools":[{"name":"get_a"}]}'
    body = b'{"jsonrpc":"2.0","id":"q","result":' + twice + b"}"
    answer = json.loads(filter_list_answer(body, hidden))
    assert answer["id"] == "q" and "error" in answer


def test_batches_are_filtered_each() -> None:
    """The era with batches may answer two lists in one array."""
    body = json.dumps([list_answer("x", "get_a"), list_answer("get_b", "y")]).encode()
    first, second = json.loads(filter_list_answer(body, hidden))
    assert (listed_names(first), listed_names(second)) == (["get_a"], ["get_b"])


def test_a_list_for_one_caller_is_not_cached_for_all() -> None:
    """Public becomes private and a long life short; what is stricter already stays."""
    body = json.dumps(list_answer("get_a", cacheScope="public", ttlMs=86_400_000)).encode()
    result = json.loads(filter_list_answer(body, hidden))["result"]
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 60_000)
    strict = json.dumps(list_answer("get_a", cacheScope="private", ttlMs=5)).encode()
    assert filter_list_answer(strict, hidden) == strict


def test_other_lists_can_be_filtered_too() -> None:
    """Prompts and resources have the same shape."""
    body = b'{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"x"},{"name":"get_p"}]}}'
    filtered = filter_list_answer(body, hidden, "prompts")
    assert listed_names(json.loads(filtered), "prompts") == ["get_p"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_list_in_a_stream_is_filtered_in_its_event(end: str) -> None:
    """The event's other lines, line ends and spaces stay."""
    data = json.dumps(list_answer("drop_b", "get_a"))
    event = f": hello{end}id: 3{end}event: message{end}data: {data}{end}{end}".encode()
    filtered = stream().feed(event)
    head = f": hello{end}id: 3{end}event: message{end}data: ".encode()
    assert filtered.startswith(head) and filtered.endswith(f"{end}{end}".encode())
    assert listed_names(json.loads(filtered[len(head) :])) == ["get_a"]


def test_a_list_over_several_data_lines_is_filtered() -> None:
    """JSON may be spread over data lines; together they are the list."""
    event = (
        b'data: {"jsonrpc":"2.0","id":1,\ndata: "result":{"tools":[{"name":"x"},\n'
        b'data: {"name":"get_a"}]}}\n\n'
    )
    filtered = stream().feed(event)
    lines = [line[6:] for line in filtered.split(b"\n") if line]
    assert listed_names(json.loads(b"\n".join(lines))) == ["get_a"]


@pytest.mark.parametrize(
    "event",
    [
        b": keep-alive\n\n",
        b"id: 1\ndata:\n\n",
        b"event: endpoint\ndata: /message?sessionId=1\n\n",
        b'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n',
        b"data: tools \\ nonsense\n\n",
        b"",
    ],
)
def test_other_events_pass_unchanged(event: bytes) -> None:
    """Keep-alives, priming events, endpoints and notifications are not rewritten."""
    assert stream().feed(event) == event


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stream_may_be_cut_anywhere(end: str) -> None:
    """Whatever the pieces, the same bytes come out, and nothing that is whole waits."""
    ping = f": ping{end}{end}".encode()
    listed = f"event: message{end}data: {json.dumps(list_answer('x', 'get_ä'))}{end}{end}".encode()
    whole = ping + listed + ping + b"data: cut"
    expected = ping + stream().feed(listed) + ping + b"data: cut"
    for cut in range(len(whole) + 1):
        pieces = stream()
        out = pieces.feed(whole[:cut]) + pieces.feed(whole[cut:]) + pieces.end()
        assert out == expected


def test_a_list_of_500_tools_is_filtered_in_milliseconds() -> None:
    """500 tools with schemas, half of them hidden, in a few milliseconds of CPU (bound: 30)."""
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(8)}}
    tools = [
        {
            "name": f"{'get' if n % 2 else 'drop'}_{n}",
            "description": "d" * 200,
            "inputSchema": schema,
        }
        for n in range(500)
    ]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}).encode()
    times = []
    for _ in range(5):
        start = time.process_time()
        filtered = filter_list_answer(body, hidden)
        times.append(time.process_time() - start)
    assert len(listed_names(json.loads(filtered))) == 250
    assert min(times) < 0.030
