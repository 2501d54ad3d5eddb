"""What governed MCP calls leave behind in memory: many calls, in many sessions that come and go.

``scripts/soak --mcp`` sends tool calls through ``penstock run`` under rules that remember
something of each (pins, taint, confined values, limits per user and tool, placeholders, what
models asked for): every session is opened, lists the tools, calls and is closed. Resident
memory is read after a warm-up and after each quarter.
"""

from __future__ import annotations

import argparse
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench
import bench_mcp
import bench_targets
from bench_targets import HOST, Target

from penstock.cli.demo.certificate import write_server_certificate

POLICY = (
    bench_mcp.RULES
    + f"""
  - id: untrusted
    tools: {{server: {HOST}, taint: [tool_3*]}}
  - id: stays
    tools: {{server: {HOST}, confine: [secret, pii.email]}}
  - id: often
    limit: {{tool_calls: 1_000_000, every: 1h, per: [session, tool]}}
  - id: no-secrets
    redact: {{find: [secret, pii], in: [both], with: placeholder}}
"""
)
WARM_SESSIONS = 100
SETTLE_SECONDS = 2.0


def post(target: Target, session: str, method: str, number: int) -> bytes:
    """A request of one session; each call has an address of its own in its arguments."""
    params = {}
    if method == "tools/call":
        arguments = {"title": f"Write to user{number}@example{number % 977}.org about it."}
        params = {"name": f"tool_{number % 500}", "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    body = json.dumps(message).encode()
    headers = bench_mcp.HEADERS | {"mcp-session-id": session, "content-length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\nhost: {HOST}\r\n{head}\r\n".encode() + body


def sessions(target: Target, connection: ssl.SSLSocket, first: int, count: int, calls: int) -> None:
    """Some sessions, one after another, with ``calls`` each."""
    for session in range(first, first + count):
        name = f"session-{session:08d}-{session * 7919 % 104729:06d}"
        for method in ("initialize", "tools/list"):
            bench.call(connection, post(target, name, method, session))
        for number in range(calls):
            bench.call(connection, post(target, name, "tools/call", session * calls + number))
        bench.call(
            connection,
            f"DELETE /mcp HTTP/1.1\r\nhost: {HOST}\r\nmcp-session-id: {name}\r\n"
            "content-length: 0\r\n\r\n".encode(),
        )


def measure(target: Target, count: int, calls: int) -> dict[str, object]:
    connection = bench.connect(target)
    sessions(target, connection, 0, WARM_SESSIONS, calls)
    time.sleep(SETTLE_SECONDS)
    memory, began = [bench.resident_mb(target)], time.monotonic()
    for quarter in range(4):
        first = WARM_SESSIONS + quarter * count // 4
        sessions(target, connection, first, count // 4, calls)
        time.sleep(SETTLE_SECONDS)
        memory.append(bench.resident_mb(target))
        print(f"{(quarter + 1) * count // 4} sessions: {memory[-1]:.1f} MB", file=sys.stderr)
    return {
        "sessions": count,
        "calls": count * calls,
        "seconds": round(time.monotonic() - began, 1),
        "rss_mb_after_warm_up_and_quarters": [round(one, 1) for one in memory],
        "growth_kb_per_session_after_first_quarter": round(
            (memory[4] - memory[1]) * 1000 / (count * 3 / 4), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--calls", type=int, default=25, help="tool calls in each session")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-soak-") as name:
        folder = Path(name)
        ca, certificate, key = write_server_certificate(folder, [HOST])
        port, policy = bench_targets.free_port(), folder / "policy.yaml"
        policy.write_text(POLICY)
        script = str(Path(__file__).with_name("bench_upstream.py"))
        upstream = subprocess.Popen([sys.executable, script, str(port), certificate, key])
        targets: list[Target] = []
        try:
            targets += [bench_targets.penstock(folder, port, ca, policy)]
            print(json.dumps(measure(targets[0], options.sessions, options.calls), indent=2))
        finally:
            for target in targets:
                if target.process is not None:
                    target.process.terminate()
                    target.process.wait(timeout=30)
            upstream.kill()
            upstream.wait()


if __name__ == "__main__":
    main()
