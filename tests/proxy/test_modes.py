"""Other ways in: redirected connections, WebSocket, HTTP/2."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl

import h2.connection
import h2.events
import pytest

from tests.proxy.raw import HOST, OK, Client, Start, TestCa, wait_for

SOMEWHERE = ("203.0.113.7", 443)


def test_regular_and_transparent_run_together(start: Start) -> None:
    """One process, two ports; the TLS name says where a redirected connection goes."""
    proxy, upstream = start(transparent=["127.0.0.1", 0], redirected_from=SOMEWHERE)
    with proxy.redirected() as client:
        client.start_tls(HOST, proxy.ca)
        for _ in range(2):
            client.post(HOST)
            assert client.answer().raw == OK
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        assert client.answer().raw == OK
    assert len(upstream.requests) == 3


def test_names_must_agree_on_a_redirected_connection(start: Start) -> None:
    """TLS name and Host; there is no CONNECT to compare with."""
    proxy, upstream = start(transparent=["127.0.0.1", 0], redirected_from=SOMEWHERE)
    with proxy.redirected() as client:
        client.start_tls(HOST, proxy.ca)
        client.post("evil.example")
        assert client.answer().code == "misdirected_request"
    assert upstream.requests == []


def test_a_redirected_connection_is_tunnelled_by_its_name(start: Start, ca: TestCa) -> None:
    """What is not intercepted shows its own certificate here too."""
    proxy, _ = start(
        transparent=["127.0.0.1", 0],
        redirected_from=SOMEWHERE,
        wants={"*": "tunnel"},
    )
    with proxy.redirected() as client:
        client.start_tls(HOST, ca.pem)
        client.post(HOST)
        assert client.answer().raw == OK


def test_a_redirect_cannot_lead_to_loopback(start: Start) -> None:
    """The original destination goes through the same check."""
    proxy, _ = start(transparent=["127.0.0.1", 0], redirected_from=("127.0.0.1", 9))
    with proxy.redirected() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x.example\r\n\r\n")
        assert client.answer().code == "destination_forbidden"


def test_a_redirected_plain_call_goes_to_the_host_it_names(start: Start) -> None:
    """Not to the address the application chose: the call was judged as one to that host, and a
    key may have been put into it. Each request of the connection by its own name.
    """
    proxy, upstream = start(
        tls=False, transparent=["127.0.0.1", 0], redirected_from=("203.0.113.7", 80)
    )
    with proxy.redirected() as client:
        for _ in range(2):
            client.post(HOST)
            assert client.answer().raw == OK
        client.post("nobody.invalid")
        assert client.answer().code == "upstream_unreachable"
    assert len(upstream.requests) == 2


def test_without_a_tls_name_the_host_is_what_the_certificate_must_be_for(start: Start) -> None:
    """An address can have a certificate of its own: it proves nothing about the host named."""
    proxy, upstream = start(transparent=["127.0.0.1", 0], redirected_from=SOMEWHERE)
    with proxy.redirected() as client:
        client.start_tls(None, proxy.ca)
        client.post(HOST)
        assert client.answer().raw == OK
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"])
def test_a_redirected_call_cannot_name_loopback(start: Start, host: str) -> None:
    proxy, _ = start(tls=False, transparent=["127.0.0.1", 0], redirected_from=("203.0.113.7", 80))
    with proxy.redirected() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
        assert client.answer().code == "destination_forbidden"


def frame(content: bytes) -> bytes:
    """One masked text frame (RFC 6455 section 5.2), mask 0."""
    return b"\x81" + bytes([0x80 | len(content)]) + b"\0\0\0\0" + content


def upgrade(connection: socket.socket, request: bytes, number: int) -> bool:
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key + guid).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while data := connection.recv(1000):
        size = data[1] & 0x7F
        mask, content = data[2:6], data[6 : 6 + size]
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(content))
        connection.sendall(b"\x81" + bytes([size]) + text)
    return False


def open_socket(client: Client) -> None:
    client.send(
        b"GET /socket HTTP/1.1\r\nHost: api.openai.com\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert client.answer().status == 101


def test_websocket_messages_pass_and_are_forgotten(start: Start) -> None:
    """Echoed back; what has passed is not kept for the life of the socket."""
    proxy, _ = start(upgrade, addon="Sockets")
    with proxy.tunnel(HOST) as client:
        open_socket(client)
        for _ in range(3):
            client.send(frame(b"hello"))
            assert client.until(b"hello") == b"\x81\x05hello"
        client.send(frame(b"drop") + frame(b"again"))
        assert client.until(b"again") == b"\x81\x05again"
    told = [line["messages"] for line in proxy.lines if "messages" in line]
    assert set(told) == {1}


def test_a_raising_websocket_hook_drops_the_message_and_closes(start: Start) -> None:
    """Fail closed: the message does not arrive, the connection ends."""
    proxy, _ = start(upgrade, addon="Sockets")
    with proxy.tunnel(HOST) as client:
        open_socket(client)
        client.send(frame(b"boom"))
        assert client.rest() == b""


class H2:
    """A tiny HTTP/2 client."""

    def __init__(self, client: Client, ca: object) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(client.socket, server_hostname=HOST)
        self.protocol = self.socket.selected_alpn_protocol()
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()

    def get(
        self, stream: int, authority: str, path: str = "/", sent: bytes | None = None
    ) -> tuple[dict[bytes, bytes], bytes]:
        """The answer; with ``sent`` as the request's body, its length unsaid."""
        method = "GET" if sent is None else "POST"
        names = [(":method", method), (":path", path), (":scheme", "https")]
        self.h2.send_headers(stream, [*names, (":authority", authority)], end_stream=sent is None)
        if sent is not None:
            self.h2.send_data(stream, sent, end_stream=True)
        headers: dict[bytes, bytes] = {}
        body = b""
        while True:
            self.socket.sendall(self.h2.data_to_send())
            for event in self.h2.receive_data(self.socket.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {
                        name if isinstance(name, bytes) else name.encode(): value
                        if isinstance(value, bytes)
                        else value.encode()
                        for name, value in event.headers
                    }
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return headers, body


def test_http2_is_off_unless_asked_for(start: Start) -> None:
    """A client that only offers h2 gets no agreement on it."""
    proxy, _ = start()
    with proxy.raw() as client:
        client.connect(HOST, 443)
        context = ssl.create_default_context(cafile=str(proxy.ca))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(client.socket, server_hostname=HOST) as wrapped:
            assert wrapped.selected_alpn_protocol() == "http/1.1"


def test_http2_clients_get_answers_and_json_refusals(start: Start) -> None:
    """Switched on: calls work over an HTTP/1 upstream, refusals are our pages."""
    proxy, upstream = start(http2=True)
    with proxy.raw() as client:
        client.connect(HOST, 443)
        h2_client = H2(client, proxy.ca)
        assert h2_client.protocol == "h2"
        headers, body = h2_client.get(1, HOST)
        assert (headers[b":status"], body) == (b"200", b"{}")
        headers, body = h2_client.get(3, "evil.example")
        assert headers[b":status"] == b"421"
        assert b"misdirected_request" in body
        assert b"server" not in headers
        headers, _ = h2_client.get(5, HOST)
        assert headers[b":status"] == b"200"
    assert len(upstream.requests) == 2


def test_a_body_over_http2_is_no_second_request_upstream(start: Start) -> None:
    """HTTP/2 needs no length. Without one, the server would take the body for another request,
    which nobody has judged.
    """
    proxy, upstream = start(http2=True)
    hidden = b"GET /hidden HTTP/1.1\r\nHost: api.openai.com\r\n\r\n"
    with proxy.raw() as client:
        client.connect(HOST, 443)
        h2_client = H2(client, proxy.ca)
        headers, body = h2_client.get(1, HOST, sent=hidden)
        assert (headers[b":status"], body) == (b"200", b"{}")
        headers, body = h2_client.get(3, HOST)
        assert (headers[b":status"], body) == (b"200", b"{}")
    assert len(upstream.requests) == 2
    head, _, sent = upstream.requests[0].partition(b"\r\n\r\n")
    assert sent == hidden and b"content-length: %d" % len(hidden) in head.lower()


@pytest.mark.parametrize("path", ["http://evil.example/", "evil.example:443", "?x"])
def test_http2_has_no_absolute_form(start: Start, path: str) -> None:
    proxy, upstream = start(http2=True)
    with proxy.raw() as client:
        client.connect(HOST, 443)
        headers, body = H2(client, proxy.ca).get(1, HOST, path)
        assert headers[b":status"] == b"403" and b"absolute_form_in_tunnel" in body
    assert upstream.requests == []


def test_an_h2c_upgrade_is_not_forwarded(start: Start) -> None:
    """Cleartext HTTP/2 would leave the checks behind."""
    proxy, upstream = start()
    with proxy.tunnel(HOST) as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nUpgrade: h2c\r\n"
            b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        )
        assert client.answer().raw == OK
    assert b"h2c" not in upstream.requests[0]


@pytest.mark.parametrize("first", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x00"])
def test_odd_beginnings_do_not_hang_the_proxy_port(start: Start, first: bytes) -> None:
    """Prior-knowledge HTTP/2 and TLS to the proxy itself end in an error or a wait for more."""
    proxy, _ = start()
    with proxy.raw() as client:
        client.send(first + b"\r\n\r\n")
        assert client.answer().status == 400
    wait_for(lambda: proxy.process.poll() is None)
