"""CPU per call and latency with the guards on, as ratios within one run.

The proxy under test has one core to itself, client and upstream share the other. Rounds
alternate between targets; the figures are medians over rounds. ``cpu_ms`` is user and
system time of the proxy process per call, the robust number on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_targets
from bench_targets import Target

from penstock.cli.demo.certificate import write_server_certificate

REPOSITORY = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
WARM_CALLS = 200
STREAMS = 60
START_SECONDS = 30

FILLER = "Explain how water reaches the turbine, and what the gate is for. " * 28


def request(target: Target, number: int, stream: bool) -> bytes:
    """A chat request of 2 KB, its text unique so that nothing can be answered from memory."""
    body = json.dumps(
        {
            "model": "gpt-5-mini",
            "messages": [
                {"role": "system", "content": "You are a patient engineer."},
                {"role": "user", "content": f"Question {number}-{time.time_ns()}. {FILLER}"},
            ],
            "stream": stream,
        },
        separators=(",", ":"),
    ).encode()
    host, port = target.authority
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}{'' if port == 443 else f':{port}'}\r\n"
        "accept: application/json\r\nauthorization: Bearer not-a-key\r\nuser-agent: bench/1\r\n"
        "accept-encoding: gzip, deflate\r\nx-stainless-lang: python\r\n"
        "x-stainless-retry-count: 0\r\n"
        "connection: keep-alive\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def connect(target: Target) -> ssl.SSLSocket:
    raw = socket.create_connection(target.address, timeout=20)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    host, port = target.authority
    if target.process is not None:
        raw.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += raw.recv(4096) or b"\r\n\r\n"
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(f"CONNECT refused: {answer[:80]!r}")
    context = ssl.create_default_context(cafile=str(target.ca))
    return context.wrap_socket(raw, server_hostname=host)


def call(connection: ssl.SSLSocket, data: bytes) -> None:
    connection.sendall(data)
    buffer = b""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        buffer += receive(connection)
    head = buffer[:end].lower()
    if not head.startswith(b"http/1.1 200"):
        raise OSError(f"not answered: {buffer[:400]!r}")
    if (at := head.find(b"content-length:")) < 0:
        while not buffer.endswith(b"0\r\n\r\n"):
            buffer += receive(connection)
        return
    total = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
    size = len(buffer)
    while size < total:
        size += len(receive(connection))


def receive(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError("connection closed")
    return data


def first_event(connection: ssl.SSLSocket, data: bytes) -> float:
    """Seconds until the first event's bytes are here; reads the stream to its end."""
    began = time.perf_counter()
    connection.sendall(data)
    buffer, seconds = b"", 0.0
    while not buffer.endswith(b"0\r\n\r\n"):
        buffer += receive(connection)
        if not seconds and b"data:" in buffer:
            seconds = time.perf_counter() - began
    return seconds


def cpu_seconds(target: Target) -> float:
    if target.process is None:
        return 0.0
    fields = Path(f"/proc/{target.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(target: Target) -> float:
    if target.process is None:
        return 0.0
    pages = int(Path(f"/proc/{target.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start(make: Callable[[], Target]) -> Target:
    """Start a target; note the time to its first proxied call and its idle memory."""
    began = time.monotonic()
    target = make()
    if target.process is not None:
        os.sched_setaffinity(target.process.pid, {max(os.sched_getaffinity(0))})
    while True:
        try:
            with connect(target) as connection:
                target.started_seconds = time.monotonic() - began
                time.sleep(1)
                target.idle_rss_mb = resident_mb(target)
                call(connection, request(target, 0, stream=False))
                return target
        except OSError:
            if time.monotonic() - began > START_SECONDS:
                raise
            time.sleep(0.02)


def measure(target: Target, calls: int) -> None:
    with connect(target) as connection:
        for number in range(WARM_CALLS):
            call(connection, request(target, number, stream=False))
        before, times = cpu_seconds(target), []
        for number in range(calls):
            data = request(target, number, stream=False)
            began = time.perf_counter()
            call(connection, data)
            times.append(time.perf_counter() - began)
        target.cpu_ms.append((cpu_seconds(target) - before) * 1000 / calls)
        times.sort()
        target.p50_ms.append(times[len(times) // 2] * 1000)
        target.p99_ms.append(times[int(len(times) * 0.99)] * 1000)
        firsts = [
            first_event(connection, request(target, number, stream=True)) * 1000
            for number in range(STREAMS)
        ]
        target.first_event_ms.append(statistics.median(firsts))


def figures(targets: list[Target]) -> dict[str, dict[str, float]]:
    """Medians per target, latencies and first events as added to ``direct``."""
    base = next(target for target in targets if target.name == "direct")
    return {
        target.name: {
            "cpu_ms": statistics.median(target.cpu_ms),
            "p50_added_ms": statistics.median(target.p50_ms) - statistics.median(base.p50_ms),
            "p99_added_ms": statistics.median(target.p99_ms) - statistics.median(base.p99_ms),
            "first_event_added_ms": statistics.median(target.first_event_ms)
            - statistics.median(base.first_event_ms),
            "idle_rss_mb": target.idle_rss_mb,
            "start_seconds": target.started_seconds,
        }
        for target in targets
    }


def show(result: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(result.values())))
    print("| target | " + " | ".join(names) + " | cpu / bare |")
    print("|---|" + "---:|" * (len(names) + 1))
    for target, row in result.items():
        ratio = row["cpu_ms"] / result["bare"]["cpu_ms"]
        cells = " | ".join(f"{row[name]:.3f}" for name in names)
        print(f"| {target} | {cells} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1500, help="calls per target and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    policies = REPOSITORY / "policies"
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        names = ["localhost", bench_targets.HOST]
        ca, certificate, key = write_server_certificate(folder, names)
        port = bench_targets.free_port()
        upstream = subprocess.Popen(
            [
                sys.executable,
                str(REPOSITORY / "scripts/bench_upstream.py"),
                str(port),
                certificate,
                key,
            ]
        )
        os.sched_setaffinity(upstream.pid, {cores[0]})
        makers: list[Callable[[], Target]] = [
            lambda: bench_targets.direct(folder, port, ca),
            lambda: bench_targets.bare(folder, port, ca),
            lambda: bench_targets.mitmdump(folder, port, ca),
            lambda: bench_targets.penstock(folder, port, ca, policies / "default.yaml"),
        ]
        targets: list[Target] = []
        try:
            targets += [start(make) for make in makers]
            os.sched_setaffinity(0, {cores[0]})
            for number in range(options.rounds):
                for target in targets:
                    print(f"round {number + 1}: {target.name}", file=sys.stderr)
                    measure(target, options.requests)
            result = figures(targets)
        finally:
            for target in targets:
                if target.process is not None:
                    target.process.terminate()
                    target.process.wait(timeout=30)
            upstream.kill()
            upstream.wait()
    print(json.dumps(result, indent=2)) if options.json else show(result)


if __name__ == "__main__":
    main()
