"""What the official everything server says unasked, behind `mcp wrap` and behind `mcp serve`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp import Client
from penstock.gateway.servers.open_request import OpenRequest, send_open
from tests.mcp_real.programs import SLOWER_TIER, official
from tests.mcp_serve.serving import serving
from tests.mcp_serve.test_told import Ears, until

pytestmark = SLOWER_TIER
POLICY = """
version: 1
name: said
mode: enforce
rules:
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: placeholder}
"""
LONG = {"duration": 1, "steps": 3}


@asynccontextmanager
async def behind(way: str, mode: Any, ears: Ears, folder: Path) -> AsyncIterator[Client]:
    """A client of the server, by the way of one of the two commands."""
    command = [*official("server-everything"), "stdio"]
    if way == "serve":
        with serving(folder, POLICY, {"all": {"command": command}}, ["all"]) as made:
            async with ears.client(made, mode, log_level="debug") as one:
                yield one
        return
    (folder / "policy.yaml").write_text(POLICY)
    line = [
        *("-m", "penstock", "mcp", "wrap", f"--policy={folder / 'policy.yaml'}"),
        *(f"--state-dir={folder / 'state'}", "--", *command),
    ]
    server = stdio_client(StdioServerParameters(command=sys.executable, args=line))
    async with Client(server, mode=mode, message_handler=ears.message) as one:
        yield one


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("way", ["wrap", "serve"])
async def test_progress_logs_updates_and_tasks_arrive(way: str, mode: Any, tmp_path: Path) -> None:
    """The server is one of the session era: a newer client falls back to that behind `wrap`, and
    is translated to behind `serve`."""
    ears = Ears()
    before, between = ("all__", "all+") if way == "serve" else ("", "")
    async with behind(way, mode, ears, tmp_path) as one:
        newer = one.protocol_version >= "2026"
        assert newer is (way == "serve" and mode == "auto")
        long = f"{before}trigger-long-running-operation"
        await one.call_tool(long, LONG, progress_callback=ears.report)
        await until(lambda: len(ears.progress) >= 3, "three steps")
        uri = f"{between}demo://resource/dynamic/text/1"
        if newer:
            async with one.listen(resource_subscriptions=[uri]) as events:
                assert events.honored.resource_subscriptions == [uri]
                await one.call_tool(f"{before}toggle-subscriber-updates", {})
                event = await asyncio.wait_for(anext(aiter(events)), 30)
                assert event.uri == uri
            return
        await one.session.set_logging_level("debug")
        await one.session.subscribe_resource(uri)
        await one.call_tool(f"{before}toggle-subscriber-updates", {})
        await until(lambda: uri in ears.updated, "an update")
        await one.call_tool(f"{before}toggle-simulated-logging", {})
        await until(lambda: ears.logs, "a log message")
        call = OpenRequest(
            method="tools/call",
            params={
                "name": f"{before}simulate-research-query",
                "arguments": {"topic": "tea"},
                "task": {"ttl": 60000},
            },
        )
        made = await send_open(one, call, None, 30)
        task = {"taskId": made["task"]["taskId"]}
        result = OpenRequest(method="tasks/result", params=task)
        assert "tea" in str(await send_open(one, result, None, 60))
