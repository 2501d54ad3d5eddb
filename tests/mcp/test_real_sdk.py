"""The real Python client of both eras, with our reading and refusing in front of its server."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

from mcp import Client
from tests.mcp.gate import serving

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
KINDS = pytest.mark.parametrize("json_response", [False, True])


@ERAS
@KINDS
async def test_a_governed_conversation_works(mode: Any, json_response: bool) -> None:
    """Listing shows what is allowed, calls work, progress streams; nothing is called ambiguous."""
    async with (
        serving(json_response=json_response) as (url, gate),
        Client(url, mode=mode) as client,
    ):
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == ["add", "slow"]
        result = await client.call_tool("add", {"a": 2, "b": 3})
        assert result.structured_content == {"result": 5}
        assert (await client.call_tool("slow", {})).is_error is False
    calls = [exchange.mcp for exchange in gate.exchanges if exchange.mcp]
    assert [call.tool for call in calls if call.tool] == ["add", "slow"]
    assert {call.modern for call in calls if call.tool} == {mode == "auto"}
    seen = [call.tools_listed for call in calls if call.tools_listed]
    assert seen == [["add", "drop_table", "slow"]]
    assert [call.result_text for call in calls if call.tool] == ["5", "slow done"]
    assert not any(exchange.problem for exchange in gate.exchanges)


@ERAS
async def test_advice_reaches_the_model_as_a_tool_error(mode: Any) -> None:
    """The call returns normally, marked as error, with the policy's text."""
    async with serving("advise") as (url, _), Client(url, mode=mode) as client:
        result = await client.call_tool("drop_table", {"name": "t"})
        assert result.is_error and "ask #data" in result.content[0].text
        assert (await client.call_tool("add", {"a": 1, "b": 1})).is_error is False


@ERAS
@pytest.mark.parametrize(
    ("form", "code", "text"),
    [("hidden", -32602, "Unknown tool: drop_table"), ("error", -31403, "ask #data")],
)
async def test_a_hard_refusal_is_a_named_error(mode: Any, form: str, code: int, text: str) -> None:
    """The client raises its own error class with our code and text, and goes on working."""
    async with serving(form) as (url, _), Client(url, mode=mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("drop_table", {"name": "t"})
        assert caught.value.error.code == code and text in caught.value.error.message
        assert (await client.call_tool("add", {"a": 1, "b": 1})).is_error is False


async def test_the_old_two_endpoint_transport_is_read_and_filtered() -> None:
    """Answers arrive on the GET stream, calls go by POST: lists are filtered there as well."""
    async with (
        serving(old_transport=True) as (url, gate),
        sse_client(url.replace("/mcp", "/sse")) as (reading, writing),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        listed = await session.list_tools()
        assert [tool.name for tool in listed.tools] == ["add", "slow"]
        assert (await session.call_tool("add", {"a": 2, "b": 3})).is_error is False
    opened = gate.exchanges[0]
    assert opened.stream and opened.mcp is not None
    assert opened.mcp.tools_listed == ["add", "drop_table", "slow"]
    assert opened.mcp.result_text == "5"
    assert [e.mcp.tool for e in gate.exchanges if e.mcp and e.mcp.tool] == ["add"]
    assert not any(exchange.problem for exchange in gate.exchanges)
