"""Servers that hang, flood, lie and never end a line: their callers hear it, nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from mcp import Client
from tests.mcp_serve.serving import SHOP, Serving, piped, serving, wait_for
from tests.mcp_serve.test_told import Ears

HOSTILE = SHOP.with_name("hostile_server.py")
POLICY = "version: 1\nname: hostile\nmode: enforce\nrules: []\n"


def hostile(kind: str) -> dict[str, Any]:
    return {"command": [sys.executable, str(HOSTILE), kind], "mode": "legacy"}


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1024 / 1024


async def works(made: Serving) -> None:
    async with Client(made.url) as one:
        assert (await one.call_tool("good__add", {"a": 1, "b": 1})).structured_content == {
            "result": 2
        }


async def test_one_server_does_no_harm_to_the_others(tmp_path: Path) -> None:
    kinds = ("hang", "long", "flood", "wrong", "garbage")
    servers = {"good": piped(), **{kind: hostile(kind) for kind in kinds}}
    there = ["good", "long", "flood", "wrong", "garbage"]
    with serving(tmp_path, POLICY, servers, there) as made:
        await works(made)
        ears = Ears()
        async with ears.client(made, "legacy") as one:
            began = time.monotonic()
            names = {tool.name for tool in (await one.list_tools()).tools}
            assert "good__add" in names and "flood__go" in names and "hang__go" not in names
            assert time.monotonic() - began < 25, "a list does not wait for who hangs"

            await one.session.set_logging_level("error")
            assert (await one.call_tool("flood__go", {})).content[0].text == "went"
            assert 1 <= len(ears.logs) < 2000, "of 20 000 messages"
            assert (await one.call_tool("garbage__go", {})).content[0].text == "went"

            with pytest.raises((MCPError, TimeoutError)):
                await asyncio.wait_for(one.call_tool("wrong__go", {}), 3)
            await works(made)

            before = resident_mib(made.process.pid)
            with pytest.raises(MCPError, match="long cannot be reached"):
                await one.call_tool("long__go", {})
            assert resident_mib(made.process.pid) - before < 90, "the line was not kept"
            assert "a message is too long" in made.log.read_text()
            await works(made)
        wait_for(lambda: made.states()["long"] == "connected", "it to be started again")


JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


async def session(http: httpx2.AsyncClient, url: str, number: int) -> None:
    """One session of the older era, in messages: the SDK's client would be most of the work."""

    async def said(headers: dict[str, str], method: str, **params: Any) -> httpx2.Response:
        named = {} if method.startswith("notifications/") else {"id": number}
        message = {"jsonrpc": "2.0", "method": method, "params": params, **named}
        return await http.post(url, headers=headers, json=message)

    opening = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    }
    opened = await said(JSON, "initialize", **opening)
    headers = {**JSON, "mcp-session-id": opened.headers["mcp-session-id"]}
    await said(headers, "notifications/initialized")
    for step in range(2):
        arguments = {"a": number, "b": step}
        added = await said(headers, "tools/call", name="good__add", arguments=arguments)
        assert f'"result":{number + step}}}' in added.text.replace(" ", "")
    assert (await http.delete(url, headers=headers)).status_code == 200


@pytest.mark.timeout(300)
async def test_two_hundred_sessions_at_once_have_their_own_answers(tmp_path: Path) -> None:
    """And what each held is gone with it."""
    servers = {"good": piped(), "own": piped(connection="caller")}
    with serving(tmp_path, POLICY, servers, ["good"]) as made:
        async with httpx2.AsyncClient(timeout=250, limits=httpx2.Limits()) as http:
            await asyncio.gather(*(session(http, made.url, number) for number in range(200)))
        async with Client(made.url, mode="legacy") as one:
            assert not (await one.call_tool("own__add", {"a": 1, "b": 1})).is_error
            assert made.status()["servers"]["own"]["connections"] == 1
        wait_for(lambda: made.status()["servers"]["own"]["connections"] == 0, "its own to end")


async def test_calls_that_run_are_answered_before_the_end(tmp_path: Path) -> None:
    """After SIGTERM; then the process ends by itself."""
    with serving(tmp_path, POLICY, {"good": piped()}, ["good"]) as made:
        with contextlib.suppress(Exception):  # whatever its client makes of the end
            async with Client(made.url) as one:
                calls = [asyncio.create_task(one.call_tool("good__nap", {})) for _ in range(5)]
                await asyncio.sleep(1)
                made.process.terminate()
                answers = await asyncio.gather(*calls)
        assert [answer.content[0].text for answer in answers] == ["rested"] * 5
        assert await asyncio.to_thread(made.process.wait, 30) == 0
