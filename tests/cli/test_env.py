"""`penstock env`: what a shell reads is what the table says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli.client_environment import LOOPBACK, variables
from penstock.cli.env import command, render

# A state directory of a hostile user: quotes, spaces, expansions, a newline.
NASTY = '/tmp/it\'s "a" $HOME `x` \\ place\n2'


def env(*arguments: str, shell: str = "/bin/bash") -> Result:
    return CliRunner().invoke(command, list(arguments), env={"SHELL": shell})


def read_back(shell: list[str], script: str, name: str) -> str:
    """The value of ``name`` in a process started by a real shell that has read ``script``."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not on PATH")
    finished = subprocess.run(
        [*shell, f'{script}\nexec python3 -c \'import os; print(os.environ["{name}"], end="")\''],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return finished.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_real_shell_reads_back_the_exact_value(shell: str) -> None:
    script = render({"SSL_CERT_FILE": NASTY}, "shell", shell)
    assert read_back([shell, "-c"], script, "SSL_CERT_FILE") == NASTY


def test_json_is_the_whole_table(tmp_path: Path) -> None:
    result = env("--format", "json", "--state-dir", str(tmp_path), "--listen", "127.0.0.1:9")
    expected = variables(
        "http://127.0.0.1:9", f"{tmp_path}/ca.pem", f"{tmp_path}/ca-bundle.pem", LOOPBACK
    )
    assert json.loads(result.stdout) == expected


def test_a_host_to_reach_directly_is_added_to_loopback() -> None:
    table = json.loads(env("--format", "json", "--no-proxy", "git.corp").stdout)
    assert table["NO_PROXY"] == "localhost,127.0.0.1,::1,git.corp"


def test_powershell_and_dotenv_quote_what_needs_it() -> None:
    assert render({"A": "it's"}, "shell", "powershell") == "$env:A = 'it''s'"
    assert render({"A": "/plain/path"}, "dotenv", "bash") == "A=/plain/path"
    assert render({"A": 'a b"$c'}, "dotenv", "bash") == 'A="a b\\"\\$c"'


def test_the_shell_is_found_from_the_environment() -> None:
    assert env(shell="/usr/bin/fish").stdout.startswith("set -gx ")
    assert env(shell="/usr/bin/unknown").stdout.startswith("export ")


def test_file_names_are_absolute_and_missing_ones_are_said(tmp_path: Path) -> None:
    result = env("--state-dir", "relative/state", "--format", "json")
    assert Path(json.loads(result.stdout)["SSL_CERT_FILE"]).is_absolute()
    assert "does not exist yet" in result.stderr
    (tmp_path / "ca-bundle.pem").touch()
    assert env("--state-dir", str(tmp_path)).stderr == ""
