"""Addresses nothing may reach through the proxy, and names that must agree."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import pytest

from penstock.proxy.engine import guard, problem
from tests.proxy.raw import OK, RawUpstream, RunningProxy, running_proxy

CLOSED = [
    ("127.0.0.1", "loopback"),
    ("127.255.0.3", "loopback"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::7f00:1", "loopback"),
    ("2002:7f00:1::", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b:1::7f00:1", "loopback"),
    ("169.254.169.254", "link-local"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:a9fe:a9fe", "link-local"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("::ffff:0.0.0.0", "unspecified"),
    ("fd00:ec2::254", "metadata service"),
    ("100.100.100.200", "metadata service"),
    ("168.63.129.16", "metadata service"),
    ("224.0.0.1", "not a host"),
    ("ff02::1", "not a host"),
    ("255.255.255.255", "not a host"),
    ("localhost", "not an address"),
]


@pytest.mark.parametrize(("address", "why"), CLOSED)
def test_closed_addresses(address: str, why: str) -> None:
    """In every form an address can take."""
    assert guard.closed_address(address, 443, ()) == why


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "2606:4700::1111", "fd12::1",
     "::ffff:10.0.0.1", "64:ff9b::101:101"],
)  # fmt: skip
def test_open_addresses(address: str) -> None:
    """Public and private networks stay reachable: private endpoints are legitimate."""
    assert guard.closed_address(address, 443, ()) is None


def test_our_own_ports_are_closed_on_every_address_of_this_machine() -> None:
    """Also on the address of a network interface, and only there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; finds the outgoing address
        own = probe.getsockname()[0]
    assert guard.closed_address(own, 9900, {9900}) == "own port"
    assert guard.closed_address(own, 9901, {9900}) is None
    assert guard.closed_address("192.0.2.1", 9900, {9900}) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::ffff:7f00:1", "::ffff:127.0.0.1"),
        ("api.openai.com", None),
        ("", None),
    ],
)
def test_literal_addresses_in_any_spelling(host: str, address: str | None) -> None:
    """What the resolver would take for an address, we take for one."""
    found = guard.literal_address(host)
    # Python writes a mapped address in two ways, depending on its version.
    assert (found and ipaddress.ip_address(found)) == (address and ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("authority", "pair"),
    [
        ("Api.OpenAI.com", ("api.openai.com", 443)),
        ("api.openai.com.:443", ("api.openai.com", 443)),
        ("[::1]:8443", ("::1", 8443)),
        ("[::1]", ("::1", 443)),
        ("bücher.example", ("xn--bcher-kva.example", 443)),
        ("a@b", None),
        ("a/b", None),
        ("a:0", None),
        ("a:65536", None),
        ("a:+1", None),
        ("a:\u0661", None),
        (":443", None),
        ("", None),
    ],
)
def test_authorities_have_one_spelling(authority: str, pair: tuple[str, int] | None) -> None:
    """Case, root dot, default port and IDNA are evened out; oddities are no authority."""
    assert guard.split_authority(authority, 443) == pair


def test_names_in_a_redirected_connection() -> None:
    """Transparent mode has no tunnel target: TLS name and Host must agree."""

    def check(server_name: str | None, host: str) -> problem.Problem | None:
        return guard.tunnel_problem(None, server_name, [host], absolute=False, default_port=443)

    assert check("a.example", "A.example") is None
    assert check("a.example", "b.example") is problem.MISDIRECTED
    assert check(None, "b.example") is None
    assert check(None, "b@c") is problem.HOST_HEADER


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningProxy, RawUpstream]]:
    """An engine, and a server on loopback that must stay out of reach."""
    with (
        RawUpstream(OK) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={"named.example:80": upstream.port},
            wants={"tunnel.localhost": "tunnel"},
            admin=["127.0.0.1", 9900],
        ) as proxy,
    ):
        yield proxy, upstream


FORMS = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"]


@pytest.mark.parametrize("host", FORMS)
def test_no_plain_way_to_loopback(engine: tuple[RunningProxy, RawUpstream], host: str) -> None:
    """Whatever the address is called, and whatever it resolves to."""
    proxy, upstream = engine
    authority = f"{host}:{upstream.port}".encode()
    with proxy.raw() as client:
        client.send(b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n" % (authority, authority))
        answer = client.answer()
    assert (answer.status, answer.code) == (403, "destination_forbidden")
    assert upstream.connections == 0


@pytest.mark.parametrize("host", [*FORMS, "169.254.169.254", "[fe80::1]"])
def test_no_tunnel_to_closed_addresses(engine: tuple[RunningProxy, RawUpstream], host: str) -> None:
    """Literals are refused at CONNECT; a name is refused when it is connected to."""
    proxy, upstream = engine
    with proxy.raw() as client:
        authority = f"{host}:{upstream.port}".encode()
        client.send(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (authority, authority))
        answer = client.answer(connect=True)
        if answer.status == 200:
            assert host == "localhost"
            client.send(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % authority)
            answer = client.answer()
        assert (answer.status, answer.code) == (403, "destination_forbidden")
    assert upstream.connections == 0


def test_an_opaque_tunnel_cannot_reach_loopback(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Bytes that are not looked into are held back by the same check."""
    proxy, upstream = engine
    with proxy.tunnel("tunnel.localhost", upstream.port, tls=False) as client:
        client.send(b"\1\2\3\4")
        assert client.rest() == b""
    assert upstream.connections == 0


@pytest.mark.parametrize("port", ["own", 9900])
def test_the_proxy_does_not_lead_to_itself(
    engine: tuple[RunningProxy, RawUpstream], port: str | int
) -> None:
    """Neither its own port nor the admin port, by the address of an interface."""
    proxy, _ = engine
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    answer = proxy.raw().connect(own, proxy.port if port == "own" else int(port))
    assert answer.startswith(b"HTTP/1.1 403")


def test_connect_to_opens_exactly_what_it_names(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """The operator's word: that destination, under its name, and no other port of it."""
    proxy, upstream = engine
    with proxy.raw() as client:
        client.send(b"GET http://named.example/ HTTP/1.1\r\nHost: named.example\r\n\r\n")
        assert client.answer().raw == OK
    assert upstream.connections == 1
