"""Held calls over HTTP/2: a client that resets the stream has given the call up, and only that."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import httpx
import pytest

from penstock.cli.approval_desk import Desk, Row
from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST, LEGACY, Hostile, text_result

PATH = "/holding/mcp"
POLICY = f"""
version: 1
name: held
mode: enforce
rules:
  - id: a-person-agrees
    tools: {{server: {HOST}, approve: [pay], hold: 1m}}
"""
SECONDS_MAX = 30.0
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": LEGACY,
    "user-agent": "test",
}


@pytest.fixture(scope="module")
def server() -> Hostile:
    made = Hostile()
    made.says[PATH] = {"tools/call": text_result("paid")}
    return made


@pytest.fixture(scope="module")
def proxy(server: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("held")
    with (
        https_server(folder / "server", server, [HOST]) as upstream,
        running_penstock(folder / "penstock", POLICY, upstream, ["--http2"]) as started,
    ):
        yield started


def body_of(tool: str, argument: str) -> bytes:
    params = {"name": tool, "arguments": {argument: 1}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return json.dumps(message).encode()


def until(wanted: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if found := wanted():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def row(proxy: Penstock, argument: str, held: bool) -> Row:
    """The ticket of the call with this argument, once a call waits for it, or none does."""
    rows = Desk(proxy.state).rows
    return until(
        lambda: next((r for r in rows() if argument in r["arguments"] and r["held"] == held), None)
    )


class OnlyH2(ssl.SSLContext):
    """httpx offers HTTP/1.1 first; other clients do not."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2"])


class H2:
    """One HTTP/2 connection through the proxy; streams are sent, reset and read one by one."""

    def __init__(self, proxy: Penstock) -> None:
        raw = socket.create_connection(proxy.address, timeout=SECONDS_MAX)
        raw.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        context = ssl.create_default_context(cafile=proxy.environment["SSL_CERT_FILE"])
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(raw, server_hostname=HOST)
        assert self.socket.selected_alpn_protocol() == "h2"
        self.engine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.engine.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.engine.data_to_send())

    def post(self, body: bytes) -> int:
        stream = self.engine.get_next_available_stream_id()
        fields = {":method": "POST", ":scheme": "https", ":authority": HOST, ":path": PATH}
        self.engine.send_headers(stream, [*(fields | HEADERS).items()])
        self.engine.send_data(stream, body, end_stream=True)
        self.flush()
        return int(stream)

    def reset(self, stream: int) -> None:
        self.engine.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self.flush()

    def answer(self, stream: int) -> Any:
        body = b""
        while True:
            for event in self.engine.receive_data(self.socket.recv(65536)):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded):
                    return json.loads(body)
            self.flush()


def test_a_call_whose_stream_was_reset_is_not_made(proxy: Penstock, server: Hostile) -> None:
    """The connection stays and serves other calls; the yes is for the retry, once."""
    client, before = H2(proxy), len(server.calls(PATH))
    stream = client.post(body_of("pay", "reset"))
    ticket = row(proxy, "reset", held=True)["ticket"]
    client.reset(stream)
    row(proxy, "reset", held=False)  # nobody waits: known at once, not at the end of the hold
    assert Desk(proxy.state).answer(ticket, "approve")
    other = client.post(body_of("look", "beside"))
    assert client.answer(other)["result"] == text_result("paid")
    time.sleep(0.5)  # time in which the call might still be made
    assert [p["name"] for p in server.calls(PATH)[before:]] == ["look"]
    again = client.post(body_of("pay", "reset"))
    assert client.answer(again)["result"] == text_result("paid")
    assert [p["name"] for p in server.calls(PATH)[before:]] == ["look", "pay"]


def test_a_stream_that_waits_gets_its_answer_beside_one_that_was_reset(
    proxy: Penstock, server: Hostile
) -> None:
    """The same call twice on one connection: giving one up is not giving up the other."""
    client, before = H2(proxy), len(server.calls(PATH))
    given_up, waiting = (client.post(body_of("pay", "twin")) for _ in range(2))
    ticket = row(proxy, "twin", held=True)["ticket"]
    client.reset(given_up)
    look = client.post(body_of("look", "twin"))
    assert client.answer(look)["result"] == text_result("paid")  # the reset was read before it
    assert Desk(proxy.state).answer(ticket, "approve")
    assert client.answer(waiting)["result"] == text_result("paid")
    assert [p["name"] for p in server.calls(PATH)[before:]] == ["look", "pay"]


def test_the_end_of_the_connection_gives_up_all_of_its_calls(
    proxy: Penstock, server: Hostile
) -> None:
    client, before = H2(proxy), len(server.calls(PATH))
    for name in ("closed_1", "closed_2"):
        client.post(body_of("pay", name))
    tickets = [row(proxy, name, held=True)["ticket"] for name in ("closed_1", "closed_2")]
    client.socket.close()
    for name, ticket in zip(("closed_1", "closed_2"), tickets, strict=True):
        row(proxy, name, held=False)
        assert Desk(proxy.state).answer(ticket, "approve")
    time.sleep(0.5)
    assert len(server.calls(PATH)) == before


def test_a_real_client_that_gives_up_and_comes_again(proxy: Penstock, server: Hostile) -> None:
    """httpx over HTTP/2. It does not reset a stream that it timed out on: closing does it."""
    before, desk = len(server.calls(PATH)), Desk(proxy.state)
    url, body = f"https://{HOST}{PATH}", body_of("pay", "httpx")
    with h2_client(proxy) as client, pytest.raises(httpx.ReadTimeout):
        client.post(url, content=body, headers=HEADERS, timeout=httpx.Timeout(30, read=1))
    found = row(proxy, "httpx", held=False)
    assert desk.answer(found["ticket"], "approve")
    with h2_client(proxy) as client:
        answer = client.post(url, content=body, headers=HEADERS)
    assert answer.http_version == "HTTP/2"
    assert answer.json()["result"] == text_result("paid")
    assert len(server.calls(PATH)) == before + 1


def h2_client(proxy: Penstock) -> httpx.Client:
    trust = OnlyH2(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(proxy.environment["SSL_CERT_FILE"])
    return httpx.Client(proxy=proxy.url, verify=trust, http2=True, timeout=SECONDS_MAX)
