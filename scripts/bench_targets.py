"""What scripts/bench compares: processes that proxy HTTPS on loopback.

``python bench_targets.py bare PORT CA CONFDIR`` is one of them: mitmproxy with the four
addons interception needs and nothing else, event streams passed on as they come.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HOST = "api.openai.com"  # the name the calls are made to where the target can redirect it


@dataclass
class Target:
    """A started proxy. ``authority`` is what its clients name in CONNECT."""

    name: str
    process: subprocess.Popen[bytes] | None
    address: tuple[str, int]
    authority: tuple[str, int]
    ca: Path
    started_seconds: float = 0.0
    idle_rss_mb: float = 0.0
    cpu_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    first_event_ms: list[float] = field(default_factory=list)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(arguments, stdout=out, stderr=out)


def direct(folder: Path, upstream: int, upstream_ca: Path) -> Target:
    return Target("direct", None, ("127.0.0.1", upstream), ("localhost", upstream), upstream_ca)


def bare(folder: Path, upstream: int, upstream_ca: Path) -> Target:
    port, confdir = free_port(), folder / "bare"
    arguments = [sys.executable, __file__, "bare", str(port), str(upstream_ca), str(confdir)]
    process = spawn(arguments, folder / "bare.log")
    ca = confdir / "mitmproxy-ca-cert.pem"
    return Target("bare", process, ("127.0.0.1", port), ("localhost", upstream), ca)


def mitmdump(folder: Path, upstream: int, upstream_ca: Path) -> Target:
    port, confdir = free_port(), folder / "mitmdump"
    arguments = [
        str(Path(sys.executable).with_name("mitmdump")),
        *("-q", "--listen-host", "127.0.0.1", "-p", str(port)),
        *("--set", f"confdir={confdir}", "--set", "stream_large_bodies=1"),
        *("--set", f"ssl_verify_upstream_trusted_ca={upstream_ca}"),
    ]
    process = spawn(arguments, folder / "mitmdump.log")
    ca = confdir / "mitmproxy-ca-cert.pem"
    return Target("mitmdump", process, ("127.0.0.1", port), ("localhost", upstream), ca)


def penstock(
    folder: Path, upstream: int, upstream_ca: Path, policy: Path, name: str = "penstock"
) -> Target:
    state, ready = folder / name, folder / f"{name}.json"
    arguments = [
        *(sys.executable, "-m", "penstock", "run", "--policy", str(policy)),
        *("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state-dir", str(state)),
        *("--upstream-ca", str(upstream_ca), "--ready-file", str(ready)),
        *("--connect-to", f"{HOST}:443=127.0.0.1:{upstream}"),
    ]
    process = spawn(arguments, folder / f"{name}.log")
    deadline = time.monotonic() + 30
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit((folder / f"{name}.log").read_text())
        time.sleep(0.005)
    host, _, port = json.loads(ready.read_text())["listen"].rpartition(":")
    return Target(name, process, (host, int(port)), (HOST, 443), state / "ca.pem")


def serve_bare(port: int, upstream_ca: str, confdir: str) -> None:
    from mitmproxy import http, master, options
    from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig

    class StreamEvents:
        def responseheaders(self, flow: http.HTTPFlow) -> None:
            assert flow.response is not None
            if flow.response.headers.get("content-type", "").startswith("text/event-stream"):
                flow.response.stream = True

    async def main() -> None:
        opts = options.Options()
        proxy = master.Master(opts)
        proxy.addons.add(
            core.Core(), proxyserver.Proxyserver(), next_layer.NextLayer(), tlsconfig.TlsConfig()
        )
        proxy.addons.add(StreamEvents())
        opts.update(
            listen_host="127.0.0.1",
            listen_port=port,
            confdir=confdir,
            http2=False,
            ssl_verify_upstream_trusted_ca=upstream_ca,
        )
        await proxy.run()

    logging.getLogger().setLevel(logging.WARNING)
    asyncio.run(main())


if __name__ == "__main__":
    serve_bare(int(sys.argv[2]), sys.argv[3], sys.argv[4])
