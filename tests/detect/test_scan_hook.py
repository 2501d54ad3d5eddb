"""The pre-commit hook: a real git refuses a commit that holds a secret."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "ghp_" + "a1B2c3" * 6


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_")
    } | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return subprocess.run(
        ["git", "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository whose hook does what pre-commit does: the entry, its args, the staged files."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"].split()[0] == "penstock"
    assert git(tmp_path, "init", "-q").returncode == 0
    command = [
        sys.executable, "-c", "from penstock.cli import main; main()",
        *hook["entry"].split()[1:], *hook["args"],
    ]  # fmt: skip
    script = tmp_path / ".git" / "hooks" / "pre-commit"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        "#!/bin/sh\ngit diff --cached --name-only -z --diff-filter=ACM"
        f" | xargs -0 {shlex.join(command)}\n"
    )
    script.chmod(0o755)
    return tmp_path


def test_a_commit_with_a_secret_is_refused_and_one_without_goes_through(folder: Path) -> None:
    (folder / "settings.py").write_text(f'TOKEN = "{TOKEN}"\n')
    (folder / "notes.md").write_text("Write to olga@posta.lu.\n")
    git(folder, "add", "settings.py", "notes.md")
    refused = git(folder, "commit", "-m", "first")
    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "settings.py:1:10: secret.github_token" in said
    assert TOKEN not in said
    assert git(folder, "rev-parse", "HEAD").returncode != 0  # nothing was committed
    (folder / "settings.py").write_text('TOKEN = os.environ["TOKEN"]\n')
    git(folder, "add", "settings.py")
    passed = git(folder, "commit", "-m", "first")
    assert passed.returncode == 0, passed.stderr
