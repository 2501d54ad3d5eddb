"""No planted secret occurs in anything Penstock writes, shows or exports."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anthropic
import openai
import pytest

from tests.harness import Penstock, Upstream, running_penstock
from tests.sdk.conftest import POLICY
from tests.sdk.provider import Provider

KEY = "sk-canary-provider-key-that-must-not-be-written"
PASSWORD = "canary-proxy-password"


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps every OTLP body."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []
    handler = type("OneCollector", (Collector,), {"bodies": bodies})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def use_every_way_in(proxy: Penstock, secret: str) -> None:
    """The secret in prompts, tool arguments, headers, URLs, proxy credentials and broken bodies."""
    text = [{"role": "user", "content": f"use {secret} and mail a.canary@analytical-engine.org"}]
    client = openai.OpenAI(api_key=KEY, default_headers={"x-canary": secret}, max_retries=0)
    client.chat.completions.create(model="gpt-5-mini", messages=text)
    list(client.chat.completions.create(model="gpt-5-mini", messages=text, stream=True))
    with suppress(openai.APIStatusError):
        client.chat.completions.create(model=f"{secret}", messages=text)
    with suppress(openai.APIStatusError):
        client.post(f"/unknown/{secret}?key={secret}", body={"a": secret}, cast_to=object)
    with suppress(anthropic.APIStatusError):
        anthropic.Anthropic(api_key=KEY).messages.create(
            model="claude-sonnet-4-5", max_tokens=9, system=secret, messages=text
        )
    for body in (
        f'{{"model": "gpt-5-mini", "messages": "{secret}',
        f'{{"{secret}": 1, "{secret}": 2}}',
    ):
        raw_call(proxy, "/v1/chat/completions", body.encode())


def raw_call(proxy: Penstock, path: str, body: bytes) -> bytes:
    """A body no SDK would send, with credentials for the proxy in the CONNECT."""
    with socket.create_connection(proxy.address, timeout=10) as raw:
        raw.sendall(
            b"CONNECT api.openai.com:443 HTTP/1.1\r\nhost: api.openai.com:443\r\n"
            b"proxy-authorization: Basic " + basic() + b"\r\n\r\n"
        )
        raw.recv(4096)
        context = ssl.create_default_context(cafile=str(proxy.state / "ca.pem"))
        with context.wrap_socket(raw, server_hostname="api.openai.com") as peer:
            peer.sendall(
                f"POST {path} HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer {KEY}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            return peer.recv(65536)


def basic() -> bytes:
    import base64

    return base64.b64encode(f"ada:{PASSWORD}".encode())


def test_no_canary_in_anything_written(
    provider: Provider,
    upstream: Upstream,
    collector: tuple[str, list[bytes]],
    tmp_path: Path,
    secret: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint, exported = collector
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with running_penstock(tmp_path, POLICY, upstream, environment=environment) as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        use_every_way_in(proxy, secret)
        records = proxy.records(7)
        shown = proxy.metrics()
        with urllib.request.urlopen(f"http://{proxy.admin}/status") as answer:
            shown += answer.read().decode()
        assert proxy.stop() == 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything = written + shown.encode() + b"".join(exported)
    assert len(records) >= 7 and exported  # there was something to leak into
    for canary in (secret, secret[5:25], KEY, PASSWORD, "a.canary@analytical-engine.org"):
        assert canary.encode() not in everything, canary[:8]
