"""A server over a pipe that misbehaves. ``hostile_server.py hang|long|flood|wrong|garbage``."""

from __future__ import annotations

import json
import sys
from typing import Any

MIB = 1024 * 1024
TOOL = {"name": "go", "inputSchema": {"type": "object"}}


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(ident: Any, method: str, kind: str) -> None:
    """What it says to a request."""
    if method == "initialize":
        able = {"tools": {}, "logging": {}}
        info = {"name": "hostile", "version": "1"}
        version = {"protocolVersion": "2025-11-25", "capabilities": able, "serverInfo": info}
        say({"id": ident, "result": version})
    elif method == "tools/list":
        say({"id": ident, "result": {"tools": [TOOL]}})
    elif method != "tools/call":
        say({"id": ident, "result": {}})
    elif kind == "long":
        for _ in range(100):
            sys.stdout.write("x" * MIB)
        sys.stdout.flush()
    elif kind == "wrong":
        for other in (ident + 1000, str(ident) + "x", None, -1):
            say({"id": other, "result": {"content": [{"type": "text", "text": "not yours"}]}})
    else:
        if kind == "flood":
            for number in range(20_000):
                params = {"level": "error", "data": f"{number}"}
                say({"method": "notifications/message", "params": params})
        if kind == "garbage":
            for line in ("", "{", "[]", "null", '{"jsonrpc":"2.0"}', "\x00", "é" * 1000):
                sys.stdout.write(line + "\n")
        say({"id": ident, "result": {"content": [{"type": "text", "text": "went"}]}})


def main(kind: str) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and kind != "hang":
            answer(message["id"], message["method"], kind)


if __name__ == "__main__":
    main(sys.argv[1])
