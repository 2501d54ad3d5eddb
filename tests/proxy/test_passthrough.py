"""What is decrypted, what passes as it is, what is refused: decided at the ClientHello."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.proxy.engine.deadlines import Deadlines
from penstock.proxy.engine.passthrough import Passthrough
from penstock.proxy.engine.runtime import Callbacks, Runtime, Wish
from penstock.proxy.settings import EngineSettings, Limits
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


def hello(
    mode: str, address: tuple[str, int] | None, server_name: str | None, *extensions: int
) -> Any:
    """A ClientHello as the core reports it."""
    client = SimpleNamespace(proxy_mode=SimpleNamespace(type_name=mode), error=None)
    return SimpleNamespace(
        context=SimpleNamespace(client=client, server=SimpleNamespace(address=address, sni=None)),
        client_hello=SimpleNamespace(
            sni=server_name, extensions=[(kind, b"") for kind in extensions]
        ),
        ignore_connection=False,
    )


def decided(tmp_path: Path, data: Any, **wants: Wish) -> tuple[str, list[tuple[str, str]]]:
    """What Passthrough makes of it, and what it reports."""
    told: list[tuple[str, str]] = []
    callbacks = Callbacks(
        wants=lambda host, port: wants.get(host.replace(".", "_"), "tunnel"),
        refused=lambda code, host: told.append((code, host)),
    )
    runtime = Runtime(EngineSettings(tmp_path), callbacks, Deadlines(Limits()))
    Passthrough(runtime).tls_clienthello(data)
    if data.context.client.error:
        return "deny", told
    return "tunnel" if data.ignore_connection else "intercept", told


@pytest.mark.parametrize(
    ("mode", "address", "server_name", "wish"),
    [
        ("regular", ("a.example", 443), "a.example", "tunnel"),
        ("regular", ("ai.example", 443), "a.example", "intercept"),
        ("regular", ("a.example", 443), "AI.example.", "intercept"),
        ("regular", ("ai.example", 443), "no.example", "deny"),
        ("regular", ("no.example", 443), None, "deny"),
        ("regular", None, None, "deny"),
        ("transparent", ("192.0.2.1", 443), "ai.example", "intercept"),
        ("transparent", ("192.0.2.1", 443), "a.example", "tunnel"),
        ("transparent", ("192.0.2.1", 443), None, "tunnel"),
    ],
)
def test_the_strictest_wish_counts(
    tmp_path: Path, mode: str, address: tuple[str, int] | None, server_name: str | None, wish: str
) -> None:
    """Over every name the connection carries; no name at all is refused."""
    data = hello(mode, address, server_name)
    assert decided(tmp_path, data, ai_example="intercept", no_example="deny")[0] == wish


def test_an_encrypted_client_hello_is_reported_where_it_hides_the_name(tmp_path: Path) -> None:
    """On a redirected connection; in a tunnel CONNECT has named the destination."""
    seen = [("encrypted_client_hello_seen", "cover.example")]
    redirected = hello("transparent", ("192.0.2.1", 443), "cover.example", 0xFE0D)
    assert decided(tmp_path, redirected) == ("tunnel", seen)
    tunnel = hello("regular", ("cover.example", 443), "cover.example", 0xFE0D)
    assert decided(tmp_path, tunnel) == ("tunnel", [])
