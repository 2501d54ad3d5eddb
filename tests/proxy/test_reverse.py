"""A port that stands for one server, for clients that take a URL and no proxy."""

from __future__ import annotations

import ssl

import pytest
from click import ClickException

from penstock.cli.options import ReverseType
from tests.proxy.raw import HOST, OK, Start

TARGET = [["127.0.0.1", 0], "https", [HOST, 443]]


def test_requests_reach_the_server_under_its_own_name(start: Start) -> None:
    """Plain HTTP here, TLS to the server; one connection after the other; the proxy port works."""
    proxy, upstream = start(reverse=TARGET)
    with proxy.reverse() as client:
        for _ in range(2):
            client.post("127.0.0.1:8081")
            assert client.answer().raw == OK
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        assert client.answer().raw == OK
    assert len(upstream.requests) == 3
    assert all(f"Host: {HOST}\r\n".encode() in seen for seen in upstream.requests)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8081", HOST, f"{HOST}:443"])
def test_names_of_this_machine_and_of_the_server_are_taken(start: Start, host: str) -> None:
    proxy, _ = start(reverse=TARGET)
    with proxy.reverse() as client:
        client.post(host)
        assert client.answer().raw == OK


def test_a_page_cannot_reach_it_under_a_name_of_its_own(start: Start) -> None:
    """DNS rebinding, and everything else that is no plain request to one server."""
    proxy, upstream = start(reverse=TARGET)
    for host, code in [("evil.example", "misdirected_request"), ("a@b", "bad_host_header")]:
        with proxy.reverse() as client:
            client.post(host)
            assert client.answer().code in (code, "host_header", "bad_request"), host
    lines = [
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    for line in lines:
        with proxy.reverse() as client:
            client.send(line)
            assert 400 <= client.answer().status < 500, line
    assert upstream.requests == []


def test_it_does_not_speak_tls(start: Start) -> None:
    """No certificate is made for a name a client came up with."""
    proxy, _ = start(reverse=TARGET)
    with proxy.reverse() as client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.start_tls(HOST, proxy.ca)


def test_the_value_is_read_with_care() -> None:
    reads = ReverseType()
    given = reads.convert("127.0.0.1:8081=https://Mcp.example.com", None, None)
    assert given == (("127.0.0.1", 8081), "https", ("mcp.example.com", 443))
    assert reads.convert(":1=http://[::1]:99/", None, None)[2] == ("::1", 99)
    for wrong in (
        "",
        "8081",
        "a:1=ftp://x",
        "a:1=https://x/mcp",
        "a:1=https://u@x",
        "a:1=http://x:x",
    ):
        with pytest.raises(ClickException):
            reads.convert(wrong, None, None)
