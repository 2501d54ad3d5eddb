"""The official servers and a few clients, pinned, and how each is started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.npm_tools import node_honouring_the_variables, npm_package
from tests.pypi_tools import python_programs

# Installing these takes minutes on a machine that never had them, and running them one.
SLOWER_TIER = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("PENSTOCK_CONFORMANCE") != "all",
        reason="scripts/conformance runs it: a dozen programs from npm and PyPI",
    ),
]
OFFICIAL = "@modelcontextprotocol"
NPM = {
    "server-everything": "sha512-5U3OZh8Xq0Li4nA26l6uNvV9/1suMDuWSn+NjLZIhzinhMY6N3A4DCrxVecBGPf2Ps"
    "NFKTEv5krxGPRwzxc7jQ==",
    "server-filesystem": "sha512-kKaFkyAh6oipvc9+EAbJ552JafnMnOq5nzmzWkp1jJdBhTAAGpmIpWihUG1+rfNhmE"
    "FM98gUZDdCHCDD4v6a7Q==",
    "server-memory": "sha512-ljj/3S4aGjxdNSQWw6gucKKGnTLdBPWxzapyY/MT2tOVyZwvxChvevXSLPwx59nKJAlVpU"
    "VW+cOlnVRXRwiqMQ==",
}
NPM_VERSION = "2026.8.31"
PYPI = (
    "mcp-server-time==2026.10.19",
    "mcp-server-git==2026.10.19",
    "mcp-server-fetch==2026.10.24",
)
FORMS = ("advise", "hidden", "error")


def official(name: str) -> list[str]:
    """The command of one of the official servers from npm."""
    package = npm_package(f"{OFFICIAL}/{name}", NPM_VERSION, NPM[name])
    return [node_honouring_the_variables(), str(package / "dist" / "index.js")]


def from_pypi(name: str) -> list[str]:
    return [str(python_programs("mcp-servers", *PYPI) / name)]


@dataclass(frozen=True)
class Real:
    """A server, a call it answers (and a word of the answer), and one that rules refuse."""

    name: str
    command: Callable[[Path], list[str]]
    allowed: Callable[[Path], tuple[str, dict[str, Any], str]] | None
    denied: str
    arguments: dict[str, Any] = field(default_factory=dict)


def repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(folder)], check=True)
    return folder


def note(folder: Path) -> Path:
    (folder / "note.txt").write_text("a note about ada@example.org")
    return folder / "note.txt"


SERVERS = [
    Real(
        "everything",
        lambda _: [*official("server-everything"), "stdio"],
        lambda _: ("echo", {"message": "hello"}, "hello"),
        "get-sum",
        {"a": 1, "b": 2},
    ),
    Real(
        "filesystem",
        lambda folder: [*official("server-filesystem"), str(folder)],
        lambda folder: ("read_text_file", {"path": str(note(folder))}, "a note about"),
        "write_file",
        {"path": "/x", "content": "x"},
    ),
    Real(
        "memory",
        lambda _: official("server-memory"),
        lambda _: ("read_graph", {}, "entities"),
        "delete_entities",
        {"entityNames": ["Ada"]},
    ),
    Real(
        "time",
        lambda _: from_pypi("mcp-server-time"),
        lambda _: ("get_current_time", {"timezone": "UTC"}, "UTC"),
        "convert_time",
        {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"},
    ),
    Real(
        "git",
        lambda folder: [*from_pypi("mcp-server-git"), "--repository", str(repository(folder))],
        lambda folder: ("git_status", {"repo_path": str(folder)}, "trunk"),
        "git_commit",
        {"repo_path": "/x", "message": "x"},
    ),
    Real(
        "fetch",
        lambda _: from_pypi("mcp-server-fetch"),
        None,  # there is no network, and it does not fetch from this machine
        "fetch",
        {"url": "https://example.org/"},
    ),
]
