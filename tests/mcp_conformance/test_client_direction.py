"""The official conformance suite's client direction: a client behind the proxy, judged.

For each scenario the suite starts a server (and often an authorization server) of its own and
looks at what a client sends. ``client.py`` is that client; it knows the proxy by its environment.
What it gets wrong it has to get wrong in the same way without the proxy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.client_environment import variables
from tests.harness import START_SECONDS
from tests.mcp_conformance.suite import Run, compare

HERE = Path(__file__).resolve().parent
POLICY = """
version: 1
name: conformance
mode: enforce
rules:
  - id: not-everything
    tools:
      deny: [delete_everything]
      max_argument_bytes: 100_000
      max_result_bytes: 1_000_000
  - id: no-secrets
    redact: {find: [secret.github_token, pii.email], in: [both]}
  - id: often-enough
    limit: {tool_calls: 100_000, every: 1h, per: [tool]}
"""
# Of what the frozen sets require, the SDK's client passes all; extensions are not its business.
PASSED_AT_LEAST = {"2025-11-25": 300, "2026-07-28": 460}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        os.environ.get("PENSTOCK_CONFORMANCE") != "all",
        reason="scripts/conformance runs it: a client for each of 57 scenarios takes minutes",
    ),
]


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """The variables of a client behind a running proxy, and the proxy's audit log."""
    folder = tmp_path_factory.mktemp("penstock")
    (folder / "policy.yaml").write_text(POLICY)
    state, ready = folder / "state", folder / "ready.json"
    command = [sys.executable, str(HERE / "open_proxy.py"), str(folder / "policy.yaml")]
    process = subprocess.Popen([*command, str(state), str(ready)])
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        url = f"http://{json.loads(ready.read_text())['listen']}"
        own = variables(url, str(state / "ca.pem"), str(state / "ca-bundle.pem"))
        # The suite itself and its servers are not the proxy's clients: Node reads no variables.
        own = {name: value for name, value in own.items() if name != "NODE_USE_ENV_PROXY"}
        yield {**own, "NO_PROXY": "", "no_proxy": ""}, state / "audit.jsonl"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize("revision", sorted(PASSED_AT_LEAST))
def test_no_check_is_lost(
    revision: str, governed: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    """Headers, metadata, step-up, schemas and retries reach the server as the client sent them."""
    environment, audit = governed
    client = f"{sys.executable} {HERE / 'client.py'}"
    arguments = ["client", "--command", client, "--requirements", revision, "--timeout", "120000"]

    def calls() -> int:
        lines = audit.read_text().splitlines() if audit.exists() else []
        return sum('"type":"call"' in line for line in lines)

    before = calls()
    compare(
        f"{revision}, client",
        lambda folder: Run(arguments, folder, {}),
        lambda folder: Run(arguments, folder, environment),
        tmp_path,
        passed_at_least=PASSED_AT_LEAST[revision],
        runs=1,
    )
    assert calls() - before > 50, "the client did not come through the proxy"
