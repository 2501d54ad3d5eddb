"""Failing over for hours: no call lost, no byte of two answers mixed, nothing left behind.

``scripts/soak --failover`` sends calls, plain and streamed, by several clients that keep their
connections, through a real proxy to a target that fails in another way every dozen calls, and
another target that does not. Every call must have one whole answer, from one target; only a
stream that breaks off after its first event may be incomplete, and must be. In the end nothing
may be reserved, no connection open, and memory must not have grown from quarter to quarter.

CI runs it for seconds (tests/route/test_soak.py); the long form is ``--seconds 7200``.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.proxy.raw import Client, Script, TestCa
from tests.route import world as w

CLIENTS = 6
# One failure in a dozen calls: below what the retry budget lets pass (a tenth), and never three in
# a row, so that health does not take the target out.
EVERY = 13
PAUSE_SECONDS = 0.005
# What caches may still fill in the second half; a leak of one body per call would be far more.
GROWTH_MB_MAX = 15.0
POLICY = """
version: 1
rules:
  - id: r
    route:
      attempt_timeout: 1s
      to: [{url: "https://first.example/v1"}, {url: "https://second.example/v1", priority: 2}]
  - {id: counted, limit: {tokens: 1_000_000_000, every: 1h, per: [user]}}
"""
FAULTS: list[Script] = [
    w.says(w.http(503, w.error("down"))),
    w.resets,
    w.says(w.http(429, w.error("full"), "Retry-After: 0")),
    w.error_event,
    w.says(w.http(529, w.error("overloaded"))),
    w.says(b"not a word of HTTP\r\n\r\n"),
    w.cut_after_first_event,
    w.says(w.http(500, w.error("server_error"))),
    w.stalls_after_head,
]


@dataclass
class Soak:
    """What happened so far. ``wrong`` is what must not."""

    calls: int = 0
    incomplete: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    cuts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def first(self, connection: socket.socket, request: bytes, number: int) -> bool | None:
        """The target that fails now and then."""
        with self.lock:
            self.faults += number % EVERY == 0
            fault = FAULTS[self.faults % len(FAULTS)] if number % EVERY == 0 else None
            streamed = b'"stream": true' in request
            self.cuts += fault is w.cut_after_first_event and streamed
        if fault is None:
            return w.serves("from first")(connection, request, number)
        return fault(connection, request, number)

    def judge(self, answer: Any, stream: bool) -> None:
        """One whole answer, of one target."""
        with self.lock:
            self.calls += 1
            sources = [name for name in (b"from first", b"from second") if name in answer.body]
            if stream and not answer.complete and b"half of it" in answer.body and not sources:
                self.incomplete += 1
            elif answer.status != 200 or not answer.complete or len(sources) != 1:
                self.wrong[f"{answer.status} complete={answer.complete} of={sources}"] += 1
            elif stream and not answer.body.endswith(b"data: [DONE]\n\n"):
                self.wrong["a stream without its end"] += 1


def client(it: w.World, soak: Soak, until: float) -> None:
    """Calls, plain and streamed in turn, on one connection as long as it lives."""
    connection: Client | None = None
    turn = 0
    while time.monotonic() < until:
        turn += 1
        stream = turn % 2 == 0
        try:
            connection = connection or it.client()
            answer = it.call(stream=stream, client=connection)
        except OSError as error:
            with soak.lock:
                soak.wrong[type(error).__name__] += 1
            connection = None
            continue
        soak.judge(answer, stream)
        if not answer.complete:
            connection.close()
            connection = None
        time.sleep(PAUSE_SECONDS)
    if connection is not None:
        connection.close()


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def connections_of(pid: int) -> int:
    """Open sockets of a process."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            count += str(link.readlink()).startswith("socket:")
    return count


def status_of(it: w.World) -> dict[str, Any]:
    """What the proxy says of itself."""
    with urllib.request.urlopen(f"http://{it.proxy.admin}/status", timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def metric(it: w.World, name: str) -> float:
    """One number of /metrics."""
    lines = (line.split() for line in it.proxy.metrics().splitlines())
    return next(float(words[1]) for words in lines if words and words[0] == name)


def run(seconds: float) -> dict[str, Any]:
    """Soak for so long; what was seen, and ``problems`` in words."""
    soak, memory = Soak(), []
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as name:
        folder = Path(name)
        upstreams: dict[str, Any] = {w.FIRST: soak.first, w.SECOND: w.serves("from second")}
        with w.world(folder, TestCa(folder / "ca"), upstreams, POLICY) as it:
            pid = it.proxy.process.pid
            idle = connections_of(pid)
            until = time.monotonic() + seconds
            clients = [
                threading.Thread(target=client, args=(it, soak, until)) for _ in range(CLIENTS)
            ]
            for one in clients:
                one.start()
            for _ in range(4):
                time.sleep(seconds / 4)
                memory.append(round(resident_mb(pid), 1))
                for upstream in it.upstreams.values():
                    upstream.requests.clear()
            for one in clients:
                one.join()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and (
                connections_of(pid) > idle or status_of(it)["open_reservations"]
            ):
                time.sleep(0.1)
            left = {
                "connections": connections_of(pid) - idle,
                "reservations": status_of(it)["open_reservations"],
            }
            retries = metric(it, "penstock_route_retries_total")
    problems = [f"{count} × {what}" for what, count in soak.wrong.items()]
    problems += [f"{count} {what} left open" for what, count in left.items() if count > 0]
    if memory[3] - memory[1] > GROWTH_MB_MAX:
        problems.append(f"memory grew from {memory[1]} to {memory[3]} MB in the second half")
    # A cut target that was too slow for its first event was given up before: that is failing over.
    if soak.incomplete > soak.cuts:
        problems.append(f"{soak.incomplete} streams broke off, {soak.cuts} targets cut one")
    return {
        "seconds": seconds, "calls": soak.calls, "faults": soak.faults, "retries": int(retries),
        "cut_streams": soak.cuts, "rss_mb_by_quarter": memory, "problems": problems,
    }  # fmt: skip


def main() -> int:
    """0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.seconds)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value}")
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
