"""Programs that tests run and PyPI provides, each in an environment of its own.

They are not dependencies of the project: another release of the SDK under them would change what
is tested. A machine that cannot have one skips the test and says which program is missing.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.npm_tools import INSTALL_SECONDS_MAX, cache_folder


def python_programs(name: str, *pinned: str) -> Path:
    """The ``bin`` folder of an environment with these packages (``name==version``)."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    wanted = "\n".join(pinned)
    with (folder / ".installing").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two test runs at once install once
        if not done.exists() or done.read_text() != wanted:
            _install(folder / "venv", pinned)
            done.write_text(wanted)
    return folder / "venv" / "bin"


def _install(folder: Path, pinned: tuple[str, ...]) -> None:
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *pinned],
    ]
    for step in steps:
        try:
            finished = subprocess.run(
                step, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"PyPI did not provide {pinned[0]} in {INSTALL_SECONDS_MAX} s")
        if finished.returncode:
            pytest.skip(f"PyPI does not provide {pinned[0]}: {finished.stderr.strip()[-300:]}")
