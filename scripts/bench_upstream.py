"""The upstream of scripts/bench: HTTPS, a thread per connection, constant answers.

``python bench_upstream.py PORT CERTIFICATE KEY``. POST with ``"stream":true`` in the body
gets fifty server-sent events, a ``tools/call`` the result of one, anything else a chat
completion of 2 KB.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading

EVENTS = 50
TEXT = "The penstock is the gate through which a dam lets water out. " * 26


def plain_answer() -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1767225600,
            "model": "gpt-5-mini-2026-01-01",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": TEXT, "refusal": None},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 480, "completion_tokens": 390, "total_tokens": 870},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"x-request-id: req_bench\r\n\r\n" + body


def tool_result() -> bytes:
    block = {"type": "text", "text": TEXT}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [block]}}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def event(delta: dict[str, str], finish: str | None) -> bytes:
    data = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1767225600,
            "model": "gpt-5-mini-2026-01-01",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )
    payload = f"data: {data}\n\n".encode()
    return f"{len(payload):x}\r\n".encode() + payload + b"\r\n"


PLAIN = plain_answer()
TOOL_RESULT = tool_result()
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM = [event({"content": " water"}, None) for _ in range(EVENTS)] + [event({}, "stop")]
STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


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
        if b'"stream":true' not in body:
            connection.sendall(TOOL_RESULT if b'"tools/call"' in body else PLAIN)
            continue
        connection.sendall(STREAM_HEAD + STREAM[0])
        for piece in STREAM[1:]:
            connection.sendall(piece)
        connection.sendall(STREAM_END)


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
