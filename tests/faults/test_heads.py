"""Heads of all kinds: odd headers, odd CONNECTs, plain HTTP, credentials, error pages."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.world import (
    CHAT,
    EMAIL,
    OPENAI,
    World,
    ask,
    body_of,
    chat,
    completion,
    completion_body,
    eventually,
    head,
    world,
)

ALL = """
version: 1
name: all
intercept: all
rules:
  - id: nothing-private-out
    redact: {find: [secret, pii.email], in: [request], with: placeholder}
"""
UNKNOWN = "llm.internal-tools.example"
OTHER = "files.internal-tools.example"
PRODUCT = re.compile(rb"penstock|mitmproxy|python|uvicorn|h11|openssl", re.IGNORECASE)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A proxy that decrypts every host, and plain HTTP upstreams behind two names."""
    from tests.proxy.raw import RawUpstream

    with RawUpstream(completion()) as plain:
        arguments = []
        for host in (UNKNOWN, OTHER, OPENAI):
            arguments += ["--connect-to", f"{host}:80=127.0.0.1:{plain.port}"]
        folder = tmp_path_factory.mktemp("everything")
        with world(folder, ALL, hosts=[UNKNOWN, OTHER, OPENAI], arguments=arguments) as made:
            made.plain = plain  # type: ignore[attr-defined]
            yield made


def lines_of(message: bytes) -> list[bytes]:
    """The header lines in order, but for the space around values and those between two hops."""
    hops = (b"connection", b"host", b"content-length", b"accept-encoding")
    lines = message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = [line.partition(b":") for line in lines]
    return [name + b":" + value.strip() for name, _, value in pairs if name.lower() not in hops]


ODD = {
    "order and case": b"X-b: 1\r\nx-A: 2\r\nX-B: 3\r\nUPPER: x\r\nlower: y\r\n",
    "the same name many times": b"".join(b"X-Many: %d\r\n" % n for n in range(50)),
    "a thousand headers": b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(1000)),
    "latin-1 bytes": b"X-Name: Andr\xe9 \xfc\xff\r\n",
    "utf-8 bytes": "X-Name: André 日本 🦀\r\n".encode(),
    "an empty value": b"X-Empty:\r\nX-Blank: \r\n",
    "a long value": b"X-Long: " + b"v" * 30_000 + b"\r\n",
    "quotes and commas": b'X-Q: "a, b", c;d=\t"e"\r\n',
    "cookies twice": b"Cookie: a=1\r\nCookie: b=2\r\n",
    "user agent of bytes": b"User-Agent: \xff\xfe\xfd\r\n",
    "a hostile traceparent": b"traceparent: \xff-\n".replace(b"\n", b"x") + b"\r\n",
    "a hostile retry count": b"x-stainless-retry-count: \xb2\xb3\r\n",
    "a hostile length of words": b"X-Request-Id: " + b"\xe2\x80\xae" * 9 + b"\r\n",
}


@pytest.mark.parametrize("name", ODD)
def test_headers_arrive_as_they_were_sent(here: World, name: str) -> None:
    """In order, in case, byte by byte; in the request and in the answer."""
    here.upstream.script = head(completion_body(), ODD[name])
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat(), ODD[name])
        answer = client.answer()
    assert answer.status == 200
    given = lines_of(b"POST\r\nContent-Type: application/json\r\n" + ODD[name] + b"\r\n")
    assert lines_of(here.upstream.requests[-1]) == given
    assert [one for one in lines_of(answer.raw) if not one.startswith(b"ratelimit")] == given
    assert here.after(before)[0]["outcome"] == "answered"


HOSTILE_NAMES = {
    "a lone surrogate": '{"model":"gpt-\\ud800","messages":[]}',
    "a line break": '{"model":"gpt\\n\\r5","messages":[]}',
    "a nul": '{"model":"gpt\\u0000","messages":[]}',
    "a label": '{"model":"a\\"} 1\\npenstock_fake{x=\\"","messages":[]}',
    "a mile": json.dumps({"model": "m" * 100_000, "messages": []}),
    "right to left": '{"model":"\\u202egpt\\u2066","messages":[]}',
    "a number": '{"model":5,"messages":[]}',
    "a list": '{"model":["a"],"messages":{"a":1}}',
    "surrogates everywhere": (
        '{"model":"m","user":"\\ud800","tools":[{"type":"function","function":'
        '{"name":"\\udfff"}}],"messages":[{"role":"\\ud801","content":"\\udfff x"}]}'
    ),
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_do_not_break_records_or_metrics(watched: World, name: str) -> None:
    before = watched.recorded
    with watched.tunnel() as client:
        ask(client, HOSTILE_NAMES[name].encode())
        assert client.answer().status == 200
    assert body_of(watched.upstream.requests[-1]) == HOSTILE_NAMES[name].encode()
    (record,) = watched.after(before)
    assert len(record.get("model") or "") <= 200
    assert watched.metric("penstock_record_failures_total") == 0
    assert watched.metric("penstock_check_errors_total") == 0
    assert "\npenstock_fake" not in watched.proxy.metrics()


HOSTILE_ANSWERS = {
    "a lone surrogate": b'{"id":"\\ud800","model":"\\udfff","choices":[],"usage":{}}',
    "usage of words": b'{"usage":{"prompt_tokens":"many","completion_tokens":[]}}',
    "usage below nothing": b'{"usage":{"prompt_tokens":-5,"completion_tokens":-1}}',
    "usage beyond reason": b'{"usage":{"prompt_tokens":1e400,"completion_tokens":1e30}}',
    "a huge integer": b'{"usage":{"prompt_tokens":' + b"9" * 400 + b"}}",
    "half numbers": b'{"usage":{"prompt_tokens":1.5,"completion_tokens":true}}',
    "choices of nothing": b'{"choices":[null,5,"x",{"message":7}],"usage":null}',
    "a list": b"[1,2]",
    "text": b"hello",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "an error of lists": b'{"error":[["x"]]}',
}


@pytest.mark.parametrize("name", HOSTILE_ANSWERS)
def test_hostile_answers_pass_and_are_recorded(here: World, name: str) -> None:
    """What a provider says about usage may be nonsense; limits must survive it."""
    here.upstream.script = head(HOSTILE_ANSWERS[name])
    before = here.recorded
    with here.tunnel() as client:
        ask(client, chat())
        answer = client.answer()
        assert (answer.status, answer.body) == (200, HOSTILE_ANSWERS[name]), answer.raw[:300]
        here.upstream.script = completion()
        ask(client, chat())
        assert client.answer().status == 200
    records = here.proxy.records(before + 2)[before:]
    assert [one["outcome"] for one in records] == ["answered", "answered"]
    assert records[0].get("usage", {}).get("output", 0) >= 0
    assert here.metric("penstock_record_failures_total") == 0
    assert here.metric("penstock_check_errors_total") == 0
    eventually(lambda: here.metric("penstock_open_reservations") == 0)


def test_hostile_events_pass_and_are_recorded(here: World) -> None:
    from tests.faults.world import LAST, STREAM_HEAD, chunk

    events = b"".join(b"data: " + one + b"\n\n" for one in HOSTILE_ANSWERS.values())
    here.upstream.script = STREAM_HEAD + chunk(events) + LAST
    with here.tunnel() as client:
        ask(client, chat(stream=True))
        answer = client.answer()
    assert answer.complete and answer.body == events
    assert here.metric("penstock_check_errors_total") == 0


PATHS = [
    b"/v1/chat/completions?api-version=\xff",
    b"/v1/\xe9\xff/chat/completions",
    b"/v1/chat/completions?" + b"q" * 20_000,
    b"//v1//chat/completions",
    b"/v1/chat/completions#fragment",
    b"/v1/chat/../chat/completions",
    b"/%76%31/chat/completions",
    b"*",
]


@pytest.mark.parametrize("path", PATHS)
def test_odd_paths_arrive_as_they_were_sent(here: World, path: bytes) -> None:
    before = here.recorded
    with here.tunnel() as client:
        body = chat(f"mail {EMAIL}")
        client.send(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (path, OPENAI.encode(), len(body), body)
        )
        answer = client.answer()
    if path == b"*":
        assert answer.status in (200, 400)
        return
    assert answer.status == 200
    request = here.upstream.requests[-1]
    assert request.startswith(b"POST %s HTTP/1.1\r\n" % path)
    assert EMAIL.encode() not in request, "whatever the path, the content is looked at"
    assert here.after(before)[0]["outcome"] == "answered"
    assert here.metric("penstock_record_failures_total") == 0


# ---------------------------------------------------------------------- proxy credentials

SECRET = base64.b64encode(b"ada:a-proxy-password")


def test_proxy_credentials_name_the_caller_and_go_no_further(here: World) -> None:
    before = here.recorded
    given = b"Proxy-Authorization: Basic %s\r\n" % SECRET
    with here.tunnel(extra=given) as client:
        ask(client, chat(), given + b"Proxy-Connection: keep-alive\r\n")
        assert client.answer().status == 200
    assert here.after(before)[0]["caller"]["user"] == "ada"
    assert b"proxy-" not in b"".join(here.upstream.requests).lower()
    written = here.proxy.log.read_bytes() + (here.proxy.state / "audit.jsonl").read_bytes()
    assert SECRET not in written and b"a-proxy-password" not in written


BAD_CREDENTIALS = [
    b"Basic",
    b"Basic ",
    b"Basic !!!",
    b"Basic " + base64.b64encode(b"no colon"),
    b"Basic " + base64.b64encode(b"\xff\xfe:\xff"),
    b"Basic " + base64.b64encode(b":"),
    b"Bearer x.y.z",
    b"\xff\xff",
    b"Basic " + b"QUFB" * 5000,
]


@pytest.mark.parametrize("value", BAD_CREDENTIALS)
def test_nonsense_credentials_are_nobody(here: World, value: bytes) -> None:
    before = here.recorded
    with here.tunnel(extra=b"Proxy-Authorization: %s\r\n" % value) as client:
        ask(client, chat())
        assert client.answer().status == 200
    assert len(here.after(before)) == 1
    assert here.metric("penstock_check_errors_total") == 0


def plain(made: World, host: str, body: bytes, extra: bytes = b"") -> Any:
    """An AI call over plain HTTP, in absolute form."""
    with made.raw() as client:
        client.send(
            b"POST http://%s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n%s\r\n%s"
            % (host.encode(), CHAT.encode(), host.encode(), len(body), extra, body)
        )
        return client.answer()


def test_a_plain_http_call_to_an_unknown_host_is_known_by_its_content(everything: World) -> None:
    upstream: Any = everything.plain  # type: ignore[attr-defined]
    before = everything.recorded
    given = b"Proxy-Authorization: Basic %s\r\n" % SECRET
    answer = plain(everything, UNKNOWN, chat(f"mail {EMAIL}"), given)
    assert answer.status == 200
    request = upstream.requests[-1]
    assert b"proxy-authorization" not in request.lower() and EMAIL.encode() not in request
    assert request.startswith(b"POST %s HTTP/1.1" % CHAT.encode())
    (record,) = everything.after(before)
    assert record["api"] == "openai.chat_completions" and record["caller"]["user"] == "ada"
    assert record["destination"]["host"] == UNKNOWN


def test_a_decrypted_call_to_an_unknown_host_is_known_by_its_content(everything: World) -> None:
    with everything.tunnel(UNKNOWN) as client:
        ask(client, chat(f"mail {EMAIL}"), host=UNKNOWN)
        assert client.answer().status == 200
    assert EMAIL.encode() not in everything.upstream.requests[-1]


def test_what_is_no_ai_call_passes_untouched_and_unrecorded(everything: World) -> None:
    before = everything.recorded
    body = json.dumps({"mail": EMAIL, "n": [1, 2, 3]}).encode()
    with everything.tunnel(OTHER) as client:
        client.post(OTHER, "/upload", body, b"Content-Encoding: nonsense\r\n")
        answer = client.answer()
        assert answer.status in (200, 403)
        client.post(OTHER, "/upload", body)
        assert client.answer().status == 200
    assert body_of(everything.upstream.requests[-1]) == body
    assert len(everything.proxy.records()) - before <= 1


# ---------------------------------------------------------------------- CONNECT

CONNECTS = {
    "no port": (b"CONNECT api.openai.com HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", 400),
    "port nought": (b"CONNECT api.openai.com:0 HTTP/1.1\r\nHost: api.openai.com:0\r\n\r\n", 400),
    "a port too far": (b"CONNECT api.openai.com:99999 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a URL": (b"CONNECT https://api.openai.com/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "nothing": (b"CONNECT  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "loopback": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 403),
    "metadata": (b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n", 403),
    "a name of bytes": (b"CONNECT \xff\xfe:443 HTTP/1.1\r\nHost: \xff\xfe:443\r\n\r\n", 400),
    "a long name": (b"CONNECT " + b"a" * 5000 + b":443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "user information": (b"CONNECT u:p@api.openai.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", CONNECTS)
def test_an_odd_tunnel_is_refused_as_json_or_goes_nowhere(here: World, name: str) -> None:
    request, status = CONNECTS[name]
    with here.raw() as client:
        client.send(request)
        answer = client.answer(connect=True)
        if answer.status == 200:  # opened for the client to see an error inside; must not connect
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = client.answer()
            assert answer.status >= 400 or not answer.complete
        else:
            assert answer.status in (status, 502), answer.raw
            assert answer.headers["content-type"] == "application/json"
    assert not here.upstream.requests


def test_a_tunnel_with_a_body_and_bytes_sent_too_early(here: World) -> None:
    """The ClientHello may come in the same packet as CONNECT."""
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(here.proxy.state / "ca.pem"))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=OPENAI)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with here.raw() as client:
        client.send(b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n")
        client.send(outgoing.read())
        data = client.until(b"\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 200")
        hello = data.partition(b"\r\n\r\n")[2] or client.receive()
        assert hello[:1] == b"\x16"


# ---------------------------------------------------------------------- our own pages


def test_no_page_names_a_product(here: World) -> None:
    """Neither the engine's refusals nor a policy's nor what an upstream's failure becomes."""
    pages = []
    for request in (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    ):
        with here.raw() as client:
            client.send(request)
            pages.append(client.answer(connect=True))
    here.upstream.script = lambda *_: False
    with here.tunnel() as client:
        ask(client, chat())
        pages.append(client.answer())
        ask(client, b'{"model":"a","model":"b"}')
        pages.append(client.answer())
        client.post("evil.example", CHAT, chat())
        pages.append(client.answer())
    for page in pages:
        assert page.status >= 400, page.raw
        assert json.loads(page.body)["error"], page.raw
        names = [name for name in page.headers if name.startswith("penstock-")]
        assert names in ([], ["penstock-decision"])
        visible = page.raw.replace(b"penstock-decision", b"").replace(b"penstock.", b"")
        assert not PRODUCT.search(visible), page.raw
        assert "server" not in page.headers and "via" not in page.headers


def test_a_connection_that_says_nothing_does_not_stop_the_others(here: World) -> None:
    silent = [socket.create_connection(here.proxy.address) for _ in range(100)]
    try:
        with here.tunnel() as client:
            ask(client, chat())
            assert client.answer().status == 200
    finally:
        for one in silent:
            one.close()
