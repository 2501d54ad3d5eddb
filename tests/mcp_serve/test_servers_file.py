"""The servers file: what it may say, and where it is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from penstock.gateway.clients import asking
from penstock.gateway.clients.asking import Parking, RunningCall
from penstock.gateway.names import named_list, tool_of, uri_of, with_named_resources
from penstock.gateway.servers.file import FILE_BYTES_MAX, load
from penstock.gateway.stdio.lines import Lines, OverlongLineError
from penstock.policy.language.problem import ConfigError

WHOLE = """
version: 1
servers:
  github:
    url: https://api.example.com/mcp/
    headers: {Authorization: "Bearer ${TOKEN}"}
  files:
    command: [npx, server, /srv]
    env: [HOME_X, "MODE=fast"]
    limits: {memory_mib: 2048, open_files: 256}
    connection: caller
"""


def read(folder: Path, text: str | bytes) -> Any:
    file = folder / "servers.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(file, {"TOKEN": "t-1"})


def test_a_whole_file(tmp_path: Path) -> None:
    """Variables are put in; who has sessions of its own has a default by kind."""
    servers = read(tmp_path, WHOLE)
    assert servers["github"].headers == {"Authorization": "Bearer t-1"}
    assert servers["github"].per_caller and servers["files"].per_caller
    bare = "version: 1\nservers: {a: {command: [x]}, b: {url: 'http://h', connection: shared}}\n"
    assert not any(entry.per_caller for entry in read(tmp_path, bare).values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "servers.yaml:1"),
        ("version: 1\nservers: {}\n", ":2: servers"),
        ("version: 2\nservers: {a: {command: [x]}}\n", ":1: version"),
        ("version: 1\nservers:\n  a_b: {command: [x]}\n", ":3: servers.a_b: a name is"),
        ("version: 1\nservers:\n  a: {}\n", ":3: servers.a: needs either"),
        ("version: 1\nservers:\n  a: {command: []}\n", "'command' is empty"),
        ("version: 1\nservers:\n  a: {url: 'http://x', command: [x]}\n", "needs either"),
        ("version: 1\nservers:\n  a: {url: 'ftp://x'}\n", "must be http"),
        ("version: 1\nservers:\n  a: {url: 'http://u:secret@x'}\n", "without a password"),
        ("version: 1\nservers:\n  a: {url: 'http://x', env: [A]}\n", "belong to a 'command'"),
        ("version: 1\nservers:\n  a: {command: [x], headers: {b: c}}\n", "belong to a 'url'"),
        ("version: 1\nservers:\n  a: {command: [x], limits: {memory_mib: 0}}\n", "memory_mib"),
        (
            "version: 1\nservers:\n  a:\n    url: http://x\n    headerz: {}\n",
            ":5: servers.a.headerz",
        ),
        ("version: 1\nservers:\n  a: {url: 'http://x', headers: {k: '${NOPE}'}}\n", "NOPE is not"),
        ("a: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"#" * (FILE_BYTES_MAX + 1), "larger than"),
        ("[" * 5000, "servers.yaml:1"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a__b", ("a", "b")),
        ("a__b__c", ("a", "b__c")),
        ("a___b", ("a", "_b")),
        ("b", ("", "b")),
        ("__b", ("", "b")),
    ],
)
def test_a_name_has_one_reading(name: str, parts: tuple[str, str]) -> None:
    """A server's name has no underscore, so two servers' tools never share a name."""
    assert tool_of(name) == parts


def test_resources_of_answers_can_be_read_here() -> None:
    """Links, embedded resources and prompts' messages; other blocks stay as they are."""
    assert uri_of("web+git+ssh://x") == ("web", "git+ssh://x")
    text = {"type": "text", "text": "x"}
    embedded = {"type": "resource", "resource": {"uri": "f:1", "text": "y"}}
    result = {"content": [text, {"type": "resource_link", "uri": "f:2"}, embedded, 5], "n": 1}
    named = with_named_resources("web", result)
    assert named["content"][0] is text and named["content"][3] == 5 and named["n"] == 1
    assert named["content"][1]["uri"] == "web+f:2"
    assert named["content"][2]["resource"] == {"uri": "web+f:1", "text": "y"}
    prompt = with_named_resources("web", {"messages": [{"content": embedded}, {"content": "z"}]})
    assert prompt["messages"][0]["content"]["resource"]["uri"] == "web+f:1"
    assert named_list("web", "tools", [{"name": "t"}, {"title": "no name"}, 3]) == [
        {"name": "web__t"}
    ]


async def test_parked_calls_are_bounded_and_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is stopped for a new one; what is not answered in time is stopped as well."""
    monkeypatch.setattr(asking, "PARKED_MAX", 2)
    parking, calls = Parking(), []
    for _ in range(3):
        call = RunningCall(None)
        call.task = asyncio.create_task(call.asked("elicitation/create", {}))
        assert isinstance(await call.step(), asking.Question)
        calls.append((call, await parking.park(call, ("ada",))))
    oldest = calls[0][0].task
    assert oldest is not None and oldest.cancelled()
    with pytest.raises(MCPError):
        parking.take(calls[0][1], ("ada",))
    with pytest.raises(MCPError):
        parking.take(calls[1][1], ("eve",))
    assert parking.take(calls[1][1], ("ada",)) is calls[1][0]
    monkeypatch.setattr(asking.time, "monotonic", lambda: float("inf"))
    await parking.expire()
    last = calls[2][0].task
    assert last is not None and last.cancelled()
    await calls[1][0].stop()


async def test_a_call_may_not_ask_for_ever() -> None:
    async def answer(_method: str, _params: Any) -> dict[str, Any]:
        return {}

    call = RunningCall(answer)
    for _ in range(asking.ROUNDS_MAX):
        await call.asked("roots/list", {})
    with pytest.raises(MCPError, match="too many questions"):
        await call.asked("roots/list", {})


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_lines_are_cut_the_same_in_pieces_of_any_size(size: int) -> None:
    content = b"a\n\r\n" + b"x" * 30 + b"\n\nlast"
    pieces = [content[at : at + size] for at in range(0, len(content), size)]

    async def read() -> bytes:
        return pieces.pop(0) if pieces else b""

    lines, found = Lines(read, 40), []
    while line := await lines.next():
        found.append(line)
    assert found == [b"a\n", b"\r\n", b"x" * 30 + b"\n", b"\n", b"last"]


@pytest.mark.parametrize("content", [b"x" * 50, b"x" * 50 + b"\n"])
async def test_an_overlong_line_is_not_kept(content: bytes) -> None:
    pieces = [content[at : at + 10] for at in range(0, len(content), 10)]

    async def read() -> bytes:
        return pieces.pop(0) if pieces else b""

    with pytest.raises(OverlongLineError):
        await Lines(read, 40).next()
