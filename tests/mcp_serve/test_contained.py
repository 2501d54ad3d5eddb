"""`penstock contain` over `mcp serve`: tools are refused at once and come back when released."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import urllib.request
from pathlib import Path

from mcp import Client
from tests.mcp_serve.serving import Serving, piped, serving

POLICY = "version: 1\nname: open\nmode: observe\nrules: []\n"


def contain(made: Serving, *arguments: str) -> None:
    command = [sys.executable, "-m", "penstock", "contain", "--state-dir"]
    ran = subprocess.run([*command, str(made.folder / "state"), *arguments], capture_output=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


async def added(made: Serving) -> str:
    """What a new client gets of a tool."""
    async with Client(made.url) as client:
        result = await client.call_tool("pipe__add", {"a": 1, "b": 2})
        return str(result.content[0].text)


async def refused(client: Client) -> bool:
    """A client whose connections were cut comes again, or gives up: it gets nothing either way."""
    try:
        result = await asyncio.wait_for(client.call_tool("pipe__add", {"a": 1, "b": 2}), 20)
    except Exception:
        return True
    return bool(result.is_error)


async def test_tools_are_refused_and_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, POLICY, {"pipe": piped()}, ["pipe"]) as made:
        assert await added(made) == "3"
        async with Client(made.url) as before:
            await asyncio.to_thread(contain, made, "--reason", "INC-42")
            assert await refused(before)
        assert "contained because of an incident" in await added(made)
        with urllib.request.urlopen(f"http://{made.admin}/readyz", timeout=10) as answer:
            assert answer.read() == b"ready, contained\n"
        await asyncio.to_thread(contain, made, "--release")
        assert await added(made) == "3"
