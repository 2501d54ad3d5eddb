"""The official mcp SDK through a running penstock, in both protocol eras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import TextContent

from mcp import Client, MCPError
from tests.harness import Penstock, https_server, running_penstock

HOST = "tools.example.com"
URL = f"https://{HOST}/mcp"
POLICY = f"""
version: 1
name: mcp-tests
mode: enforce
rules:
  - id: read-only
    tools:
      server: "https://{HOST}/*"
      allow: [get_*, list_*, look_up]
      refuse: %s
  - id: no-secrets
    redact: {{find: [secret], in: [request]}}
"""

pytestmark = pytest.mark.filterwarnings("ignore")


class Server:
    """Three tools; ``calls`` says what was really run."""

    def __init__(self, json_response: bool) -> None:
        self.calls: list[tuple[str, str]] = []
        server = MCPServer("tests")

        @server.tool()
        def get_weather(city: str) -> str:
            """The weather."""
            self.calls.append(("get_weather", city))
            return f"sunny in {city}"

        @server.tool()
        def look_up(key: str) -> str:
            """Repeats what it is asked."""
            self.calls.append(("look_up", key))
            return f"looked up {key}"

        @server.tool()
        def delete_all(name: str) -> str:
            """Deletes."""
            self.calls.append(("delete_all", name))
            return "gone"

        self.application: Any = server.streamable_http_app(
            json_response=json_response,
            transport_security=TransportSecuritySettings(allowed_hosts=[HOST]),
        )


@pytest.fixture(params=[True, False], ids=["json", "sse"])
def server(request: pytest.FixtureRequest) -> Server:
    return Server(request.param)


@pytest.fixture(params=["advise", "error", "hidden"])
def form(request: pytest.FixtureRequest) -> str:
    wanted: str = request.param
    return wanted


@pytest.fixture
def proxy(
    server: Server, form: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Penstock]:
    with (
        https_server(tmp_path / "server", server.application, [HOST]) as upstream,
        running_penstock(tmp_path / "penstock", POLICY % form, upstream) as started,
    ):
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started


def text_of(result: Any) -> str:
    part = result.content[0]
    assert isinstance(part, TextContent)
    return part.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_are_filtered_and_refused(
    proxy: Penstock, server: Server, form: str, mode: Any
) -> None:
    """Granted tools work, the others are neither listed nor run, and the client hears why."""
    async with Client(URL, mode=mode) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        answer = text_of(await client.call_tool("get_weather", {"city": "Bern"}))
        try:
            result = await client.call_tool("delete_all", {"name": "x"})
            refusal, raised = text_of(result), False
            assert result.is_error
        except MCPError as error:
            refusal, raised = str(error), True
        again = text_of(await client.call_tool("get_weather", {"city": "Thun"}))
    assert listed == ["get_weather", "look_up"]
    assert (answer, again) == ("sunny in Bern", "sunny in Thun")
    assert [name for name, _ in server.calls] == ["get_weather", "get_weather"]
    assert raised == (form != "advise")
    assert ("Unknown tool" if form == "hidden" else "read-only") in refusal


async def test_a_secret_in_arguments_stays_in(proxy: Penstock, server: Server, secret: str) -> None:
    """The server sees a placeholder; its answer comes back with the original."""
    async with Client(URL) as client:
        answer = text_of(await client.call_tool("look_up", {"key": secret}))
    assert server.calls[-1][1].startswith("PLACEHOLDER_GITHUB_TOKEN_")
    assert answer == f"looked up {secret}"
