"""What governing MCP costs: a tools/call, and a list of 500 tools that loses some of them.

``scripts/bench --mcp`` prints CPU of our own part (no network, quietest batch), with the tools
rules alone and with detectors on answers as well, and the latency of a call through
``penstock run`` over that through bare mitmproxy in the same run. Lists are measured the first
time a server shows them, shown again unchanged, inside an event stream, and against a lock file.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench
import bench_path
import bench_targets
from mitmproxy import connection, http

from penstock.cli.demo.certificate import write_server_certificate
from penstock.mcp.lock import dump
from penstock.mcp.pins import pins_of
from penstock.stack import stack

TOOLS = 500
NOTIFICATIONS = 2000
CHUNK_BYTES = 64 * 1024
RULES = f"""
version: 1
rules:
  - id: some-tools
    tools:
      server: {bench_targets.HOST}
      allow: [tool_*]
      deny: ["*7"]
      features: [completion]
      max_argument_bytes: 100_000
      max_result_bytes: 1_000_000
"""
DETECTORS = """
  - id: no-orders
    deny: {find: [injection, tool_poisoning], in: [response]}
  - id: no-secrets
    redact: {find: [secret], in: [both], with: mask}
"""
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-11-25",
    "user-agent": "bench/1",
}


def definition(number: int, run: int) -> dict[str, Any]:
    """A tool of the usual size: half a kilobyte of schema, a sentence of description."""
    properties = {
        name: {"type": "string", "description": f"The {name} of record {number}, as stored."}
        for name in ("owner", "title", "labels", "state")
    }
    return {
        "name": f"tool_{number}",
        "title": f"Record {number}",
        "description": f"Reads record {number} of collection {run} and returns its fields.",
        "inputSchema": {"type": "object", "properties": properties, "required": ["owner"]},
    }


def definitions(run: int) -> list[dict[str, Any]]:
    return [definition(number, run) for number in range(TOOLS)]


def listing(run: int) -> bytes:
    """A tools/list answer; another ``run``, other definitions."""
    tools = definitions(run)
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools}}, separators=(",", ":")
    ).encode()


def request_body(method: str, number: int) -> bytes:
    params: dict[str, Any] = {}
    if method == "tools/call":
        note = f"Note {number}-{time.time_ns()}: {bench.FILLER[:900]}"
        params = {"name": "tool_1", "arguments": {"owner": "acme", "title": note, "count": number}}
    message = {"jsonrpc": "2.0", "id": number + 1, "method": method, "params": params}
    return json.dumps(message).encode()


def result_body(number: int) -> bytes:
    block = {"type": "text", "text": f"Record {number}: {bench.FILLER[:1200]}"}
    return json.dumps({"jsonrpc": "2.0", "id": number + 1, "result": {"content": [block]}}).encode()


def flow_of(client: connection.Client, body: bytes) -> http.HTTPFlow:
    """The flow mitmproxy would make of an MCP request."""
    flow = http.HTTPFlow(client, connection.Server(address=(bench_targets.HOST, 443)))
    flow.request = http.Request.make(
        "POST", f"https://{bench_targets.HOST}/mcp", body, {**HEADERS, "host": bench_targets.HOST}
    )
    return flow


def spent(addons: bench_path.Addons, method: str, answers: list[bytes]) -> float:
    """As ``least_spent``, on a loop of its own."""
    return asyncio.run(least_spent(addons, method, answers))


def notifications(run: int) -> bytes:
    """Events of a tool that says how far it is, again and again."""
    return b"".join(
        event(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
        for number in range(NOTIFICATIONS)
        for params in [{"progressToken": run, "progress": number, "message": f"{run}.{number}"}]
    )


def event(message: str) -> bytes:
    return b"event: message\ndata: " + message.encode() + b"\n\n"


def streamed(addons: bench_path.Addons, method: str, answers: list[bytes]) -> float:
    """As ``spent``, for answers that are event streams."""
    return min(asyncio.run(stream(addons, method, answer)) for answer in answers)


async def stream(addons: bench_path.Addons, method: str, answer: bytes) -> float:
    """CPU milliseconds of one streamed exchange."""
    client = connection.Client(
        peername=("127.0.0.1", 40000), sockname=("127.0.0.1", 8080), timestamp_start=0.0
    )
    flow = flow_of(client, request_body(method, 0))
    began = time.process_time()
    await run(addons, "request", flow)
    flow.response = http.Response.make(200, b"", {"content-type": "text/event-stream"})
    flow.response.raw_content = None
    await run(addons, "responseheaders", flow)
    transform: Any = flow.response.stream
    out = b""
    for at in range(0, len(answer), CHUNK_BYTES):
        out += b"".join(transform.feed(answer[at : at + CHUNK_BYTES]))
    out += b"".join(transform.end())
    await run(addons, "response", flow)
    if method == "tools/list" and b'"tool_17"' in out:
        raise SystemExit("the list was not filtered")
    return (time.process_time() - began) * 1000


async def least_spent(addons: bench_path.Addons, method: str, answers: list[bytes]) -> float:
    """Least CPU milliseconds of one exchange among those given."""
    client = connection.Client(
        peername=("127.0.0.1", 40000), sockname=("127.0.0.1", 8080), timestamp_start=0.0
    )
    least = float("inf")
    for number, body in enumerate(answers):
        flow = flow_of(client, request_body(method, number))
        answer = http.Response.make(200, body, {"content-type": "application/json"})
        began = time.process_time()  # large bodies are judged in a thread of their own
        await run(addons, "request", flow)
        content, answer.raw_content = answer.raw_content, None
        flow.response = answer
        await run(addons, "responseheaders", flow)
        answer.raw_content = content
        await run(addons, "response", flow)
        least = min(least, (time.process_time() - began) * 1000)
        if method == "tools/list" and b'"tool_17"' in (flow.response.raw_content or b""):
            raise SystemExit("the list was not filtered")
    return least


async def run(addons: bench_path.Addons, hook: str, flow: http.HTTPFlow) -> None:
    for addon in addons:
        act = getattr(addon, hook, None)
        rest = act(flow) if act is not None else None
        if rest is not None:
            await rest


def own_part(rules: str, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU by kind of exchange."""
    with tempfile.TemporaryDirectory(prefix="penstock-mcp-") as name:
        policy = Path(name) / "policy.yaml"
        policy.write_text(rules)
        shared = bench_path.governance(Path(name), policy)
        addons = stack(shared)
        gc.collect()
        gc.freeze()  # as the proxy does when it has started
        calls = [result_body(number) for number in range(100 * rounds)]
        lists = [listing(run) for run in range(2 * rounds)]
        streams = [event(one.decode()) for one in lists[rounds:]]
        told = [notifications(run) for run in range(rounds)]
        return {
            "call": spent(addons, "tools/call", calls),
            "list, first": spent(addons, "tools/list", lists[:rounds]),
            "list, again": spent(addons, "tools/list", [lists[rounds - 1]] * rounds),
            "list in a stream, first": streamed(addons, "tools/list", streams),
            "list in a stream, again": streamed(addons, "tools/list", [streams[-1]] * rounds),
            "notification in a stream": streamed(addons, "tools/call", told) / NOTIFICATIONS,
        }


def pinned_part(rounds: int) -> dict[str, float]:
    """The same for lists of a server whose tools are pinned, and are as pinned."""
    with tempfile.TemporaryDirectory(prefix="penstock-mcp-") as name:
        folder = Path(name)
        server = f"https://{bench_targets.HOST}/mcp"
        (folder / "mcp.lock.yaml").write_text(dump({server: pins_of(definitions(0))}))
        policy = folder / "policy.yaml"
        policy.write_text(RULES + "      pins: mcp.lock.yaml\n")
        firsts = []
        for _ in range(rounds):
            addons = stack(bench_path.governance(folder, policy))
            spent(addons, "tools/call", [result_body(0)])
            firsts.append(spent(addons, "tools/list", [listing(0)]))
        again = spent(addons, "tools/list", [listing(0)] * rounds)
        return {"list, first": min(firsts), "list, again": again}


def post(target: bench_targets.Target, number: int) -> bytes:
    body = request_body("tools/call", number)
    host, port = target.authority
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    return (
        f"POST /mcp HTTP/1.1\r\nhost: {host}{'' if port == 443 else f':{port}'}\r\n{head}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def timed(target: bench_targets.Target, connection: ssl.SSLSocket, calls: int) -> float:
    """The median latency of some calls, in milliseconds."""
    times = []
    for number in range(calls):
        data = post(target, number)
        began = time.perf_counter()
        bench.call(connection, data)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def added_latency(calls: int, rounds: int) -> dict[str, float]:
    """p50 of a governed tools/call through each target; the least of the rounds."""
    with tempfile.TemporaryDirectory(prefix="penstock-mcp-") as name:
        folder = Path(name)
        ca, certificate, key = write_server_certificate(folder, ["localhost", bench_targets.HOST])
        port = bench_targets.free_port()
        script = str(bench_path.REPOSITORY / "scripts/bench_upstream.py")
        upstream = subprocess.Popen([sys.executable, script, str(port), certificate, key])
        (folder / "policy.yaml").write_text(RULES + DETECTORS)
        targets = [bench_targets.direct(folder, port, ca)]
        try:
            targets.append(bench.start(lambda: bench_targets.bare(folder, port, ca)))
            governed = folder / "policy.yaml"
            targets.append(bench.start(lambda: bench_targets.penstock(folder, port, ca, governed)))
            best: dict[str, float] = {}
            connections = {target.name: bench.connect(target) for target in targets}
            for _ in range(rounds):
                for target in targets:
                    took = timed(target, connections[target.name], calls)
                    best[target.name] = min(took, best.get(target.name, took))
            return best
        finally:
            for target in targets:
                if target.process is not None:
                    target.process.terminate()
                    target.process.wait(timeout=30)
            upstream.kill()
            upstream.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400, help="calls per target and round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {
        "CPU ms, tools rules": own_part(RULES, options.rounds),
        "CPU ms, tools rules and pins": pinned_part(options.rounds),
        "CPU ms, detectors too": own_part(RULES + DETECTORS, options.rounds),
        "p50 ms of a tools/call": added_latency(options.calls, options.rounds),
    }
    result["p50 ms of a tools/call"]["added over bare"] = (
        result["p50 ms of a tools/call"]["penstock"] - result["p50 ms of a tools/call"]["bare"]
    )
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for title, row in result.items():
        print(f"| {title} | ms |\n|---|---:|")
        for name, value in row.items():
            print(f"| {name} | {value:.2f} |")
        print()


if __name__ == "__main__":
    main()
