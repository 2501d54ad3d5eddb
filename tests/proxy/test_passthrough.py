"""What is decrypted, what passes as it is, what is refused: decided at the ClientHello."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.raw import (
    HOST,
    OK,
    RawUpstream,
    RunningProxy,
    TestCa,
    running_proxy,
    wait_for,
)

OTHER = "git.example"
DENIED = "chat.example"
OPAQUE = "ssh.example"


def greet(connection: socket.socket, request: bytes, number: int) -> bool:
    return False


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> Iterator[tuple[RunningProxy, RawUpstream, RawUpstream]]:
    """HOST is intercepted, DENIED refused, everything else passes."""
    with (
        RawUpstream(OK, ca.context(HOST, OTHER)) as upstream,
        EchoServer() as echo,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={
                f"{HOST}:443": upstream.port,
                f"{OTHER}:443": upstream.port,
                f"{DENIED}:443": upstream.port,
                f"{OPAQUE}:22": echo.port,
                f"{HOST}:22": echo.port,
            },
            upstream_ca=ca.pem,
            wants={HOST: "intercept", DENIED: "deny", "*": "tunnel"},
        ) as proxy,
    ):
        yield proxy, upstream, echo


class EchoServer(RawUpstream):
    """Sends back what it gets, byte for byte."""

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)


def issuer(connection: socket.socket) -> str:
    assert isinstance(connection, ssl.SSLSocket)
    certificate = connection.getpeercert()
    assert certificate
    return str(dict(pair[0] for pair in certificate["issuer"])["commonName"])  # type: ignore[misc]


def test_an_intercepted_host_shows_our_certificate(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """Signed by the installation's authority."""
    with engine[0].tunnel(HOST) as client:
        assert issuer(client.socket).startswith("Penstock local CA")
        client.post(HOST)
        assert client.answer().raw == OK


def test_a_tunnelled_host_shows_its_own_certificate(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream], ca: TestCa
) -> None:
    """Not decrypted: the client sees the destination's real certificate and bytes."""
    with engine[0].tunnel(OTHER, ca=ca.pem) as client:
        assert issuer(client.socket) == "test upstream CA"
        client.post("anything.at.all")
        assert client.answer().raw == OK


def test_a_denied_host_is_refused_at_connect(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """Where the client can read why."""
    with engine[0].raw() as client:
        answer = client.connect(DENIED, 443)
    assert answer.startswith(b"HTTP/1.1 403")
    assert b'"destination_denied"' in answer


def test_a_denied_name_in_a_harmless_tunnel_gets_a_tls_alert(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream], ca: TestCa
) -> None:
    """access_denied instead of a certificate, and the refusal is told."""
    proxy, upstream, _ = engine
    before = upstream.connections
    with proxy.raw() as client:
        client.connect(OTHER, 443)
        with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
            client.start_tls(DENIED, ca.pem)
    assert upstream.connections == before
    wait_for(lambda: {"refused": "destination_denied", "host": DENIED} in proxy.lines)


def test_an_intercepted_name_in_a_harmless_tunnel_is_decrypted_and_refused(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """CONNECT harmless, SNI of an AI service: no way past the checks."""
    proxy, upstream, _ = engine
    before = len(upstream.requests)
    with proxy.raw() as client:
        client.connect(OTHER, 443)
        client.start_tls(HOST, proxy.ca)
        client.post(HOST)
        answer = client.answer()
    assert (answer.status, answer.code) == (421, "misdirected_request")
    assert len(upstream.requests) == before


def test_opaque_bytes_pass_to_a_tunnelled_host(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """Neither TLS nor HTTP: forwarded both ways, half-close included."""
    with engine[0].tunnel(OPAQUE, 22, tls=False) as client:
        client.send(b"SSH-2.0-x\r\n\0\1\2")
        assert client.until(b"\2") == b"SSH-2.0-x\r\n\0\1\2"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b""


def test_opaque_bytes_to_an_intercepted_host_are_refused(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """What cannot be read must not pass unread."""
    proxy, _, echo = engine
    before = echo.connections
    with proxy.tunnel(HOST, 22, tls=False) as client:
        client.send(b"SSH-2.0-x\r\n\0\1\2\r\n\r\n")
        assert client.answer().status == 400
    assert echo.connections == before


def test_plain_http_in_a_tunnel_is_read(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """A tunnel does not hide plain HTTP, not even to a host that is not intercepted."""
    with engine[0].tunnel(OPAQUE, 22, tls=False) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert client.answer().status == 421


def test_a_tunnel_without_a_server_name_goes_by_its_target(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream],
) -> None:
    """No SNI: CONNECT's name decides, and the certificate carries it."""
    with engine[0].tunnel(HOST, server_name=None) as client:
        client.post(HOST)
        assert client.answer().raw == OK


def test_a_client_that_does_not_trust_us_does_not_get_through(
    engine: tuple[RunningProxy, RawUpstream, RawUpstream], ca: TestCa
) -> None:
    """Certificate pinning is not answered with a silent tunnel."""
    proxy: RunningProxy = engine[0]
    for _ in range(2):
        with proxy.raw() as client:
            client.connect(HOST, 443)
            with pytest.raises(ssl.SSLCertVerificationError):
                client.start_tls(HOST, Path(ca.pem))
