"""HTTP+SSE through the proxy, the real client and server: refusals come where answers come."""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST

POLICY = f"""
version: 1
name: old
mode: enforce
rules:
  - id: some-tools
    tools: {{server: {HOST}, deny: [drop_*], refuse: FORM}}
  - id: short
    tools: {{server: {HOST}, max_result_bytes: 3000, refuse: FORM}}
"""
PROGRAM = """
import asyncio, json, sys
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

async def said(session, tool):
    try:
        result = await asyncio.wait_for(session.call_tool(tool, {}), 20)
        return {"error": result.is_error, "text": result.content[0].text[:200]}
    except TimeoutError:
        return {"hangs": True}
    except Exception as error:
        return {"raised": type(error).__name__, "text": str(error)[:200]}

async def main():
    async with (
        sse_client(sys.argv[1]) as (reading, writing),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        listed = [tool.name for tool in (await session.list_tools()).tools]
        calls = [await said(session, tool) for tool in ("drop_all", "look", "long", "look")]
        print(json.dumps({"tools": listed, "calls": calls}))

asyncio.run(main())
"""


def application() -> Any:
    made = MCPServer("old")

    @made.tool()
    def drop_all() -> str:
        raise AssertionError("a refused call reached the server")

    @made.tool()
    def look() -> str:
        return "looked"

    @made.tool()
    def long() -> str:
        return "x" * 5000

    open_to_all = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return made.sse_app(transport_security=open_to_all)


@pytest.fixture(params=["advise", "hidden", "error"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Penstock, str]]:
    folder = tmp_path_factory.mktemp("old")
    policy = POLICY.replace("FORM", request.param)
    with (
        https_server(folder / "server", application(), [HOST]) as upstream,
        running_penstock(folder / "penstock", policy, upstream) as started,
    ):
        yield started, request.param


def test_a_refusal_comes_on_the_stream_the_client_waits_at(proxy: tuple[Penstock, str]) -> None:
    """A named outcome at once, for a call and for a result; the calls after it work."""
    running, form = proxy
    done = running.run(sys.executable, "-c", PROGRAM, f"https://{HOST}/sse")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tools"] == ["look", "long"]
    refused, looked, large, again = told["calls"]
    assert looked == again == {"error": False, "text": "looked"}
    if form == "advise":
        assert refused["error"] is True and "some-tools" in refused["text"]
        assert large["error"] is True and "larger than 3000 bytes" in large["text"]
    else:
        words = "Unknown tool" if form == "hidden" else "some-tools"
        assert refused["raised"] == "MCPError" and words in refused["text"]
        assert "raised" in large


POST = """
import ssl, sys, urllib.request
proxy, trust, url, body = sys.argv[1:]
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({"https": proxy}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=trust)),
)
request = urllib.request.Request(url, body.encode(), {"content-type": "application/json"})
with opener.open(request, timeout=20) as answer:
    print(answer.status, answer.read().decode())
"""


def call_of(ident: int) -> str:
    params = {"name": "drop_all", "arguments": {}}
    return json.dumps({"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params})


def test_nothing_of_another_caller_is_said_on_a_stream(proxy: tuple[Penstock, str]) -> None:
    """Whoever learnt the address of a session could else answer its calls, with ids of its own."""
    running, _ = proxy
    trust = running.environment["SSL_CERT_FILE"]
    context = ssl.create_default_context(cafile=trust)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": running.url}),
        urllib.request.HTTPSHandler(context=context),
    )
    opening = urllib.request.Request(f"https://{HOST}/sse", headers={"accept": "text/event-stream"})
    with opener.open(opening, timeout=20) as stream:
        lines = iter(stream.readline, b"")
        endpoint = next(line for line in lines if line.startswith(b"data: "))[6:].decode().strip()
        url = f"https://{HOST}{endpoint}"
        other = running.run(sys.executable, "-c", POST, running.url, trust, url, call_of(99))
        status, _, said = other.stdout.partition(" ")
        assert status == "200" and json.loads(said)["id"] == 99, other
        own = urllib.request.Request(url, call_of(7).encode(), {"content-type": "application/json"})
        with opener.open(own, timeout=20) as answer:
            assert answer.status == 202
        event = next(line for line in lines if line.startswith(b"data: "))
        assert json.loads(event[6:])["id"] == 7
