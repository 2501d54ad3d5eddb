"""CPU of our own part of a call, without network and engine: the addons over made-up flows.

``scripts/bench --path`` prints microseconds of CPU per call by addon for a plain call of
2 KB, and per event for a streamed answer, unscanned and with placeholders to put back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

import bench
import bench_targets
import bench_upstream
from mitmproxy import connection, http

from penstock.exchange import Workload
from penstock.mcp.approvals import APPROVALS, Approvals
from penstock.meter.quotas import Quotas
from penstock.policy.language.source import PolicySource
from penstock.proxy import keys
from penstock.proxy.call import call_of
from penstock.proxy.governance import Governance, caller_key
from penstock.record.recording import start_recording
from penstock.stack import stack

REPOSITORY = Path(__file__).resolve().parent.parent
BATCH = 250  # calls; a neighbour's burst spoils one batch and not the figure
STREAMS = 10  # streamed calls in a batch
STREAM_CHUNKS = [chunk.partition(b"\r\n")[2][:-2] for chunk in bench_upstream.STREAM]
TURNS = 50
TURN_CHARACTERS = 2048  # of a call's arguments, and as much of its result
REPEATS = 40
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"[:36]

Addons = list[Any]
Spent = dict[str, float]  # seconds by name


def governance(folder: Path, policy: Path) -> Governance:
    """What ``penstock run`` would make, prices loaded."""
    made: list[Governance] = []
    recording = start_recording(folder, {}, scan=lambda text: made[0].detectors.scan(text))
    made.append(
        Governance(
            source=PolicySource([policy]),
            mode=None,
            keys=keys.load_or_create(folder),
            workload=Workload(),
            quotas=Quotas(),
            approvals=Approvals(folder / APPROVALS),
            recorder=recording.recorder,
            can_record=lambda: recording.audit.available,
        )
    )
    made[0].processes = None
    asyncio.run(made[0].prices.load())
    return made[0]


def parted(message: bytes) -> tuple[http.Headers, bytes]:
    """The headers and the body of a message."""
    head, _, body = message.partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    return http.Headers([(name, value) for name, _, value in lines]), body


def flow_of(client: connection.Client, target: bench_targets.Target, data: bytes) -> http.HTTPFlow:
    """The flow mitmproxy would make of a request of the bench."""
    headers, body = parted(data)
    flow = http.HTTPFlow(client, connection.Server(address=target.authority))
    flow.request = http.Request(
        host=bench_targets.HOST,
        port=443,
        method=b"POST",
        scheme=b"https",
        authority=b"",
        path=b"/v1/chat/completions",
        http_version=b"HTTP/1.1",
        headers=headers,
        content=body,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=0.0,
    )
    return flow


def answer_of(raw: bytes) -> http.Response:
    headers, body = parted(raw)
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=200,
        reason=b"OK",
        headers=headers,
        content=body,
        trailers=None,
        timestamp_start=0.0,
        timestamp_end=0.0,
    )


def run(addons: Addons, hook: str, flow: http.HTTPFlow, spent: Spent) -> None:
    for addon in addons:
        act: Callable[[http.HTTPFlow], object] | None = getattr(addon, hook, None)
        if act is not None:
            began = time.perf_counter()
            act(flow)
            spent[type(addon).__name__] += time.perf_counter() - began


def plain(addons: Addons, calls: int) -> Spent:
    """CPU seconds of some plain calls, as a whole and by addon.

    The addons' shares are taken from the wall clock: the thread's own costs more than a hook.
    """
    spent: Spent = defaultdict(float)
    pairs = [(flow, answer_of(bench_upstream.PLAIN)) for flow in flows(calls, False)]
    began = time.thread_time()
    for flow, answer in pairs:
        run(addons, "request", flow, spent)
        content, answer.raw_content = answer.raw_content, None
        flow.response = answer
        run(addons, "responseheaders", flow, spent)
        answer.raw_content = content
        run(addons, "response", flow, spent)
    whole = time.thread_time() - began
    by_clock = sum(spent.values())
    return {"call": whole, **{name: part / by_clock * whole for name, part in spent.items()}}


def streamed(addons: Addons, calls: int) -> float:
    """CPU seconds of the transforms of some streamed answers, their heads and ends left out."""
    seconds = 0.0
    for flow in flows(calls, True):
        run(addons, "request", flow, defaultdict(float))
        flow.response = answer_of(bench_upstream.STREAM_HEAD)
        run(addons, "responseheaders", flow, defaultdict(float))
        transform: Any = flow.response.stream  # Answer put one there
        began = time.thread_time()
        for chunk in STREAM_CHUNKS:
            transform.feed(chunk)
        seconds += time.thread_time() - began
        transform.end()
        run(addons, "response", flow, defaultdict(float))
    return seconds


def flows(count: int, stream: bool) -> list[http.HTTPFlow]:
    client = connection.Client(
        peername=("127.0.0.1", 40000), sockname=("127.0.0.1", 8080), timestamp_start=0.0
    )
    client.tls = True
    client.timestamp_tls_setup = 1.0
    client.sni = bench_targets.HOST
    target = bench_targets.Target("path", None, ("", 0), (bench_targets.HOST, 443), Path())
    return [
        flow_of(client, target, bench.request(target, number, stream)) for number in range(count)
    ]


def measure(policy: Path, calls: int) -> dict[str, float]:
    """Microseconds, of the quietest batch of each kind."""
    with tempfile.TemporaryDirectory(prefix="penstock-path-") as name:
        shared = governance(Path(name), policy)
        addons: Addons = stack(shared)
        plain(addons, BATCH)
        batches = max(1, calls // BATCH)
        best = min((plain(addons, BATCH) for _ in range(batches)), key=itemgetter("call"))
        result = {name: seconds * 1e6 / BATCH for name, seconds in best.items()}
        result["event"] = event(addons, batches)
        [flow] = flows(1, True)
        run(addons, "request", flow, defaultdict(float))
        live = call_of(flow)
        assert live is not None  # the request is a call
        shared.vault.seal("secret.github", SECRET, caller_key(live.call.caller))
        result["event, restoring"] = event(addons, batches)
        return result | conversation(shared)


def conversation(shared: Governance) -> dict[str, float]:
    """CPU of searching turn 50 of an agent's conversation: 200 KB of it known, 2 KB new.

    Beside it what the new text costs alone, and the hashes by which the rest is known.
    """
    filler = bench.FILLER * (2 * TURN_CHARACTERS // len(bench.FILLER))
    known = [f"{number} {filler}"[:TURN_CHARACTERS] for number in range(2 * TURNS)]
    for text in known:
        shared.memo.scan(text, "tool_result")
    new = iter([f"New {number}: {filler}"[:TURN_CHARACTERS] for number in range(3 * REPEATS)])

    def least(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(REPEATS):
            began = time.thread_time()
            work()
            taken.append(time.thread_time() - began)
        return min(taken) * 1e6

    def turn(texts: list[str]) -> None:
        for text in texts:
            shared.memo.scan(text, "tool_result")

    return {
        "turn 50, 200 KB known and 2 KB new": least(lambda: turn([*known, next(new)])),
        "2 KB new alone": least(lambda: turn([next(new)])),
        "200 KB known alone (hashes)": least(lambda: turn(known)),
    }


def event(addons: Addons, batches: int) -> float:
    events = STREAMS * len(STREAM_CHUNKS)
    return min(streamed(addons, STREAMS) for _ in range(batches)) * 1e6 / events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--policy", type=Path, default=REPOSITORY / "policies/default.yaml")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.policy, options.calls)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print("| part | µs |\n|---|---:|")
    for name, spent in result.items():
        print(f"| {name} | {spent:.1f} |")


if __name__ == "__main__":
    main()
