"""Refusals on the two-endpoint transport reach a client that waits on its stream."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from tests.harness import running_penstock
from tests.mcp_serve.serving import shop, wait_for

POLICY = """
version: 1
name: older
mode: enforce
rules:
  - id: no-drops
    tools: {{server: "http://127.0.0.1/*", deny: [drop_table], refuse: {form}}}
  - id: no-keys
    deny: {{find: [secret.private_key]}}
"""


@pytest.mark.parametrize("form", ["advise", "hidden", "error"])
async def test_a_real_client_is_told_and_goes_on(form: str, tmp_path: Path) -> None:
    """Each form, and a refusal by content."""
    with shop("sse") as port:
        arguments = ["--reverse", f"127.0.0.1:0=http://127.0.0.1:{port}"]
        policy = POLICY.format(form=form)
        with running_penstock(tmp_path, policy, arguments=arguments) as proxy:
            where = json.loads((tmp_path / "ready.json").read_text())["reverse"]
            async with (
                asyncio.timeout(40),
                sse_client(f"http://{where}/sse") as (reading, writing),
                ClientSession(reading, writing) as session,
            ):
                await session.initialize()
                listed = await session.list_tools()
                assert "drop_table" not in [tool.name for tool in listed.tools]
                for _ in range(2):
                    await refused_by_name(session, form)
                    added = await session.call_tool("add", {"a": 1, "b": 2})
                    assert added.structured_content == {"result": 3}
                key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 4
                kept = await session.call_tool(
                    "echo", {"text": f"{key}\n-----END PRIVATE KEY-----"}
                )
                assert kept.is_error and "'no-keys'" in kept.content[0].text

            def denied() -> list[str]:
                return [r["mcp"]["tool"] for r in proxy.records() if r["verdict"] == "deny"]

            wait_for(lambda: denied() == ["drop_table", "drop_table", "echo"], "the records")


async def refused_by_name(session: ClientSession, form: str) -> None:
    if form == "advise":
        advice = await session.call_tool("drop_table", {"name": "t"})
        assert advice.is_error and "'no-drops'" in advice.content[0].text
        return
    with pytest.raises(MCPError) as caught:
        await session.call_tool("drop_table", {"name": "t"})
    assert caught.value.error.code == (-32602 if form == "hidden" else -31403)
