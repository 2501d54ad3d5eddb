"""What a client may not say, and how large it may say it: one engine, many raw requests."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.proxy.raw import (
    HOST,
    OK,
    Answer,
    RawUpstream,
    RunningProxy,
    TestCa,
    running_proxy,
    wait_for,
)

PLAIN = "plain.internal"
CHUNKED_TRAILERS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
)
ANSWERS = {
    b"/trailers": CHUNKED_TRAILERS,
    b"/same": CHUNKED_TRAILERS,
    b"/big-head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"/endless-head": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
    b"/big-body": b"HTTP/1.1 200 OK\r\nContent-Length: 200001\r\n\r\n" + b"a" * 200_001,
    b"/big-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"ffff\r\n%s\r\n" % (b"a" * 0xFFFF) * 4
    + b"0\r\n\r\n",
    b"/both-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    b"/no-content": b"HTTP/1.1 204 No Content\r\n\r\n",
    b"/closes": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}",
    b"/no-http": b"SSH-2.0-OpenSSH\r\n\r\n",
    b"/early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    b"/torn": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
    b"/trailer-flood": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"X: y\r\n" * 30_000,
}

CLOSING = (b"/endless-head", b"/no-http", b"/torn", b"/trailer-flood", b"/closes")


def script(connection: socket.socket, request: bytes, number: int) -> bool:
    method, path = request.split(b" ")[:2]
    answer = ANSWERS.get(path, OK)
    connection.sendall(answer[:-2] if method == b"HEAD" else answer)
    return path not in CLOSING


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> Iterator[tuple[RunningProxy, RawUpstream]]:
    """One engine with small limits for the whole module."""
    with (
        RawUpstream(script, ca.context(HOST)) as upstream,
        RawUpstream(script) as plain,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={
                f"{HOST}:443": upstream.port,
                f"{PLAIN}:80": plain.port,
                f"{PLAIN}:8080": plain.port,
            },
            upstream_ca=ca.pem,
            limits={"request_body_bytes": 100_000, "answer_body_bytes": 200_000},
            addon="Streams",
        ) as proxy,
    ):
        yield proxy, upstream


def ask(proxy: RunningProxy, request: bytes, **tunnel: object) -> Answer:
    """Send raw bytes through a TLS tunnel to HOST and read the answer."""
    with proxy.tunnel(HOST, **tunnel) as client:
        client.send(request)
        return client.answer()


GOOD = b"GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "misdirected_request"),
        (b"GET / HTTP/1.1\r\nHost: api.openai.com:8443\r\n\r\n", 421, "misdirected_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "host_header"),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400, "host_header"),
        (
            b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nHost: evil.example\r\n\r\n",
            400,
            "host_header",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nhost: api.openai.com\r\n\r\n",
            400,
            "host_header",
        ),
        (
            b"GET https://api.openai.com/ HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
            403,
            "absolute_form_in_tunnel",
        ),
        (
            b"GET http://evil.example/ HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
            403,
            "absolute_form_in_tunnel",
        ),
        (
            b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            400,
            "invalid_request",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nX: a\r\n b\r\n\r\n",
            400,
            "folded_header",
        ),
        (b"GET / HTTP/1.1\nHost: api.openai.com\n\n", 400, "invalid_line_ending"),
        (b"GET / HTTP/1.1\r\nHost: api.openai.com\nX: y\r\n\r\n", 400, "invalid_line_ending"),
        (b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nX: a\rb\r\n\r\n", 400, "invalid_line_ending"),
        (b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nX: \0\r\n\r\n", 400, "invalid_line_ending"),
        (b"GET / HTTP/1.1\r\nHost : api.openai.com\r\n\r\n", 400, "invalid_request"),
        (b"GET /\r\nHost: api.openai.com\r\n\r\n", 400, "invalid_request"),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_request",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            400,
            "invalid_request",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: +2\r\n\r\n{}",
            400,
            "invalid_request",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: xchunked\r\n\r\n",
            400,
            "invalid_request",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
            b"0\r\n\r\n",
            400,
            "transfer_coding",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: compress\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "invalid_request",
        ),
        (b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nX: " + b"a" * 70_000, 431, "head_too_large"),
        (
            b"GET / HTTP/1.1\r\nHost: api.openai.com\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
            431,
            "head_too_large",
        ),
    ],
)
def test_a_request_that_lies_or_is_malformed_is_refused(
    engine: tuple[RunningProxy, RawUpstream], request_bytes: bytes, status: int, code: str
) -> None:
    """Refused with a JSON page, and not one byte reaches the upstream."""
    proxy, upstream = engine
    before = len(upstream.requests)
    answer = ask(proxy, request_bytes)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["connection"] == "close"
    assert len(upstream.requests) == before


@pytest.mark.parametrize(
    "host", [b"api.openai.com", b"API.OpenAI.com", b"api.openai.com:443", b"api.openai.com."]
)
def test_names_agree_whatever_their_spelling(
    engine: tuple[RunningProxy, RawUpstream], host: bytes
) -> None:
    """Case, the default port and the root dot make no difference."""
    assert ask(engine[0], b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").raw == OK


def test_another_tls_name_than_the_tunnel_s_is_refused(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """CONNECT one name, handshake with another, ask Host for either: 421."""
    proxy, upstream = engine
    before = len(upstream.requests)
    for host in (b"api.openai.com", b"other.example"):
        answer = ask(
            proxy, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", server_name="other.example"
        )
        assert (answer.status, answer.code) == (421, "misdirected_request")
    assert len(upstream.requests) == before


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: plain.internal\r\n\r\n", 400, "not_a_proxy_request"),
        (
            b"GET http://plain.internal/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            421,
            "misdirected_request",
        ),
        (b"GET http://plain.internal/ HTTP/1.1\r\n\r\n", 400, "host_header"),
        (
            b"GET ftp://plain.internal:80/ HTTP/1.1\r\nHost: plain.internal\r\n\r\n",
            400,
            "invalid_request",
        ),
        (b"CONNECT plain.internal HTTP/1.1\r\n\r\n", 400, "invalid_request"),
    ],
)
def test_a_plain_proxy_request_must_be_one(
    engine: tuple[RunningProxy, RawUpstream], request_bytes: bytes, status: int, code: str
) -> None:
    """A page in a browser cannot use the proxy port as a web server."""
    with engine[0].raw() as client:
        client.send(request_bytes)
        answer = client.answer()
    assert (answer.status, answer.code) == (status, code)


def test_a_client_that_waits_for_permission_gets_it(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Expect: 100-continue is answered by us and not forwarded."""
    proxy, upstream = engine
    with proxy.tunnel(HOST) as client:
        client.send(
            b"POST /e HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        client.send(b"{}")
        assert client.answer().raw == OK
    assert b"xpect" not in upstream.requests[-1]


@pytest.mark.parametrize(
    ("request_bytes", "head_only"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", True),
        (b"GET /no-content HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", True),
        (b"GET /closes HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", False),
        (b"OPTIONS * HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", False),
    ],
)
def test_answers_without_a_body_or_with_an_ending_connection(
    engine: tuple[RunningProxy, RawUpstream], request_bytes: bytes, head_only: bool
) -> None:
    """The framing rules of RFC 9112 section 6.3 hold, and the next call finds its way."""
    with engine[0].tunnel(HOST) as client:
        for _ in range(2):
            client.send(request_bytes)
            answer = client.answer(head=head_only)
            assert answer.status in (200, 204)
            assert answer.complete


def test_an_http_1_0_client_gets_its_answer_and_the_end(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """No keep-alive was asked for, so none is given."""
    with engine[0].tunnel(HOST) as client:
        client.send(b"GET / HTTP/1.0\r\nHost: api.openai.com\r\n\r\n")
        assert client.rest() == OK


def test_proxy_credentials_do_not_leave(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """What authenticates a client to the proxy is not forwarded to the destination."""
    proxy, upstream = engine
    ask(
        proxy,
        b"GET /p HTTP/1.1\r\nHost: api.openai.com\r\nProxy-Authorization: Basic c2VjcmV0\r\n"
        b"Proxy-Connection: keep-alive\r\nX-Kept: 1\r\n\r\n",
    )
    assert upstream.requests[-1] == b"GET /p HTTP/1.1\r\nHost: api.openai.com\r\nX-Kept: 1\r\n\r\n"


def test_an_empty_line_before_a_request_is_ignored(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """RFC 9112 section 2.2; in the same packet as the request."""
    assert ask(engine[0], b"\r\n" + GOOD).raw == OK


def test_pipelined_requests_are_answered_in_order(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Two requests in one packet get two answers."""
    with engine[0].tunnel(HOST) as client:
        client.send(GOOD + GOOD)
        assert [client.answer().raw, client.answer().raw] == [OK, OK]


def test_request_trailers_are_dropped_and_do_not_hang(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """What no check reads does not leave; the connection stays usable."""
    proxy, upstream = engine
    with proxy.tunnel(HOST) as client:
        client.send(
            b"POST /t HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: X-Sum\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: canary\r\n\r\n"
        )
        assert client.answer().raw == OK
        client.send(GOOD)
        assert client.answer().raw == OK
    sent = next(request for request in upstream.requests if b"/t " in request)
    assert sent.endswith(b"2\r\n{}\r\n0\r\n\r\n")
    assert b"canary" not in sent


@pytest.mark.parametrize("path", [b"/trailers", b"/same"])
def test_answer_trailers_are_dropped_and_do_not_hang(
    engine: tuple[RunningProxy, RawUpstream], path: bytes
) -> None:
    """Buffered and streamed alike; the connection stays usable."""
    with engine[0].tunnel(HOST) as client:
        for _ in range(2):
            client.send(b"GET " + path + b" HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
            answer = client.answer()
            assert (answer.body, answer.complete) == (b"hello", True)


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """413 as JSON without waiting for the body; the addons learn of it once."""
    proxy, _ = engine
    with proxy.tunnel(HOST) as client:
        client.send(
            b"POST /declared HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 100001\r\n\r\n"
        )
        answer = client.answer()
    assert (answer.status, answer.code) == (413, "body_too_large")
    told = {"hook": "error", "path": "/declared", "refused": "body_too_large"}
    wait_for(lambda: told in proxy.lines)
    assert proxy.lines.count(told) == 1


def test_a_chunked_body_over_the_limit_is_refused_and_the_client_can_read_it(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """A client that only listens after sending everything still gets its 413."""
    with engine[0].tunnel(HOST) as client:
        client.send(
            b"POST /c HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(30):
            client.send(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
        client.send(b"0\r\n\r\n")
        time.sleep(0.1)
        answer = client.answer()
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_a_body_at_the_limit_passes(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """The limit itself is allowed."""
    with engine[0].tunnel(HOST) as client:
        client.post(HOST, body=b"a" * 100_000)
        assert client.answer().raw == OK


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (b"/big-head", 502, "invalid_answer"),
        (b"/endless-head", 502, "invalid_answer"),
        (b"/big-body", 502, "answer_too_large"),
        (b"/big-chunks", 502, "answer_too_large"),
        (b"/both-lengths", 502, "invalid_answer"),
        (b"/no-http", 502, "invalid_answer"),
        (b"/torn", 502, "invalid_answer"),
        (b"/trailer-flood", 502, "invalid_answer"),
    ],
)
def test_an_answer_that_is_malformed_or_too_large_becomes_a_502(
    engine: tuple[RunningProxy, RawUpstream], path: bytes, status: int, code: str
) -> None:
    """As JSON, and the client connection can be used again."""
    with engine[0].tunnel(HOST) as client:
        client.send(b"GET " + path + b" HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.code) == (status, code)
        client.send(GOOD)
        assert client.answer().raw == OK


def test_informational_answers_are_not_taken_for_the_answer(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """103 Early Hints are taken off; the answer behind them arrives."""
    assert ask(engine[0], GOOD.replace(b"/ ", b"/early-hints ")).raw == OK


def test_a_client_cannot_fill_memory_while_it_waits(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Input behind an unanswered request is bounded: the connection ends."""
    proxy, _ = engine
    with proxy.tunnel(HOST) as client:
        client.send(GOOD.replace(b"/ ", b"/big-chunks ") + b"x" * 300_000)
        assert client.rest().count(b"HTTP/1.1 200") == 0


def test_nothing_of_a_refused_request_is_logged(
    engine: tuple[RunningProxy, RawUpstream],
) -> None:
    """Parser errors of the core quote the line they could not read; ours do not."""
    proxy, _ = engine
    ask(proxy, b"GET / HTTP/1.1\r\nAuthorization sk-canary-1\r\n\r\n")
    ask(proxy, b"sk-canary-2 / / /\r\n\r\n")
    assert "canary" not in proxy.log.read_text()
    assert "canary" not in json.dumps(proxy.lines)
