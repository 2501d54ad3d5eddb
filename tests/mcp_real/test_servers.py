"""The official servers behind `penstock mcp wrap`, and behind `penstock mcp serve` all at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from mcp import Client
from tests.mcp_real.programs import FORMS, SERVERS, SLOWER_TIER, Real
from tests.mcp_serve.serving import serving

pytestmark = SLOWER_TIER
SECONDS_MAX = 60
POLICY = """
version: 1
name: real
mode: enforce
rules:
  - id: not-that
    tools: {{server: "*", deny: [{denied}], refuse: {form}}}
  - id: no-mail
    redact: {{find: [pii.email], in: [both], with: placeholder}}
"""


async def outcome(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """What the program sees of a call: its kind, and its words."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            result = await client.call_tool(tool, arguments)
    except MCPError as error:
        return f"error {error.error.code}", error.error.message
    words = " ".join(getattr(block, "text", "") for block in result.content)
    return ("tool error" if result.is_error else "result"), words


def as_refused(form: str, tool: str, seen: tuple[str, str]) -> None:
    """Each form has one clean, named outcome."""
    kind, words = seen
    if form == "hidden":
        assert (kind, words) == ("error -32602", f"Unknown tool: {tool}")
    else:
        assert kind == ("tool error" if form == "advise" else "error -31403")
        assert "'not-that'" in words


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("real", SERVERS, ids=lambda real: real.name)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_behind_wrap(real: Real, form: str, mode: Any, tmp_path: Path) -> None:
    """Listed without what is refused, used, refused, and used again."""
    (tmp_path / "policy.yaml").write_text(POLICY.format(denied=real.denied, form=form))
    work = tmp_path / "work"
    work.mkdir()
    line = [
        *("-m", "penstock", "mcp", "wrap", f"--policy={tmp_path / 'policy.yaml'}"),
        *(f"--state-dir={tmp_path / 'state'}", f"--env=MEMORY_FILE_PATH={work / 'memory.jsonl'}"),
        *("--", *real.command(work)),
    ]
    server = StdioServerParameters(command=sys.executable, args=line)
    async with Client(stdio_client(server), mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert real.denied not in names
        for _ in range(2):
            if real.allowed is not None:
                tool, arguments, word = real.allowed(work)
                assert tool in names
                kind, words = await outcome(client, tool, arguments)
                assert kind == "result" and word in words and "ada@example.org" not in words
            as_refused(form, real.denied, await outcome(client, real.denied, real.arguments))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_all_behind_one_address(mode: Any, tmp_path: Path) -> None:
    """Six servers in two languages; one client of each era."""
    work = tmp_path / "work"
    work.mkdir()
    file = f"MEMORY_FILE_PATH={work / 'memory.jsonl'}"
    servers = {one.name: {"command": one.command(work), "env": [file]} for one in SERVERS}
    denied = ", ".join(one.denied for one in SERVERS)
    policy = POLICY.format(denied=denied, form="advise")
    with serving(tmp_path, policy, servers, list(servers)) as made:
        async with Client(made.url, mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            for real in SERVERS:
                assert f"{real.name}__{real.denied}" not in names
                if real.allowed is not None:
                    tool, arguments, word = real.allowed(work)
                    kind, words = await outcome(client, f"{real.name}__{tool}", arguments)
                    assert kind == "result" and word in words, (real.name, words)
                refused = await outcome(client, f"{real.name}__{real.denied}", real.arguments)
                as_refused("advise", real.denied, refused)
