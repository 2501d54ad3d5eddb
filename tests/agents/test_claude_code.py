"""A real coding agent, unchanged, behind `penstock exec`: the secret it reads does not leave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.cli.demo.story import github_token
from tests.agents.anthropic_replies import HOST, Agency
from tests.agents.running import run_agent
from tests.npm_tools import npm_package

PACKAGE = "@anthropic-ai/claude-code-linux-x64"
VERSION = "2.1.197"
INTEGRITY = (
    "sha512-rIlKmrY0QMyHgPRX/MYWNj039vbypICvI9jVe3rs9Xy2RnNk"
    "lySjyPxqh62QadznzoftEO23uYQ1tFePcQ//bg=="
)


@pytest.fixture(scope="module")
def claude() -> str:
    return str(npm_package(PACKAGE, VERSION, INTEGRITY) / "claude")


@pytest.mark.slow
def test_a_secret_an_agent_reads_stays_on_the_machine_and_comes_back_in_the_answer(
    claude: str, tmp_path: Path
) -> None:
    """The file's token travels as a tool result; the streamed answer repeats it."""
    token = github_token()
    work = tmp_path / "work"
    work.mkdir()
    notes = work / "notes.txt"
    notes.write_text(f"deploy token is {token}\n")
    agency = Agency(str(notes))
    finished = run_agent(
        tmp_path,
        [claude, "-p", "What is in notes.txt?", "--allowedTools", "Read"],
        agency.application,
        [HOST],
        ANTHROPIC_API_KEY="sk-ant-api03-not-a-key",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    assert token in finished.stdout  # restored in the streamed answer
    turns = [json.loads(one) for one in agency.received if b'"tool_result"' in one]
    assert turns, "the agent never sent what it read"
    assert b"PLACEHOLDER_" in agency.received[-1]
    for body in agency.received:
        assert token.encode() not in body
    said = json.loads(finished.stderr.strip().splitlines()[-1])
    assert said["calls"] >= 2
    assert said["hosts"][HOST] == said["calls"]
    assert sum(said["redacted"].values()) >= 1
    assert said["tokens"]["input"] >= 1800
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file
