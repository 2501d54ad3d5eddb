"""Run an agent's own program behind `penstock exec`, in a home of its own, against an upstream."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness import https_server

POLICY = """
version: 1
name: agents
mode: enforce
other_traffic: deny
rules:
  - id: no-secrets-out
    redact: {find: [secret], in: [request], with: placeholder}
"""


def run_agent(
    folder: Path,
    command: Sequence[str],
    application: Any,
    hosts: list[str],
    policy: str = POLICY,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """What ``command`` said, and on stderr the proxy's summary, when it ended well.

    It runs in ``folder/work``; ``hosts`` are served by ``application`` (ASGI). It sees none of
    this machine's own settings: a fresh home, and no proxy or CA variable.
    """
    home, work, file = folder / "home", folder / "work", folder / "policy.yaml"
    home.mkdir()
    work.mkdir(exist_ok=True)
    file.write_text(policy)
    with https_server(folder / "upstream", application, hosts) as upstream:
        ways = [f"--connect-to={host}:443=127.0.0.1:{upstream.port}" for host in hosts]
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "penstock", "exec", "--format", "json"),
                *("--policy", str(file), "--state-dir", str(folder / "state")),
                *("--upstream-ca", str(upstream.ca), *ways, "--", *command),
            ],
            capture_output=True,
            text=True,
            timeout=110,
            cwd=work,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
            check=False,
        )
    assert finished.returncode == 0, finished.stderr
    return finished
