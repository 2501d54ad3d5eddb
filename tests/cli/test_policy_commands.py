"""``penstock check``, ``test`` and ``replay`` as one runs them: words, data, exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli import main

POLICY = "version: 1\nrules:\n  - {id: ours, allow: {models: [gpt-*]}}\n"
CASE = """- name: %s
  policy: p.yaml
  call: {provider: openai, model: %s}
  expect: {verdict: allow}
"""


def penstock(*arguments: str | Path, stdin: str | None = None) -> Result:
    """Run the command line; exceptions are failures of the test."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "p.yaml"
    file.write_text(POLICY)
    return file


def recorded(model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]})
    request = {
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "headers": {"content-type": "application/json"},
        "body": body,
    }
    return json.dumps({"id": model, "request": request}) + "\n"


def test_check_of_a_good_policy(policy: Path) -> None:
    """Nothing on stdout, what was checked on stderr, exit 0."""
    result = penstock("check", policy)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 rule, mode enforce" in result.stderr


def test_check_lists_every_problem(tmp_path: Path) -> None:
    """One line each, ``file:line: path: message``; exit 1; the same as data."""
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nmode: off\nrules:\n  - {id: a, dney: {}}\n")
    result = penstock("check", file)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1 and len(lines) == 3
    assert lines[0].startswith(f"{file}:2: mode: 'off' is not known; allowed: observe")
    data = json.loads(penstock("check", file, "--format", "json").stdout)
    assert not data["ok"] and [one["line"] for one in data["problems"]] == [2, 4, 4]


def test_check_prints_schema_and_types() -> None:
    """What an editor and an author ask for."""
    assert json.loads(penstock("check", "--schema").stdout)["title"] == "Penstock policy"
    assert "pii.email" in penstock("check", "--types").stdout.splitlines()


def test_check_without_files_is_a_usage_error() -> None:
    """Exit 2, and what is missing."""
    result = penstock("check")
    assert result.exit_code == 2 and "policy file" in result.stderr


def test_test_passes_and_fails_by_exit_code(tmp_path: Path, policy: Path) -> None:
    """Exit 0 when all pass; 1 with expected and got when one does not."""
    file = tmp_path / "p_test.yaml"
    file.write_text(CASE % ("good", "gpt-5"))
    assert penstock("test", tmp_path).exit_code == 0
    file.write_text(CASE % ("good", "gpt-5") + CASE % ("bad", "o4"))
    result = penstock("test", tmp_path)
    assert result.exit_code == 1
    assert f"FAILED  {file}:5: bad" in result.stdout
    assert "verdict: expected allow, got deny" in result.stdout
    assert "1 passed, 1 failed" in result.stderr
    data = json.loads(penstock("test", tmp_path, "--format", "json").stdout)
    assert [one["passed"] for one in data["cases"]] == [True, False]


def test_test_that_finds_nothing_fails(tmp_path: Path) -> None:
    """An empty folder is a mistake in a pipeline, not a success."""
    result = penstock("test", tmp_path)
    assert result.exit_code != 0 and "no test found" in result.stderr


def test_test_may_require_coverage(tmp_path: Path, policy: Path) -> None:
    """A rule no case reaches is named, and fails where that is asked for."""
    policy.write_text(POLICY + "  - {id: unseen, deny: {hosts: [x.example]}}\n")
    (tmp_path / "p_test.yaml").write_text(CASE % ("good", "gpt-5"))
    result = penstock("test", tmp_path)
    assert result.exit_code == 0 and "not reached by any test: unseen" in result.stdout
    assert penstock("test", tmp_path, "--require-coverage").exit_code == 1


def test_replay_says_what_a_rule_would_have_done(tmp_path: Path, policy: Path) -> None:
    """The calls that change, and the count by rule; plain, gzipped and from stdin alike."""
    content = recorded("gpt-5") + recorded("o4")
    plain, packed = tmp_path / "r.jsonl", tmp_path / "r.jsonl.gz"
    plain.write_text(content)
    packed.write_bytes(gzip.compress(content.encode()))
    for file in (plain, packed, "-"):
        result = penstock("replay", "--policy", policy, file, stdin=content)
        assert result.exit_code == 1
        assert result.stdout.splitlines() == ["o4  openai.chat_completions  o4  deny (ours)"]
        assert "rule ours would have denied 1 of 2 calls" in result.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00\x01" * 99, b"[", b'{"x":1}\n', b"\x1f\x8b\x08cut"],
    ids=["empty", "binary", "cut", "another's", "half of a gzip"],
)
def test_replay_of_nothing_is_exit_2(tmp_path: Path, policy: Path, content: bytes) -> None:
    """No call was decided: nobody must take that for "nothing would change"."""
    for name in ("calls.jsonl", "calls.jsonl.gz"):
        file = tmp_path / name
        file.write_bytes(content)
        result = penstock("replay", "--policy", policy, file)
        assert result.exit_code == 2 and "Errno" not in result.output, result.output


def test_replay_against_another_policy(tmp_path: Path, policy: Path) -> None:
    """Only differences are listed; none is exit 0."""
    file = tmp_path / "r.jsonl"
    file.write_text(recorded("gpt-5") + recorded("o4"))
    same = penstock("replay", "--policy", policy, "--against", policy, file)
    assert (same.exit_code, same.stdout) == (0, "")
    wider = tmp_path / "wider.yaml"
    wider.write_text(POLICY.replace("gpt-*", "gpt-*, o4"))
    result = penstock("replay", "--policy", wider, "--against", policy, file, "--format", "json")
    (row,) = map(json.loads, result.stdout.splitlines())
    assert (row["old"]["verdict"], row["new"]["verdict"]) == ("deny", "allow")


@pytest.mark.parametrize("arguments", [("--policy", "none.yaml"), ()])
def test_replay_that_cannot_start_is_exit_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A missing policy is a configuration error."""
    file = tmp_path / "r.jsonl"
    file.write_text(recorded("o4"))
    assert penstock("replay", *arguments, file).exit_code == 2


def test_help_has_an_example() -> None:
    """Each command shows how it is used."""
    for name in ("check", "test", "replay"):
        assert f"penstock {name} " in penstock(name, "--help").stdout.split("Examples:")[1]


@pytest.mark.parametrize(
    ("typed", "meant"), [("rnu", "run"), ("contian", "contain"), ("tset", "test")]
)
def test_a_near_miss_of_a_command_is_told(typed: str, meant: str) -> None:
    result = penstock(typed)
    assert result.exit_code == 2 and f"Did you mean '{meant}'?" in result.output
    assert penstock("no-such-thing").exit_code == 2
