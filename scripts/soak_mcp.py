"""What governed MCP calls leave behind in memory: many calls, in many sessions that come and go.

``scripts/soak --mcp`` sends tool calls through ``penstock run`` under rules that remember
something of each (pins, taint, confined values, limits per user and tool, placeholders, what
models asked for). Every session is opened, lists 500 tools (one of them new), resources and
prompts, listens to a stream of notifications, calls, is asked something in the middle of an
answer, and is closed. Resident memory is read after a warm-up and after each quarter.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench
import bench_mcp
import bench_targets
from bench_targets import HOST, Target

from penstock.cli.demo.certificate import write_server_certificate

POLICY = (
    bench_mcp.RULES.replace("[completion]", "[completion, elicitation, subscriptions]").replace(
        "[tool_*]", "[tool_*, ask_*]"
    )
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
START_SECONDS = 30.0
REFUSED = b"Refused by policy"
MODERN = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}


@dataclass
class Peer:
    """A client with a connection for its requests and one for what it is asked meanwhile."""

    target: Target
    main: ssl.SSLSocket
    side: ssl.SSLSocket

    def post(self, session: str, method: str, number: int, params: Any = None) -> bytes:
        """Send a request; what came back, whole."""
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
        self.main.sendall(posted(session, message))
        return read(self.main)

    def call(self, session: str, number: int) -> None:
        """A tool call with an address of its own in its arguments."""
        title = f"Write to user{number}@example{number % 977}.org about it."
        tool = f"tool_{number % bench_mcp.TOOLS}"
        said = self.post(session, "tools/call", number, named(tool, title=title))
        if (REFUSED in said) is not tool.endswith("7"):
            raise OSError(f"not as the policy has it: {said[:600]!r}")

    def asked(self, session: str, number: int) -> None:
        """A call whose server asks something before it answers."""
        params = named("ask_size", title=f"A shirt, number {number}.")
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        self.main.sendall(posted(session, message))
        begun = b""
        while b"elicitation/create" not in begun or not begun.endswith(b"\n\n\r\n"):
            begun += bench.receive(self.main)
        content = {"action": "accept", "content": {"size": f"size {number}"}}
        self.side.sendall(posted(session, {"jsonrpc": "2.0", "id": 1, "result": content}))
        read(self.side)
        said = read(self.main, begun)
        if REFUSED in said or b'"result"' not in said:
            raise OSError(f"not answered: {said[-400:]!r}")


def named(tool: str, **arguments: str) -> dict[str, Any]:
    return {"name": tool, "arguments": arguments}


def posted(session: str, message: dict[str, Any]) -> bytes:
    """A message of one session, or of the era that has none."""
    modern = message.get("method") == "subscriptions/listen"
    if modern:
        meta = {f"io.modelcontextprotocol/{name}": value for name, value in MODERN.items()}
        message["params"] = {"_meta": meta, "notifications": {"resourceSubscriptions": []}}
    body = json.dumps(message).encode()
    headers = bench_mcp.HEADERS | {"mcp-session-id": session, "content-length": str(len(body))}
    if modern:
        version = str(MODERN["protocolVersion"])
        headers |= {"mcp-protocol-version": version, "mcp-method": "subscriptions/listen"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\nhost: {HOST}\r\n{head}\r\n".encode() + body


def read(connection: ssl.SSLSocket, begun: bytes = b"") -> bytes:
    """One answer, of which ``begun`` came before; it must be a good one."""
    buffer = begun
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        buffer += bench.receive(connection)
    head = buffer[:end].lower()
    if not head.startswith((b"http/1.1 200", b"http/1.1 202")):
        raise OSError(f"not answered: {buffer[:400]!r}")
    if (at := head.find(b"content-length:")) < 0:
        while not buffer.endswith(b"0\r\n\r\n"):
            buffer += bench.receive(connection)
    else:
        total = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        while len(buffer) < total:
            buffer += bench.receive(connection)
    return buffer


def sessions(peer: Peer, first: int, count: int, calls: int) -> None:
    """Some sessions, one after another, each with its lists, ``calls``, a question, a stream."""
    for session in range(first, first + count):
        name = f"session-{session:08d}-{session * 7919 % 104729:06d}"
        peer.post(name, "initialize", session)
        listed = peer.post(name, "tools/list", session)
        if b'"tool_7"' in listed or b'"tool_8"' not in listed:
            raise OSError("the list was not filtered")
        for method in ("resources/list", "prompts/list", "subscriptions/listen"):
            said = peer.post(name, method, session)
            if REFUSED in said or b'"error"' in said:
                raise OSError(f"not answered: {said[:600]!r}")
        for number in range(calls - 1):
            peer.call(name, session * calls + number)
        peer.asked(name, session)
        gone = f"DELETE /mcp HTTP/1.1\r\nhost: {HOST}\r\nmcp-session-id: {name}\r\n"
        peer.main.sendall(f"{gone}content-length: 0\r\n\r\n".encode())
        read(peer.main)


def wait_for(port: int) -> None:
    """Until the server listens."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def measure(target: Target, count: int, calls: int) -> dict[str, object]:
    peer = Peer(target, bench.connect(target), bench.connect(target))
    sessions(peer, 0, WARM_SESSIONS, calls)
    time.sleep(SETTLE_SECONDS)
    memory, began = [bench.resident_mb(target)], time.monotonic()
    for quarter in range(4):
        first = WARM_SESSIONS + quarter * count // 4
        sessions(peer, first, count // 4, calls)
        time.sleep(SETTLE_SECONDS)
        memory.append(bench.resident_mb(target))
        print(f"{(quarter + 1) * count // 4} sessions: {memory[-1]:.1f} MB", file=sys.stderr)
    return {
        "sessions": count,
        "calls": count * calls,
        "tools_listed": count * (bench_mcp.TOOLS + 1),
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
        script = str(Path(__file__).with_name("soak_mcp_server.py"))
        upstream = subprocess.Popen([sys.executable, script, str(port), certificate, key])
        targets: list[Target] = []
        try:
            wait_for(port)
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
