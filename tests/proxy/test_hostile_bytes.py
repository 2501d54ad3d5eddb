"""Random and mutated bytes: the engine stays up, and nothing malformed gets through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.raw import HOST, OK, RawUpstream, RunningProxy, TestCa, running_proxy

PIECES = [
    b"GET ", b"POST ", b"/ ", b"/same ", b"http://api.openai.com/ ", b"* ", b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"Host: api.openai.com", b"Host: evil.example",
    b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: 5, 5",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding:\x0bchunked",
    b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"fffffffff\r\n", b"hello", b"Expect: 100-continue",
    b"Connection: close", b"Upgrade: websocket", b"X: \xff\xfe", b"\r\n\r\n",
]  # fmt: skip
GOOD_HEAD = b"GET / HTTP/1.1\r\nHost: api.openai.com\r\n"
HEAD = re.compile(
    rb"(GET|POST) [!-~]+ HTTP/1\.[01]\r\n([!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*\r\n"
)


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, ca: TestCa
) -> Iterator[tuple[RunningProxy, RawUpstream]]:
    """One engine for all examples."""
    with (
        RawUpstream(OK, ca.context(HOST)) as upstream,
        running_proxy(
            tmp_path_factory.mktemp("state"),
            connect_to={f"{HOST}:443": upstream.port},
            upstream_ca=ca.pem,
            addon="Streams",
            limits={"head_bytes": 2000, "request_body_bytes": 1000},
        ) as proxy,
    ):
        yield proxy, upstream


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prefix=st.sampled_from([b"", GOOD_HEAD, b"POST /same HTTP/1.1\r\nHost: api.openai.com\r\n"]),
    pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12),
)
def test_only_well_formed_requests_reach_the_upstream(
    engine: tuple[RunningProxy, RawUpstream], prefix: bytes, pieces: list[bytes]
) -> None:
    """Whatever a client sends, each request that leaves is strict HTTP for the named host."""
    proxy, upstream = engine
    upstream.requests.clear()
    with proxy.tunnel(HOST) as client:
        client.send(prefix + b"".join(pieces) + b"\r\n\r\n")
        client.send(b"GET /end HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n\r\n")
        client.socket.settimeout(0.3)
        with suppress(TimeoutError):  # an unfinished body: the engine rightly waits
            client.rest()
    for request in upstream.requests:
        assert HEAD.match(request), request
        hosts = re.findall(rb"(?im)^host:[ \t]*(.*?)\r$", request)
        assert hosts == [b"api.openai.com"]
    assert proxy.process.poll() is None


def test_the_engine_serves_after_all_that(engine: tuple[RunningProxy, RawUpstream]) -> None:
    """No crash was logged, and a good call works."""
    proxy, _ = engine
    with proxy.tunnel(HOST) as client:
        client.post(HOST)
        assert client.answer().raw == OK
    assert "in the protocol core" not in proxy.log.read_text()
