"""The MCP server of scripts/soak --mcp: lists, calls, questions in the middle of an answer.

``python soak_mcp_server.py PORT CERTIFICATE KEY``. HTTPS, a thread per connection. Every list of
tools differs from all others in one description. A call of ``ask_*`` asks its client something
(elicitation) and answers once it was told; ``subscriptions/listen`` is a stream of notifications.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from typing import Any

import bench_mcp

TEXT = "The penstock is the gate through which a dam lets water out. " * 26
RESOURCES, PROMPTS, NOTIFICATIONS = 100, 20, 5
WAIT_SECONDS = 30.0
EVENTS = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
told: dict[str, threading.Event] = {}  # questions open, by the session that is asked

tools = [bench_mcp.definition(number, 0) for number in range(bench_mcp.TOOLS)]
before = json.dumps({"tools": tools})[:-2].encode()
resources = [
    {"uri": f"file:///srv/{n}", "name": f"file_{n}", "description": f"The file {n}, as kept."}
    for n in range(RESOURCES)
]
prompts = [{"name": f"prompt_{n}", "description": "Greets politely."} for n in range(PROMPTS)]


def result(number: Any, members: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": members}).encode()


def tool_list(number: int) -> bytes:
    """500 tools, and one whose description nobody has seen before."""
    own = json.dumps(bench_mcp.definition(bench_mcp.TOOLS, number)).encode()
    return b'{"jsonrpc":"2.0","id":%d,"result":%s,%s]}}' % (number, before, own)


def plain(message: dict[str, Any]) -> bytes:
    number, method = message["id"], message["method"]
    if method == "tools/list":
        return tool_list(number)
    if method == "resources/list":
        return result(number, {"resources": resources})
    if method == "prompts/list":
        return result(number, {"prompts": prompts})
    if method == "initialize":
        about = {"name": "soak", "version": "1"}
        members = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": about}
        return result(number, members)
    return result(number, {"content": [{"type": "text", "text": TEXT}]})


def asking(message: dict[str, Any], session: str) -> Iterator[bytes]:
    """A question, and the result once the client has answered it elsewhere."""
    told[session] = threading.Event()
    form = {"type": "object", "properties": {"size": {"type": "string"}}}
    params = {"message": f"Which size for {session}?", "requestedSchema": form}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params}
    yield json.dumps(asked).encode()
    told[session].wait(WAIT_SECONDS)
    del told[session]
    yield plain(message)


def listening(message: dict[str, Any]) -> Iterator[bytes]:
    for number in range(NOTIFICATIONS):
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        params = {"_meta": meta, "uri": f"file:///srv/{message['id']}-{number}"}
        said = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params}
        yield json.dumps(said).encode()


def answer(connection: ssl.SSLSocket, head: bytes, body: bytes) -> None:
    at = head.find(b"mcp-session-id:")
    session = head[at + 15 :].split(b"\r\n", 1)[0].strip().decode() if at >= 0 else ""
    message = json.loads(body) if body else {}
    method = message.get("method")
    if head.startswith(b"delete") or method is None:
        if session in told and body:
            told[session].set()
        connection.sendall(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        return
    asks = method == "tools/call" and message["params"]["name"].startswith("ask_")
    if not asks and method != "subscriptions/listen":
        said = plain(message)
        kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        connection.sendall(kind + b"content-length: %d\r\n\r\n" % len(said) + said)
        return
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + EVENTS)
    for said in asking(message, session) if asks else listening(message):
        event = b"event: message\ndata: " + said + b"\n\n"
        connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
    connection.sendall(b"0\r\n\r\n")


def serve(connection: ssl.SSLSocket) -> None:
    buffer = b""
    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            if not (data := connection.recv(65536)):
                return
            buffer += data
        head = buffer[:end].lower()
        at = head.find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        buffer = buffer[end + 4 :]
        while len(buffer) < size:
            if not (data := connection.recv(65536)):
                return
            buffer += data
        body, buffer = buffer[:size], buffer[size:]
        answer(connection, head, body)


def guarded(context: ssl.SSLContext, raw: socket.socket) -> None:
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw, server_side=True) as connection:
            serve(connection)
    except OSError:
        raw.close()


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256) as listener:
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=guarded, args=(context, raw), daemon=True).start()


if __name__ == "__main__":
    main()
