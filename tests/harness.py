"""Real processes for tests: a running penstock and an HTTPS upstream on loopback.

``https_server`` serves any ASGI application under any names with a throw-away CA;
``running_penstock`` starts ``penstock run`` in a process of its own and says where it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from penstock.cli.client_environment import variables
from penstock.cli.demo.certificate import write_server_certificate

START_SECONDS = 30
PENSTOCK = (sys.executable, "-m", "penstock")

# The first urlopen of a process keeps the proxy variables of that moment for good: a test that has
# set them would send all later ones to a proxy that is gone. Admin addresses need none.
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))


@dataclass
class Upstream:
    """A started HTTPS server and the CA that vouches for it."""

    port: int
    ca: Path
    hosts: list[str]
    certificate: Path
    key: Path


@contextmanager
def https_server(
    folder: Path, application: Any, hosts: list[str], port: int = 0
) -> Iterator[Upstream]:
    """Serve ``application`` (ASGI) over TLS as all of ``hosts``.

    With a ``port`` of its own, a certificate that already stands in ``folder`` is used again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "provider-ca.pem", folder / "provider.pem", folder / "provider.key"
    if port and all(path.exists() for path in kept):
        ca, certificate, key = kept
    else:
        ca, certificate, key = write_server_certificate(folder, hosts)
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        application,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive(), "the upstream did not start"
        time.sleep(0.01)
    try:
        yield Upstream(listener.getsockname()[1], ca, hosts, certificate, key)
    finally:
        server.should_exit = True
        thread.join(timeout=5)


@dataclass
class Penstock:
    """A running proxy."""

    process: subprocess.Popen[bytes]
    listen: str
    admin: str
    state: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host, int(port)

    def records(self, count: int = 0, seconds: float = 20.0) -> list[dict[str, Any]]:
        """The audit log's call lines; waits until there are ``count`` of them."""
        deadline = time.monotonic() + seconds
        while True:
            path = self.state / "audit.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            calls = [line for line in map(json.loads, lines) if line.get("type") == "call"]
            if len(calls) >= count or time.monotonic() > deadline:
                return calls
            time.sleep(0.02)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    def run(
        self, *command: str, seconds: float = 60, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a client with the proxy's variables and wait for it."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment, **more},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@contextmanager
def running_penstock(
    folder: Path,
    policy: str | Path,
    upstream: Upstream | None = None,
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    program: Sequence[str] = PENSTOCK,
) -> Iterator[Penstock]:
    """``penstock run`` with ``policy`` (YAML text, or a file) until the block ends.

    Connections for the upstream's hosts on port 443 go to the upstream.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = policy
    if isinstance(policy, str):
        file = folder / "policy.yaml"
        file.write_text(policy)
    state, ready, log = folder / "state", folder / "ready.json", folder / "penstock.log"
    command = [
        *(*program, "run", "--policy", str(file)),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *("--state-dir", str(state), "--ready-file", str(ready)),
    ]
    if upstream is not None:
        command += ["--upstream-ca", str(upstream.ca)]
        for host in upstream.hosts:
            command += ["--connect-to", f"{host}:443=127.0.0.1:{upstream.port}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        where = json.loads(ready.read_text())
        proxy = Penstock(process, where["listen"], where["admin"], state, log)
        proxy.environment = variables(
            proxy_url=proxy.url,
            ca_pem=str(state / "ca.pem"),
            ca_bundle=str(state / "ca-bundle.pem"),
        )
        yield proxy
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
