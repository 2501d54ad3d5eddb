"""Fixtures every room shares."""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("PENSTOCK_SHARED", REPOSITORY.parent / "shared"))
# Rooms whose tests start processes, kill servers and wait for sockets: what else the machine
# does can starve one of them. They get a second try, and the summary names each that needed it.
WITH_PROCESSES = frozenset(
    [
        "agents",
        "cli",
        "faults",
        "kube",
        "leaks",
        "mcp",
        "mcp_attacks",
        "mcp_conformance",
        "mcp_real",
        "mcp_serve",
        "meter",
        "proxy",
        "route",
        "sdk",
        "service",
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if WITH_PROCESSES.intersection(item.path.relative_to(REPOSITORY).parts):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded traffic and labelled texts; the test is skipped where it is absent."""
    if not (SHARED / "wire").is_dir():
        pytest.skip("shared recordings are not beside this checkout (PENSTOCK_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def recordings(shared: Path) -> list[dict[str, Any]]:
    """All recorded exchanges, in the schema of shared/wire/README.md."""

    def lines() -> Iterator[dict[str, Any]]:
        for file in sorted((shared / "wire").glob("wire_*.jsonl")):
            with file.open(encoding="utf-8") as stream:
                yield from (json.loads(line) for line in stream)

    return list(lines())


@pytest.fixture
def secret() -> str:
    """A well-formed GitHub token nobody ever had: the end is a CRC-32 in base 62."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    body = "".join(secrets.choice(digits) for _ in range(30))
    checksum, end = zlib.crc32(body.encode()), ""
    while len(end) < 6:
        checksum, digit = divmod(checksum, 62)
        end = digits[digit] + end
    return f"ghp_{body}{end}"
