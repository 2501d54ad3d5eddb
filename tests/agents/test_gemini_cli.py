"""Gemini CLI, unchanged, behind `penstock exec`: another API, another CA variable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.demo.story import github_token
from tests.agents.gemini_replies import HOST, Gemini
from tests.harness import https_server
from tests.npm_tools import npm_package

PACKAGE = "@google/gemini-cli"
VERSION = "0.61.0"
INTEGRITY = (
    "sha512-dbQ9A0qBtFJNi6XBkHvfZ6Azpn6PNgH/P8h2MZ67RLlX8hSAVjup"
    "39CRWqdRxZv7YXIuhrFaytr8y0jKnkoxnQ=="
)
POLICY = """
version: 1
name: agents
mode: enforce
other_traffic: deny
rules:
  - id: no-secrets-out
    redact: {find: [secret], in: [request], with: placeholder}
"""


@pytest.mark.slow
def test_a_secret_in_a_question_stays_here_and_the_streamed_answer_holds_it(tmp_path: Path) -> None:
    """The client trusts by NODE_EXTRA_CA_CERTS alone and asks with :streamGenerateContent."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    program = npm_package(PACKAGE, VERSION, INTEGRITY) / "bundle" / "gemini.js"
    token = github_token()
    work, home, policy = tmp_path / "work", tmp_path / "home", tmp_path / "policy.yaml"
    work.mkdir()
    home.mkdir()
    policy.write_text(POLICY)
    gemini = Gemini()
    with https_server(tmp_path / "upstream", gemini.application, [HOST]) as upstream:
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "penstock", "exec", "--format", "json"),
                *("--policy", str(policy), "--state-dir", str(tmp_path / "state")),
                *("--upstream-ca", str(upstream.ca)),
                *("--connect-to", f"{HOST}:443=127.0.0.1:{upstream.port}"),
                *("--", node, str(program), "-m", "gemini-2.5-pro"),
                *("-p", f"deploy with {token}"),
            ],
            capture_output=True,
            text=True,
            timeout=110,
            cwd=work,
            stdin=subprocess.DEVNULL,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "GEMINI_API_KEY": "not-a-key",
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
            },
        )
    assert finished.returncode == 0, finished.stderr
    assert f"deploy with {token}" in finished.stdout
    assert any(b"PLACEHOLDER_" in body for body in gemini.received)
    for body in gemini.received:
        assert token.encode() not in body
    said = json.loads(finished.stderr.strip().splitlines()[-1])
    assert said["hosts"] == {HOST: 1}
    assert said["tokens"] == {"input": 500, "output": 20}
    assert said["redacted"] == {"secret.github_token": 1}
