"""Gemini CLI, unchanged, behind `penstock exec`: another API, another CA variable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from penstock.cli.demo.story import github_token
from tests.agents.gemini_replies import HOST, Gemini
from tests.agents.running import run_agent
from tests.npm_tools import npm_package

PACKAGE = "@google/gemini-cli"
VERSION = "0.61.0"
INTEGRITY = (
    "sha512-dbQ9A0qBtFJNi6XBkHvfZ6Azpn6PNgH/P8h2MZ67RLlX8hSAVjup"
    "39CRWqdRxZv7YXIuhrFaytr8y0jKnkoxnQ=="
)


@pytest.mark.slow
def test_a_secret_in_a_question_stays_here_and_the_streamed_answer_holds_it(tmp_path: Path) -> None:
    """The client trusts by NODE_EXTRA_CA_CERTS alone and asks with :streamGenerateContent."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    program = npm_package(PACKAGE, VERSION, INTEGRITY) / "bundle" / "gemini.js"
    token = github_token()
    gemini = Gemini()
    finished = run_agent(
        tmp_path,
        [node, str(program), "-m", "gemini-2.5-pro", "-p", f"deploy with {token}"],
        gemini.application,
        [HOST],
        GEMINI_API_KEY="not-a-key",
        GEMINI_CLI_TRUST_WORKSPACE="true",
    )
    assert f"deploy with {token}" in finished.stdout
    assert any(b"PLACEHOLDER_" in body for body in gemini.received)
    for body in gemini.received:
        assert token.encode() not in body
    said = json.loads(finished.stderr.strip().splitlines()[-1])
    assert said["hosts"] == {HOST: 1}
    assert said["tokens"] == {"input": 500, "output": 20}
    assert said["redacted"] == {"secret.github_token": 1}
