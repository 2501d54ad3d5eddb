"""The TypeScript clients (v1 and v2, both eras) in front of a governed server.

Each form of refusal has to give the program a clean, named outcome: none may hang or crash.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mcp.gate import serving
from tests.npm_tools import npm_package

SECONDS_MAX = 40

PROGRAM = """
import { Client } from 'CLIENT';
import { StreamableHTTPClientTransport } from 'TRANSPORT';
const client = new Client({ name: 'test', version: '1' }, OPTIONS);
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.SERVER)));
const out = { tools: (await client.listTools()).tools.map((tool) => tool.name) };
out.sum = (await client.callTool({ name: 'add', arguments: { a: 2, b: 3 } })).structuredContent;
out.slow = (await client.callTool({ name: 'slow', arguments: {} })).content[0].text;
try {
  const refused = await client.callTool({ name: 'drop_table', arguments: { name: 't' } });
  out.refused = { isError: refused.isError, text: refused.content[0].text };
} catch (error) {
  out.refused = { error: error.constructor.name, code: error.code, text: error.message };
}
out.after = (await client.callTool({ name: 'add', arguments: { a: 1, b: 1 } })).structuredContent;
console.log(JSON.stringify(out));
process.exit(0);
"""


class Sdk(NamedTuple):
    """A client package and how its program is written."""

    name: str
    package: str
    version: str
    integrity: str
    client: str
    transport: str
    options: str = "{}"


V1 = Sdk(
    "v1",
    "@modelcontextprotocol/sdk",
    "1.32.2",
    "sha512-SWsVtH/0vULSQStoZ6xxH2K09Li8fXYTMC64ZeogCdpZ3XSi1eCPOByV1OpuJxuI3OcmHhosDWYyii07tpPsLw==",
    "@modelcontextprotocol/sdk/client/index.js",
    "@modelcontextprotocol/sdk/client/streamableHttp.js",
)
V2 = Sdk(
    "v2",
    "@modelcontextprotocol/client",
    "2.4.0",
    "sha512-LgrD2OphHuG12vfKFKz6SOnq7bKHQmhGJIAYdD+MZBn2npHEyry6uD8zvktodtl5CQM85MO0anUyD9JwmUmxww==",
    "@modelcontextprotocol/client",
    "@modelcontextprotocol/client",
)
V2_MODERN = V2._replace(
    name="v2 modern", options="{ versionNegotiation: { mode: { pin: '2026-07-28' } } }"
)


async def run(sdk: Sdk, url: str, folder: Path, source: str = PROGRAM) -> dict[str, Any]:
    """The program's report; its error output when it has none."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    package = npm_package(sdk.package, sdk.version, sdk.integrity)
    modules = next(parent for parent in package.parents if parent.name == "node_modules")
    (folder / "node_modules").symlink_to(modules)
    program = folder / "program.mjs"
    text = source.replace("CLIENT", sdk.client).replace("TRANSPORT", sdk.transport)
    program.write_text(text.replace("OPTIONS", sdk.options))
    process = await asyncio.create_subprocess_exec(
        node,
        str(program),
        env={**os.environ, "SERVER": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, error = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, error.decode()
    report: dict[str, Any] = json.loads(out)
    return report


@pytest.mark.slow
@pytest.mark.parametrize("sdk", [V1, V2, V2_MODERN], ids=lambda sdk: sdk.name)
@pytest.mark.parametrize("form", ["advise", "hidden", "error"])
async def test_a_governed_server_serves_typescript(sdk: Sdk, form: str, tmp_path: Path) -> None:
    """Lists are filtered, calls and streams work, and work again after a refusal."""
    async with serving(form) as (url, gate):
        report = await run(sdk, url, tmp_path)
    assert report["tools"] == ["add", "slow"]
    assert (report["sum"], report["slow"]) == ({"result": 5}, "slow done")
    assert report["after"] == {"result": 2}
    refused = report["refused"]
    if form == "advise":
        assert refused == {"isError": True, "text": "Refused by policy: ask #data for drop_table."}
    else:
        code, words = (-32602, "Unknown tool") if form == "hidden" else (-31403, "ask #data")
        assert refused["code"] == code and words in refused["text"]
    calls = [exchange.mcp for exchange in gate.exchanges if exchange.mcp and exchange.mcp.tool]
    assert {call.modern for call in calls} == {sdk is V2_MODERN}
    assert not any(exchange.problem for exchange in gate.exchanges)
