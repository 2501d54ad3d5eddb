"""`penstock mcp serve` and the servers behind it, in processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOP = Path(__file__).with_name("shop.py")
SECONDS_MAX = 40


@dataclass
class Serving:
    """A running endpoint."""

    process: subprocess.Popen[bytes]
    listen: str
    admin: str
    folder: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.listen}/mcp"

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.admin}/status", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.status()["servers"].items()}

    def records(self, tool: str) -> list[dict[str, Any]]:
        lines = (self.folder / "state" / "audit.jsonl").read_text().splitlines()
        calls = [line for line in map(json.loads, lines) if line["type"] == "call"]
        return [call for call in calls if call.get("mcp", {}).get("tool") == tool]


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.05)
    return found


@contextmanager
def shop(kind: str, file: Path = SHOP, *more: str) -> Iterator[int]:
    """The shop over ``http`` or ``sse``; its port. ``file``: another one, with its arguments."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(file), kind, str(port), *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_open(port) or process.poll() is not None, f"the {kind} shop")
        yield port
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def piped(file: Path = SHOP, **more: Any) -> dict[str, Any]:
    """The shop as a server that is started by the endpoint."""
    return {"command": [sys.executable, str(file)], **more}


@contextmanager
def serving(
    folder: Path, policy: str, servers: dict[str, Any], connected: Sequence[str]
) -> Iterator[Serving]:
    """``penstock mcp serve`` until the block ends; ``connected`` are waited for."""
    (folder / "policy.yaml").write_text(policy)
    write(folder, servers)
    ready, log = folder / "ready.json", folder / "serve.log"
    command = [
        *(sys.executable, "-m", "penstock", "mcp", "serve"),
        *("--config", str(folder / "servers.yaml"), "--policy", str(folder / "policy.yaml")),
        *("--state-dir", str(folder / "state"), "--ready-file", str(ready)),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
    ]
    with ExitStack() as stack:
        out = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "SHOP_TOKEN": "t"}
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_for(lambda: ready.exists() or process.poll() is not None, "the endpoint")
        assert process.poll() is None, log.read_text()
        where = json.loads(ready.read_text())
        made = Serving(process, where["listen"], where["admin"], folder, log)
        wait_for(
            lambda: {made.states()[name] for name in connected} <= {"connected"},
            f"{connected} to be connected",
        )
        yield made


def write(folder: Path, servers: dict[str, Any]) -> None:
    """The servers file, put in place in one step."""
    draft = folder / "servers.draft"
    draft.write_text(json.dumps({"version": 1, "servers": servers}))  # JSON is YAML
    draft.replace(folder / "servers.yaml")
