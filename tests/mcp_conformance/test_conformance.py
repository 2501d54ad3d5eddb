"""The official conformance suite, direct and through ``penstock run`` with policies on.

Both frozen requirement sets, server direction, as forward proxy and as reverse proxy. Penstock
may not cost one check, whatever the fixture server itself gets wrong, and not a third of the
time. The suite also checks each message against the schema of its protocol version, so a
filtered list has to stay valid.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.harness import Penstock, running_penstock
from tests.mcp_conformance.fixture import HIDDEN, application
from tests.mcp_conformance.suite import Run, compare

POLICY = f"""
version: 1
name: conformance
mode: enforce
rules:
  - id: not-everything
    tools:
      server: "http://127.0.0.1/mcp"
      deny: [{HIDDEN}]
      resources: ["test://*"]
      prompts: [test_*]
      features: [sampling, elicitation, roots, completion, logging, tasks, subscriptions]
      max_argument_bytes: 100_000
      max_result_bytes: 1_000_000
      refuse: hidden
  - id: no-secrets
    redact: {{find: [secret, pii.email], in: [both]}}
  - id: often-enough
    limit: {{tool_calls: 100_000, every: 1h, per: [tool]}}
"""
# How many checks the fixture passes directly: fewer, and the comparison says little.
PASSED_AT_LEAST = {"2025-11-25": 77, "2026-07-28": 153}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The fixture server's port, over plain HTTP on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(), log_level="critical", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the fixture did not start"
        time.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=5)


@pytest.fixture(scope="module")
def proxy(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("penstock")
    arguments = ["--reverse", f"127.0.0.1:0=http://127.0.0.1:{port}"]
    with running_penstock(folder, POLICY, arguments=arguments) as started:
        yield started


@pytest.mark.parametrize("way", ["forward", "reverse"])
@pytest.mark.parametrize("revision", sorted(PASSED_AT_LEAST))
def test_no_check_is_lost(
    revision: str, way: str, port: int, proxy: Penstock, tmp_path: Path
) -> None:
    """Every check says the same through the proxy as without it, in at most 1.3 times the time.

    ``forward``: the suite is told of the proxy by its environment. ``reverse``: it is given a URL
    of the proxy's and knows nothing.
    """
    ready = json.loads((proxy.state.parent / "ready.json").read_text())
    governed = {**proxy.environment, "NO_PROXY": "", "no_proxy": ""}

    def direct(folder: Path) -> Run:
        return against(f"http://127.0.0.1:{port}/mcp", revision, folder, {})

    def through(folder: Path) -> Run:
        if way == "reverse":
            return against(f"http://{ready['reverse']}/mcp", revision, folder, {})
        return against(f"http://127.0.0.1:{port}/mcp", revision, folder, governed)

    before = calls(proxy)
    runs = compare(
        f"{revision}, server, {way}",
        direct,
        through,
        tmp_path,
        passed_at_least=PASSED_AT_LEAST[revision],
        runs=2 if way == "forward" else 1,
    )
    assert calls(proxy) - before > runs * 50, "the suite did not come through the proxy"


def against(url: str, revision: str, folder: Path, variables: dict[str, str]) -> Run:
    """The suite's server direction."""
    return Run(["server", "--url", url, "--requirements", revision], folder, variables)


def test_the_policy_was_on(proxy: Penstock) -> None:
    """The runs above were governed: the hidden tool is hidden, and calling it is refused."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy.url}))
    where = next(r["destination"] for r in proxy.records(1) if "mcp" in r)
    url = f"http://{where['host']}:{where['port']}/mcp"

    def ask(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        body = {
            "jsonrpc": "2.0",
            "id": 0,
            "method": method,
            "params": {**parameters, "_meta": meta},
        }
        headers = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
        } | ({"mcp-name": parameters["name"]} if "name" in parameters else {})
        with opener.open(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
            text = answer.read().decode()
        document: dict[str, Any] = json.loads(text[text.index("{") :])
        return document

    names = [tool["name"] for tool in ask("tools/list", {})["result"]["tools"]]
    assert "test_simple_text" in names and HIDDEN not in names
    refused = ask("tools/call", {"name": HIDDEN, "arguments": {"name": "x"}})
    assert refused["error"] == {"code": -32602, "message": f"Unknown tool: {HIDDEN}"}


def calls(proxy: Penstock) -> int:
    return len([record for record in proxy.records() if "mcp" in record])
