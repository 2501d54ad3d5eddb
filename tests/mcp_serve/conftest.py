"""Sessions over a real policy, detectors, quotas and records; and a prepared service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.exchange import Caller
from penstock.gateway.calls import Calls, Server
from penstock.gateway.stdio.session import Said, Session
from penstock.proxy.service import Service
from penstock.proxy.settings import EngineSettings


class Desk:
    """A session, what it complained of, and what it recorded."""

    def __init__(self, folder: Path, policy: str) -> None:
        folder.joinpath("policy.yaml").write_text(policy)
        self.state = folder / "state"
        self.service = Service(
            EngineSettings(self.state), [folder / "policy.yaml"], None, lambda _governance: []
        )
        self.service.prepare()
        self.told: list[str] = []
        self.calls = Calls(self.service.governance, Server.at("stdio://shop"))
        self.session = Session(
            self.calls, Caller(user="ada"), self.told.append, self.service.on_error
        )
        self.afterwards: asyncio.Queue[Said] = asyncio.Queue()
        self.session.later = self.afterwards.put

    async def up(self, message: Any, end: bytes = b"\n") -> tuple[list[bytes], list[bytes]]:
        """A client's message; what goes to the client, and to the server."""
        said = await self.session.from_client(line_of(message) + end)
        return said.to_client, said.to_server

    async def down(self, message: Any, end: bytes = b"\n") -> tuple[list[bytes], list[bytes]]:
        said = await self.session.from_server(line_of(message) + end)
        return said.to_client, said.to_server

    def records(self) -> list[dict[str, Any]]:
        self.service.governance.recorder.flush()
        lines = (self.state / "audit.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["type"] == "call"]


def line_of(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


@pytest.fixture
def desk(tmp_path: Path) -> Callable[[str], Desk]:
    return lambda policy: Desk(tmp_path, policy)
