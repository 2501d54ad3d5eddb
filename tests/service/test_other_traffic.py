"""Traffic that is no AI call: left alone, unless the policy says where it may go."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.harness import Penstock, https_server, running_penstock
from tests.proxy.raw import OK, TIMEOUT, Client, RawUpstream

HOSTS = ["files.example.org", "blog.example.net"]
Start = Callable[[str], AbstractContextManager[Penstock]]


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(policy: str) -> AbstractContextManager[Penstock]:
        from contextlib import ExitStack, contextmanager

        @contextmanager
        def both():  # type: ignore[no-untyped-def]  # a fixture's inner helper
            with ExitStack() as stack:
                application = Starlette(routes=[Route("/{rest:path}", echo, methods=["POST"])])
                upstream = stack.enter_context(https_server(tmp_path / "up", application, HOSTS))
                yield stack.enter_context(running_penstock(tmp_path / "p", policy, upstream))

        return both()

    return begin


def post(proxy: Penstock, host: str, text: str) -> httpx.Response:
    """A POST by a client that trusts the proxy's CA and nobody else."""
    context = httpx.create_ssl_context(verify=str(proxy.state / "ca.pem"))
    with httpx.Client(proxy=proxy.url, verify=context) as client:
        return client.post(f"https://{host}/notes", content=text)


def test_what_is_no_ai_call_is_not_read(start: Start, secret: str) -> None:
    """Decrypted for discovery, a call without AI in it passes as it is, secrets and all."""
    policy = "version: 1\nintercept: all\nrules:\n  - id: s\n    redact: {find: [secret]}\n"
    with start(policy) as proxy:
        assert post(proxy, HOSTS[0], f"my notes {secret}").text == f"my notes {secret}"
        assert proxy.records() == []


def test_an_allow_list_of_hosts_holds_for_everything_decrypted(start: Start, secret: str) -> None:
    """Where an allow rule covers other destinations, what it does not name is refused."""
    policy = (
        "version: 1\nintercept: all\nrules:\n  - id: hosts\n"
        f"    allow: {{hosts: [{HOSTS[0]}]}}\n  - id: s\n    redact: {{find: [secret]}}\n"
    )
    with start(policy) as proxy:
        refused = post(proxy, HOSTS[1], f"my notes {secret}")
        assert refused.status_code == 403
        assert "rule=hosts" in refused.headers["penstock-decision"]
        assert [record["verdict"] for record in proxy.records(1)] == ["deny"]


def test_what_is_not_intercepted_keeps_its_own_certificate(start: Start) -> None:
    """Under ``intercept: ai`` an unknown host is tunnelled: our CA has no part in it."""
    policy = "version: 1\nrules:\n  - id: s\n    redact: {find: [secret]}\n"
    with start(policy) as proxy, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY"):
        post(proxy, HOSTS[0], "hello")


SHUT = (
    "version: 1\nother_traffic: deny\nrules:\n"
    "  - {id: s, redact: {find: [secret]}}\n"
    f"  - {{id: n, deny: {{hosts: [{HOSTS[0]}], models: [x]}}}}\n"
)
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
AI = b'{"model":"m","messages":[{"role":"user","content":"data"}]}'
WAYS = {
    "plain": b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n",
    "https as a whole URL": b"GET https://%s/ HTTP/1.1\r\nHost: %s\r\n\r\n",
    "a socket": b"GET http://%s/ HTTP/1.1\r\nHost: %s\r\n" + UPGRADE + b"\r\n",
    "dressed up as a call to a model": b"POST http://%s/v1/chat/completions HTTP/1.1\r\n"
    b"Host: %s\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\r\n" + AI,
    "HTTP/1.0": b"GET http://%s/ HTTP/1.0\r\nHost: %s\r\n\r\n",
    "a tunnel": b"CONNECT %s:80 HTTP/1.1\r\nHost: %s:80\r\n\r\n",
}


@pytest.fixture(scope="module")
def shut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("shut")
    application = Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])
    with (
        https_server(folder / "up", application, HOSTS) as upstream,
        running_penstock(folder / "p", SHUT, upstream) as proxy,
    ):
        yield proxy


@pytest.mark.parametrize("way", WAYS)
def test_other_traffic_is_refused_whichever_way_it_comes(shut: Penstock, way: str) -> None:
    """Where a tunnel would be refused, what comes without one is refused too."""
    assert len(AI) == 59
    with Client(socket.create_connection(shut.address, timeout=TIMEOUT)) as client:
        client.send(WAYS[way] % (HOSTS[1].encode(), HOSTS[1].encode()))
        answer = client.answer()
    assert (answer.status, answer.code) == (403, "destination_denied")


def test_each_refusal_has_a_record(tmp_path: Path) -> None:
    """Who wanted to go where, and for a call to a model also with which API; one line each."""
    application = Starlette(routes=[Route("/{rest:path}", echo, methods=["GET", "POST"])])
    host = HOSTS[1].encode()
    with (
        https_server(tmp_path / "up", application, HOSTS) as upstream,
        running_penstock(tmp_path / "p", SHUT, upstream) as proxy,
    ):
        for way in WAYS.values():
            with Client(socket.create_connection(proxy.address, timeout=TIMEOUT)) as client:
                client.send(way % (host, host))
                assert client.answer().status == 403
        records = proxy.records(len(WAYS))
        assert len(records) == len(WAYS)
    for record in records:
        assert record["destination"]["host"] == HOSTS[1]
        assert (record["verdict"], record["outcome"], record["status"]) == ("deny", "refused", 403)
        assert [rule["rule"] for rule in record["rules"]] == ["other_traffic"]
        assert record["caller"]["process"].startswith("python")
    made = dict(zip(WAYS, records, strict=True))
    assert made["a tunnel"]["method"] == "CONNECT"
    assert made["plain"]["method"] == "GET" and not made["plain"].get("api")
    assert made["dressed up as a call to a model"]["api"] == "openai.chat_completions"
    inventory = json.loads((tmp_path / "p" / "state" / "inventory.json").read_text())
    assert [(entry["host"], entry["refused"]) for entry in inventory["entries"]] == [(HOSTS[1], 1)]


def test_a_handshake_for_another_host_has_a_record(shut: Penstock) -> None:
    """The tunnel names an allowed host, the handshake in it does not: that name is told."""
    before = len(shut.records())
    with Client(socket.create_connection(shut.address, timeout=TIMEOUT)) as client:
        assert b" 200 " in client.connect(HOSTS[0], 443)
        with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
            client.start_tls(HOSTS[1], shut.state / "ca.pem")
    record = shut.records(before + 1)[-1]
    assert record["destination"]["host"] == HOSTS[1]
    assert (record["verdict"], record["outcome"]) == ("deny", "refused")
    assert [rule["rule"] for rule in record["rules"]] == ["other_traffic"]


def test_a_host_that_a_rule_names_is_no_other_traffic(shut: Penstock) -> None:
    with Client(socket.create_connection(shut.address, timeout=TIMEOUT)) as client:
        host = HOSTS[0].encode()
        client.send(WAYS["https as a whole URL"] % (host, host))
        assert client.answer().status == 200


def test_a_server_that_has_a_port_of_its_own_is_no_other_traffic(tmp_path: Path) -> None:
    """Who starts penstock with --reverse has said where that port leads."""
    with RawUpstream(OK) as server:
        reverse = f"127.0.0.1:0=http://127.0.0.1:{server.port}"
        arguments = ["--reverse", reverse]
        with running_penstock(tmp_path, SHUT, arguments=arguments) as proxy:
            port = int(json.loads((tmp_path / "ready.json").read_text())["reverse"].split(":")[1])
            with Client(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
                assert client.answer().raw == OK
            assert proxy.process.poll() is None
