"""What the README shows is true: its policy loads, its test passes, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from penstock.cli import COMMANDS
from penstock.policy.language.load import load
from penstock.policy.offline.testing import run_tests

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def block(first_line: str) -> str:
    """The YAML block that starts with a comment naming its file."""
    found = re.search(rf"```yaml\n# {re.escape(first_line)}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no block for {first_line}"
    return found[1]


def test_the_policy_and_its_test(tmp_path: Path) -> None:
    """Copied out of the README, both work as they are, without a warning."""
    (tmp_path / "payments.yaml").write_text(block("payments.yaml"))
    (tmp_path / "payments_test.yaml").write_text(block("payments_test.yaml"))
    assert load([tmp_path / "payments.yaml"]).warnings == ()
    report = run_tests([tmp_path])
    assert [outcome.name for outcome in report.outcomes if outcome.passed] == [
        "an old model is refused"
    ]


def test_its_commands_exist() -> None:
    named = set(re.findall(r"(?:^|[`\s/])penstock ([a-z]+)\b", README))
    assert named & set(COMMANDS)
    assert named <= set(COMMANDS) | {"helm"}


def test_every_command_has_a_help_with_an_example() -> None:
    """``--help`` of each command shows how it is called."""
    import click
    from click.testing import CliRunner

    from penstock.cli import main

    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Example" in result.output or "penstock " + name in result.output, name
        assert isinstance(main.get_command(click.Context(main), name), click.Command)
        first = COMMANDS[name][1].rstrip(".")
        assert first
