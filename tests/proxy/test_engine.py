"""The engine as a process: starts, serves, ends."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from mitmproxy import version

from penstock.proxy.engine import engine
from penstock.proxy.settings import EngineSettings
from tests.proxy.raw import HOST, OK, Start, TestCa, running_proxy, wait_for


def test_a_connection_carries_many_calls_over_one_upstream_connection(start: Start) -> None:
    """Keep-alive holds on both sides, and requests arrive byte for byte."""
    proxy, upstream = start()
    with proxy.tunnel(HOST) as client:
        for _ in range(3):
            client.post(HOST, body=b'{"a": 1}')
            assert client.answer().raw == OK
    assert upstream.connections == 1
    assert (
        upstream.requests
        == [
            b"POST /v1/x HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n"
            b'Content-Length: 8\r\n\r\n{"a": 1}'
        ]
        * 3
    )


def test_the_trust_files_are_there_when_the_port_opens(start: Start) -> None:
    """A client that waits for the port can trust us at once, even under strict checks."""
    proxy, _ = start()
    context = ssl.create_default_context(cafile=str(proxy.state_dir / "ca-bundle.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with proxy.raw() as client:
        assert client.connect(HOST, 443).startswith(b"HTTP/1.1 200")
        with context.wrap_socket(client.socket, server_hostname=HOST) as wrapped:
            assert wrapped.version() == "TLSv1.3"


def test_a_plain_http_call_through_the_proxy(start: Start) -> None:
    """Absolute-form requests are forwarded in origin-form."""
    proxy, upstream = start(tls=False, host="model.internal")
    with proxy.raw() as client:
        client.send(b"GET http://model.internal/x?y HTTP/1.1\r\nHost: model.internal\r\n\r\n")
        assert client.answer().raw == OK
    assert upstream.requests == [b"GET /x?y HTTP/1.1\r\nHost: model.internal\r\n\r\n"]


def test_an_untrusted_upstream_is_refused(start: Start) -> None:
    """Without its CA the upstream's certificate is not accepted: 502 and JSON."""
    proxy, upstream = start(upstream_ca=None)
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        answer = client.answer()
    assert (answer.status, answer.code) == (502, "upstream_certificate")
    assert upstream.requests == []


def test_a_failed_connection_does_not_poison_later_calls(start: Start) -> None:
    """After a 502 the same client connection reaches an upstream that has come up since."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    proxy, _ = start(tls=False, host="late.internal", connect_to={"late.internal:80": port})
    request = b"GET http://late.internal/ HTTP/1.1\r\nHost: late.internal\r\n\r\n"
    with proxy.raw() as client:
        client.send(request)
        assert client.answer().code == "upstream_unreachable"
        with socket.create_server(("127.0.0.1", port)) as late:
            client.send(request)
            connection, _ = late.accept()
            connection.recv(1000)
            connection.sendall(OK)
            assert client.answer().raw == OK


def test_error_pages_name_no_product(start: Start) -> None:
    """Nothing in an error page tells which software made it."""
    proxy, _ = start(upstream_ca=None)
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        raw = client.answer().raw.lower()
    assert b"mitmproxy" not in raw
    assert b"penstock" not in raw
    assert b"\r\nserver:" not in raw
    assert b"content-type: application/json" in raw


def test_a_port_in_use_ends_the_start_with_code_two(start: Start, tmp_path, ca: TestCa) -> None:
    """The engine does not run half-deaf."""
    proxy, _ = start()
    second = running_proxy(tmp_path / "second", listen=["127.0.0.1", proxy.port])
    with pytest.raises(RuntimeError, match="cannot listen"):
        second.__enter__()


async def test_an_untested_core_is_refused(monkeypatch, tmp_path) -> None:
    """A core whose behaviour nobody tested must not carry the safety of the calls."""
    monkeypatch.setattr(version, "VERSION", "12.9.9")
    with pytest.raises(RuntimeError, match=r"12\.9\.9"):
        await engine.serve(EngineSettings(tmp_path), [])


def slow_stream(connection: socket.socket, request: bytes, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for part in range(6):
        connection.sendall(b"3\r\nd%d\n\r\n" % part)
        time.sleep(0.1)
    connection.sendall(b"0\r\n\r\n")


def test_sigterm_lets_a_running_stream_finish(start: Start) -> None:
    """Draining: no new connections, the running answer arrives whole, exit code 0."""
    proxy, _ = start(slow_stream, addon="Streams")
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/same")
        assert client.answer(head=True).status == 200
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.15)
        with pytest.raises(ConnectionRefusedError):
            proxy.raw()
        assert client.until(b"0\r\n\r\n").endswith(b"d5\n\r\n0\r\n\r\n")
        assert proxy.process.wait(5) == 0


def test_the_grace_period_ends_the_drain(start: Start) -> None:
    """An answer that does not end cannot hold the process."""

    def endless(connection: socket.socket, request: bytes, number: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1\r\nx\r\n")
            time.sleep(0.05)

    proxy, _ = start(endless, addon="Streams", limits={"drain_seconds": 0.3})
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/same")
        client.answer(head=True)
        begun = time.monotonic()
        assert proxy.stop() == 0
        assert 0.25 < time.monotonic() - begun < 3


def test_a_second_signal_ends_the_drain_at_once(start: Start) -> None:
    """Ctrl-C twice means now."""
    proxy, _ = start(lambda connection, request, number: time.sleep(30), addon="Streams")
    with proxy.tunnel(HOST) as client:
        client.post(HOST, "/same")
        time.sleep(0.2)
        proxy.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            proxy.process.wait(0.3)
        assert proxy.stop(signal.SIGINT, 3) == 0


def test_while_draining_answers_close_their_connections(start: Start) -> None:
    """A busy keep-alive client does not keep the process from ending."""
    gate = threading.Event()

    def gated(connection: socket.socket, request: bytes, number: int) -> None:
        gate.wait(5)
        connection.sendall(OK)

    proxy, _ = start(gated)
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        time.sleep(0.2)
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        gate.set()
        assert client.answer().headers["connection"] == "close"
    assert proxy.process.wait(5) == 0


def test_client_disconnect_in_a_stream_cancels_the_upstream_within_100_ms(start: Start) -> None:
    """Nobody pays for an answer nobody reads; the addons are told."""
    seen: list[float] = []

    def begin(connection: socket.socket, request: bytes, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        connection.recv(1)
        seen.append(time.monotonic())
        return False

    proxy, _ = start(begin, addon="Streams")
    client = proxy.tunnel(HOST)
    client.post(HOST, "/same")
    assert client.until(b"ab\r\n")
    gone = time.monotonic()
    client.close()
    wait_for(lambda: seen)
    assert seen[0] - gone < 0.1
    wait_for(lambda: any(line.get("hook") == "error" for line in proxy.lines))


def test_client_disconnect_while_waiting_for_the_head(start: Start) -> None:
    """The upstream connection is closed at once, seen by a read that returns nothing."""
    seen: list[float] = []

    def wait(connection: socket.socket, request: bytes, number: int) -> bool:
        connection.recv(1)
        seen.append(time.monotonic())
        return False

    proxy, _ = start(wait, addon="Watch")
    client = proxy.tunnel(HOST)
    client.post(HOST)
    time.sleep(0.2)
    gone = time.monotonic()
    client.close()
    wait_for(lambda: seen)
    assert seen[0] - gone < 0.1
