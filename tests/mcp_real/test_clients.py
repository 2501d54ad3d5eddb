"""Real clients, `penstock run` in between, and the official "everything" server behind it.

Over the proxy's port where a client takes a proxy, over a port that stands for the server where
it takes a URL. Each form of refusal gives each client a named outcome, and the next call works.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp import Client
from tests.harness import Penstock, running_penstock
from tests.mcp.test_typescript_sdk import V1, V2, V2_MODERN, Sdk, run
from tests.mcp_conformance.suite import without_proxies
from tests.mcp_real.programs import FORMS, SLOWER_TIER, official
from tests.mcp_real.test_servers import POLICY, as_refused, outcome
from tests.mcp_serve.serving import is_open, serving, wait_for
from tests.npm_tools import node_honouring_the_variables, npm_package
from tests.pypi_tools import python_programs

pytestmark = SLOWER_TIER
SECONDS_MAX = 120
DENIED = "get-sum"
# Refused by a condition: it may hold for one call and not for the next, so the list shows it.
LISTED = "get-env"
AT_THE_CALL = """
  - id: not-now
    tools: {{server: "*", deny: [{listed}], refuse: {form}}}
    when: mcp.tool == "{listed}"
"""
PROGRAM = """
import { Client } from 'CLIENT';
import { StreamableHTTPClientTransport } from 'TRANSPORT';
const client = new Client({ name: 'test', version: '1' }, OPTIONS);
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.SERVER)));
const out = { tools: (await client.listTools()).tools.map((tool) => tool.name) };
const echo = async (message) =>
  (await client.callTool({ name: 'echo', arguments: { message } })).content[0].text;
out.echo = await echo('hello');
try {
  const refused = await client.callTool({ name: 'get-sum', arguments: { a: 1, b: 2 } });
  out.refused = { isError: refused.isError, text: refused.content[0].text };
} catch (error) {
  out.refused = { error: error.constructor.name, code: error.code, text: error.message };
}
out.after = await echo('again');
console.log(JSON.stringify(out));
process.exit(0);
"""
INSPECTOR = (
    "sha512-ppfN5+HnVWo6dY7jz5RMFUFTfEYPnFUjN3XN2w6PI6nmB/AFFXPGPfLBRvCeSx+qIH6kpi7Nsz5HYRp49loHpA"
    "=="
)


@pytest.fixture(scope="module")
def everything() -> Iterator[int]:
    """The server over streamable HTTP; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [*official("server-everything"), "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_open(port), "the server")
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=FORMS)
def governed(
    request: pytest.FixtureRequest, everything: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Penstock, str]]:
    """A form of refusal, a proxy that uses it, and the URL of its port for the server."""
    folder = tmp_path_factory.mktemp("penstock")
    policy = (POLICY + AT_THE_CALL).format(denied=DENIED, listed=LISTED, form=request.param)
    arguments = ["--reverse", f"127.0.0.1:0=http://127.0.0.1:{everything}"]
    with running_penstock(folder, policy, arguments=arguments) as proxy:
        ready = json.loads((folder / "ready.json").read_text())
        yield request.param, proxy, f"http://{ready['reverse']}/mcp"


def check(form: str, report: dict[str, Any]) -> None:
    """What a program reported: it went on working, and knew what had happened."""
    assert "echo" in report["tools"] and DENIED not in report["tools"]
    assert report["echo"].endswith("hello") and report["after"].endswith("again")
    refused = report["refused"]
    if form == "advise":
        assert refused["isError"] is True and "'not-that'" in refused["text"]
    else:
        word = f"Unknown tool: {DENIED}" if form == "hidden" else "'not-that'"
        assert refused["error"] and word in refused["text"], refused


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_python_sdk(governed: tuple[str, Penstock, str], mode: Any) -> None:
    form, _, url = governed
    async with Client(url, mode=mode) as client:
        assert DENIED not in [tool.name for tool in (await client.list_tools()).tools]
        as_refused(form, DENIED, await outcome(client, DENIED, {"a": 1, "b": 2}))
        assert (await outcome(client, "echo", {"message": "hi"}))[0] == "result"


@pytest.mark.parametrize("way", ["reverse", "forward"])
def test_fastmcp(governed: tuple[str, Penstock, str], everything: int, way: str) -> None:
    form, proxy, url = governed
    python = python_programs("fastmcp", "fastmcp==4.1.2") / "python"
    program = Path(__file__).with_name("fastmcp_program.py")
    target = url if way == "reverse" else f"http://127.0.0.1:{everything}/mcp"
    told = {} if way == "reverse" else {**proxy.environment, "NO_PROXY": "", "no_proxy": ""}
    before = len(proxy.records())
    finished = subprocess.run(
        [str(python), str(program), target],
        env={**without_proxies(), **told},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    check(form, json.loads(finished.stdout.splitlines()[-1]))
    assert len(proxy.records(before + 4)) >= before + 4


@pytest.mark.parametrize("sdk", [V1, V2, V2_MODERN], ids=lambda sdk: sdk.name)
async def test_typescript(governed: tuple[str, Penstock, str], sdk: Sdk, tmp_path: Path) -> None:
    """The server is of the session era: a client pinned to the newer one is told so by it."""
    form, _, url = governed
    if sdk is V2_MODERN:
        with pytest.raises(AssertionError, match=r"[Uu]nsupported|not supported|protocol|version"):
            await run(sdk, url, tmp_path, PROGRAM)
        return
    check(form, await run(sdk, url, tmp_path, PROGRAM))


@pytest.mark.parametrize("sdk", [V1, V2, V2_MODERN], ids=lambda sdk: sdk.name)
async def test_typescript_at_one_address(sdk: Sdk, tmp_path: Path) -> None:
    """`penstock mcp serve` translates: the client of the newer era uses the older server."""
    servers = {"all": {"command": [*official("server-everything"), "stdio"]}}
    policy = POLICY.format(denied=DENIED, form="advise")
    program = PROGRAM.replace("'echo'", "'all__echo'").replace("'get-sum'", "'all__get-sum'")
    with serving(tmp_path, policy, servers, ["all"]) as made:
        report = await run(sdk, made.url, tmp_path, program)
    report["tools"] = [name.removeprefix("all__") for name in report["tools"]]
    check("advise", report)


async def test_inspector(governed: tuple[str, Penstock, str]) -> None:
    """The command line says what was refused, and ends; it looks for a tool in the list first."""
    form, _, url = governed
    listed = await inspect(url, "tools/list")
    assert '"echo"' in listed and DENIED not in listed
    unlisted = await inspect(url, "tools/call", "--tool-name", DENIED)
    assert f"Tool '{DENIED}' not found on server" in unlisted
    refused = await inspect(url, "tools/call", "--tool-name", LISTED)
    assert (f"Unknown tool: {LISTED}" if form == "hidden" else "not-now") in refused
    echo = ("tools/call", "--tool-name", "echo", "--tool-arg", "message=hello")
    assert "Echo: hello" in await inspect(url, *echo)


async def inspect(url: str, *method: str) -> str:
    """The inspector's output, standard and error."""
    package = npm_package("@modelcontextprotocol/inspector", "2.12.0", INSPECTOR)
    launcher = package / "clients" / "launcher" / "build" / "index.js"
    process = await asyncio.create_subprocess_exec(
        *(node_honouring_the_variables(), str(launcher), "--cli", url),
        *("--transport", "http", "--method", *method),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    finally:
        if process.returncode is None:
            process.kill()
    return out.decode()
