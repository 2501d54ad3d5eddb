"""The official conformance suite, direct and through ``penstock run`` with policies on.

Both frozen requirement sets, server direction. Penstock may not cost one check, whatever the
fixture server itself gets wrong, and not a third of the time. The suite also checks each
message against the schema of its protocol version, so a filtered list has to stay valid.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.harness import Penstock, running_penstock
from tests.mcp_conformance.fixture import HIDDEN, application
from tests.npm_tools import node_honouring_the_variables, npm_package

SUITE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
INTEGRITY = (
    "sha512-eXtZFgmtZiU5SsvXty+RGXGnyIqEVm3GLU/HZmg1wMjtKOocPZZgD9HQKd30oJhio5UB0wFJmsc6"
    "r8u48Q+EYA=="
)
RUN_SECONDS_MAX = 120
# The quickest runs are compared, for the machine does other things as well; more of them are
# made only while the comparison fails.
RUNS_MIN, RUNS_MAX = 2, 8
SLOWER_AT_MOST = 1.3
# What a run may take longer besides, on machines whose cores are taken by other work.
SLACK_SECONDS = 1.0
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
    arguments = ["--connect-to", f"127.0.0.1:{port}=127.0.0.1:{port}"]
    with running_penstock(folder, POLICY, arguments=arguments) as started:
        yield started


class Run:
    """One run of the suite: what each check said, and how long it took."""

    def __init__(self, revision: str, port: int, folder: Path, variables: dict[str, str]) -> None:
        suite = npm_package(SUITE, VERSION, INTEGRITY) / "dist" / "index.js"
        began = time.monotonic()
        subprocess.run(
            [
                *(node_honouring_the_variables(), str(suite), "server"),
                *("--url", f"http://127.0.0.1:{port}/mcp"),
                *("--requirements", revision, "--output-dir", str(folder)),
            ],
            env={**without_proxies(), **variables},
            capture_output=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
        self.seconds = time.monotonic() - began
        self.checks: Counter[tuple[str, str, str]] = Counter()
        for file in folder.glob("*/checks.json"):
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", file.parent.name)
            for check in json.loads(file.read_text()):
                self.checks[(scenario, check["id"], check["status"])] += 1

    @property
    def passed(self) -> int:
        return sum(n for (_, _, status), n in self.checks.items() if status == "SUCCESS")


def without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


@pytest.mark.parametrize("revision", sorted(PASSED_AT_LEAST))
def test_no_check_is_lost(revision: str, port: int, proxy: Penstock, tmp_path: Path) -> None:
    """Every check says the same through the proxy as without it, in at most 1.3 times the time."""
    governed = {**proxy.environment, "NO_PROXY": "", "no_proxy": ""}
    before = calls(proxy)
    direct: list[Run] = []
    through: list[Run] = []
    while len(through) < RUNS_MIN or (
        slower(direct, through) > SLOWER_AT_MOST and len(through) < RUNS_MAX
    ):
        number = len(through)
        direct.append(Run(revision, port, tmp_path / f"direct-{number}", {}))
        through.append(Run(revision, port, tmp_path / f"through-{number}", governed))
    expected = direct[0].checks
    assert direct[0].passed >= PASSED_AT_LEAST[revision]
    for run in through:
        assert run.checks == expected
    assert calls(proxy) - before > len(through) * 50, "the suite did not come through the proxy"
    ratio = slower(direct, through)
    seconds = min(run.seconds for run in direct), min(run.seconds for run in through)
    print(
        f"{revision}: {through[0].passed} of {direct[0].passed} checks, "
        f"{seconds[0]:.1f} s direct, {seconds[1]:.1f} s through"
    )
    assert ratio <= SLOWER_AT_MOST


def slower(direct: list[Run], through: list[Run]) -> float:
    """The quickest run through the proxy, less the slack, in quickest direct runs."""
    quickest = max(0.0, min(run.seconds for run in through) - SLACK_SECONDS)
    return quickest / min(run.seconds for run in direct)


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
