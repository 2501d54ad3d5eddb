"""What the handshake with the upstream costs clients that open a connection for each call.

``scripts/bench --connections`` makes one call per client connection (CONNECT, TLS, one chat
call), in turn: straight to the upstream, through the proxy with a fresh upstream connection
(``Connection: close`` keeps it from being kept), and through the proxy over a kept one. It prints
milliseconds per call at the client and milliseconds of CPU in the proxy, once on loopback and
once with a network of ``--round-trip`` milliseconds in front of the upstream.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.proxy.raw import Client, RawUpstream, TestCa
from tests.route import world as w

POLICY = Path(__file__).resolve().parent.parent / "policies/default.yaml"
BODY = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "x" * 2000}]})
WARM_UP, BATCH = 10, 20
SERVES = w.serves("ok")
CLOSE = b"Connection: close\r\n"


def processor_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15 of stat, in ticks of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def answers(connection: socket.socket, request: bytes, number: int) -> bool:
    """The upstream: at once, as any server does (Nagle's algorithm off)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bool(SERVES(connection, request, number))


class Network:
    """A relay that takes its time: half a round trip each way, one more to connect."""

    def __init__(self, port: int, round_trip_seconds: float) -> None:
        self.target, self.half = port, round_trip_seconds / 2
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near: socket.socket) -> None:
        time.sleep(2 * self.half)
        far = socket.create_connection(("127.0.0.1", self.target))
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.copy, args=(far, near), daemon=True).start()
        self.copy(near, far)

    def copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(self.half)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def straight(port: int, ca: Path) -> None:
    """One call without a proxy."""
    with Client(socket.create_connection(("127.0.0.1", port), timeout=15)) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.start_tls(w.ORIGINAL, ca)
        client.post(w.ORIGINAL, "/v1/chat/completions", BODY.encode())
        assert client.answer().status == 200


def proxied(it: w.World, extra: bytes) -> None:
    """One call through the proxy."""
    with it.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.post(w.ORIGINAL, "/v1/chat/completions", BODY.encode(), extra)
        assert client.answer().status == 200


def measured(calls: int, round_trip_seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds by way of calling: median and fastest at the client, CPU of the proxy."""
    os.environ["PENSTOCK_POD"] = "bench"  # as in a pod: nobody looks for a local process
    with tempfile.TemporaryDirectory(prefix="penstock-connections-") as name:
        folder = Path(name)
        ca = TestCa(folder / "ca")
        upstream = RawUpstream(answers, ca.context(w.ORIGINAL))
        with upstream, contextlib.ExitStack() as stack:
            network = Network(upstream.port, round_trip_seconds) if round_trip_seconds else upstream
            there = ["--connect-to", f"{w.ORIGINAL}:443=127.0.0.1:{network.port}"]
            it = stack.enter_context(w.world(folder, ca, {}, POLICY.read_text(), there))
            ways = {
                "straight": lambda: straight(network.port, ca.pem),
                "fresh": lambda: proxied(it, CLOSE),
                "kept": lambda: proxied(it, b""),
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            spent = dict.fromkeys(ways, 0.0)
            for call in ways.values():
                for _ in range(WARM_UP):
                    call()
            for _ in range(max(1, calls // BATCH)):
                for way, call in ways.items():
                    call()  # a kept connection of the batch before goes here
                    before = processor_seconds(it.proxy.process.pid)
                    for _ in range(BATCH):
                        began = time.perf_counter()
                        call()
                        times[way].append((time.perf_counter() - began) * 1e3)
                    spent[way] += processor_seconds(it.proxy.process.pid) - before
            return {
                way: {
                    "median_ms": statistics.median(found),
                    "fastest_ms": min(found),
                    "proxy_cpu_ms": spent[way] * 1e3 / len(found),
                }
                for way, found in times.items()
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--round-trip", type=float, default=20.0, help="milliseconds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = {
        f"{trip:g} ms away": measured(options.calls, trip / 1000)
        for trip in (0.0, options.round_trip)
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print("| one call per connection | median ms | fastest ms | CPU of the proxy, ms |")
    print("|---|---:|---:|---:|")
    for distance, result in results.items():
        for way, figures in result.items():
            row = " | ".join(f"{value:.2f}" for value in figures.values())
            print(f"| {way}, {distance} | {row} |")


if __name__ == "__main__":
    main()
