"""What a route rule with two targets costs, and what failing over adds to the failed attempt.

``scripts/bench --route`` prints microseconds of CPU per call with and without the rule (our
addons and the attempts, without a network, batches in turn), and milliseconds from the moment
the failing target's answer is on the wire to the moment the other target has the request, on
a real proxy with TLS to both, the other target's connection open.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from operator import itemgetter
from pathlib import Path
from typing import Any

import bench_path
import bench_upstream

from penstock.proxy.call import call_of
from penstock.stack import stack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.proxy.raw import TestCa
from tests.route import world as w

POLICY = Path(__file__).resolve().parent.parent / "policies/default.yaml"
RULE = """
  - id: bench-route
    route:
      to:
        - {url: original, weight: 3}
        - {url: "https://second.example/v1", provider: openai}
"""
FAILING = """
version: 1
rules:
  - id: r
    route:
      to: [{url: "https://first.example/v1"}, {url: "https://second.example/v1", priority: 2}]
"""


def batch(addons: bench_path.Addons, calls: int) -> float:
    """CPU seconds of some plain calls, with what the engine asks of the attempts."""
    spent: bench_path.Spent = defaultdict(float)
    answers = [
        (flow, bench_path.answer_of(bench_upstream.PLAIN))
        for flow in bench_path.flows(calls, False)
    ]
    began = time.thread_time()
    for flow, answer in answers:
        bench_path.run(addons, "request", flow, spent)
        live = call_of(flow)
        attempts = live.attempts if live is not None else None
        if attempts is not None:
            attempts.begin(flow)
            attempts.head(answer)
        content, answer.raw_content = answer.raw_content, None
        flow.response = answer
        bench_path.run(addons, "responseheaders", flow, spent)
        answer.raw_content = content
        bench_path.run(addons, "response", flow, spent)
    return time.thread_time() - began


def routing(calls: int) -> dict[str, float]:
    """Microseconds per call: without the rule, with it, and the difference: quietest batches."""
    with tempfile.TemporaryDirectory(prefix="penstock-route-") as name:
        folder = Path(name)
        routed = folder / "routed.yaml"
        routed.write_text(POLICY.read_text() + RULE)
        stacks = []
        for number, policy in enumerate((POLICY, routed)):
            (folder / str(number)).mkdir()
            stacks.append(stack(bench_path.governance(folder / str(number), policy)))
        times: list[list[float]] = [[], []]
        for _ in range(max(4, calls // bench_path.BATCH)):
            for addons, found in zip(stacks, times, strict=True):
                found.append(batch(addons, bench_path.BATCH) * 1e6 / bench_path.BATCH)
        plain, with_rule = (min(found) for found in times)
        return {"without": plain, "with": with_rule, "routing": with_rule - plain}


def failover(calls: int) -> dict[str, float]:
    """Milliseconds from a failed answer to the next target's request, at this machine's load."""
    said: list[float] = []
    heard: list[float] = []

    def full(connection: socket.socket, _request: bytes, _number: int) -> bool:
        said.append(time.perf_counter())
        connection.sendall(w.http(429, w.error("full"), "Retry-After: 0"))
        return True

    def serves(connection: socket.socket, _request: bytes, _number: int) -> bool:
        heard.append(time.perf_counter())
        connection.sendall(w.http(200, w.completion("ok")))
        return True

    with tempfile.TemporaryDirectory(prefix="penstock-failover-") as name:
        folder = Path(name)
        upstreams: dict[str, Any] = {w.FIRST: full, w.SECOND: serves}
        with (
            w.world(folder, TestCa(folder / "ca"), upstreams, FAILING) as it,
            it.client() as client,
        ):
            gaps = []
            for _ in range(calls):
                said.clear()
                heard.clear()
                it.call(client=client)
                if heard:  # else the retry budget was spent
                    gaps.append((heard[0] - said[-1]) * 1e3)
    gaps = sorted(gaps[3:])  # the first ones open the connection and warm up
    return {"failovers": len(gaps), "median": statistics.median(gaps), "fastest": gaps[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--failovers", type=int, default=600)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {"cpu_us": routing(options.calls), "failover_ms": failover(options.failovers)}
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print("| figure | |\n|---|---:|")
    for kind, figures in result.items():
        for name, value in sorted(figures.items(), key=itemgetter(0)):
            print(f"| {kind} {name} | {value:.2f} |")


if __name__ == "__main__":
    main()
