"""Codex CLI, unchanged, behind `penstock exec`: it speaks WebSocket, HTTP where refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.demo.story import github_token
from tests.agents.openai_replies import HOSTS, Agency
from tests.agents.running import POLICY, run_agent
from tests.npm_tools import npm_package

PACKAGE = "@openai/codex"
VERSION = "0.169.0-linux-x64"
INTEGRITY = (
    "sha512-o05NyAOCDygSPRo1yinzxvkRSdmsZyBD9E7mbpmjRanSfM8l"
    "ypqWtQgEo4XfNkwhuCR2aFu8mlGOsQGFXVbVww=="
)
PROGRAM = Path("vendor/x86_64-unknown-linux-musl/bin/codex")
NO_SOCKETS = """
  - id: no-sockets
    deny: {}
    when: call.operation == "connect"
"""


@pytest.fixture(scope="module")
def codex() -> str:
    return str(npm_package(PACKAGE, VERSION, INTEGRITY) / PROGRAM)


def run(codex: str, folder: Path, agency: Agency, model: str, policy: str) -> tuple[str, Any]:
    """What the agent said in the end, and the proxy's summary."""
    finished = run_agent(
        folder,
        # The command it runs is the test's own `cat`; a container has no sandbox to give.
        [
            *(codex, "exec", "--skip-git-repo-check", "-m", model),
            *("--dangerously-bypass-approvals-and-sandbox", "What is in notes.txt?"),
        ],
        agency.application,
        HOSTS,
        policy,
        CODEX_API_KEY="sk-proj-not-a-key",
    )
    return finished.stdout, json.loads(finished.stderr.strip().splitlines()[-1])


def planted(folder: Path) -> tuple[str, str]:
    """A file with a token in it: its name and the token."""
    token = github_token()
    file = folder / "notes.txt"
    file.write_text(f"deploy token is {token}\n")
    return str(file), token


def assert_kept(token: str, agency: Agency, folder: Path) -> None:
    """The token is in nothing that left, and in no file of the proxy's."""
    left = [*agency.posts, *agency.others, *(message.encode() for message in agency.messages)]
    assert any(b"PLACEHOLDER_" in body for body in left)
    assert all(token.encode() not in body for body in left)
    for file in (folder / "state").rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt-5-codex", "gpt-6.1-sol"])
def test_a_secret_in_a_tool_result_stays_here_over_a_websocket(
    codex: str, tmp_path: Path, model: str
) -> None:
    """The second model calls its tools from a script, and names them in the conversation."""
    file, token = planted(tmp_path)
    agency = Agency(file)
    said, summary = run(codex, tmp_path, agency, model, POLICY)
    assert token in said  # restored in the streamed answer
    assert agency.upgrades == 1 and agency.posts == []  # nothing fell back
    assert_kept(token, agency, tmp_path)
    assert summary["tokens"] == {"input": 1800, "output": 80}
    assert summary["redacted"] == {"secret.github_token": 1} and summary["refused"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("refuser", ["policy", "provider"])
def test_it_goes_on_over_http_at_once_where_the_upgrade_is_refused(
    codex: str, tmp_path: Path, refuser: str
) -> None:
    """Whoever refuses: one attempt, then the same conversation by POST, judged as well."""
    file, token = planted(tmp_path)
    agency = Agency(file, sockets=refuser == "policy")
    policy = POLICY + (NO_SOCKETS if refuser == "policy" else "")
    said, summary = run(codex, tmp_path, agency, "gpt-5-codex", policy)
    assert token in said
    assert agency.messages == [] and len(agency.posts) == 2
    assert agency.upgrades == (0 if refuser == "policy" else 1)
    assert summary["refused"] == (1 if refuser == "policy" else 0)
    assert_kept(token, agency, tmp_path)
