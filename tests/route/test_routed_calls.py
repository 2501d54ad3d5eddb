"""Routed calls from end to end: names, keys, bodies and books as they arrive on the wire."""

from __future__ import annotations

import gzip
import json
import socket
import time
from pathlib import Path

import pytest

from tests.proxy.raw import Script, TestCa
from tests.route import world as w
from tests.route.world import FIRST, KEY, ORIGINAL, SECOND, world

CLAUDE, GEMINI = "api.anthropic.com", "generativelanguage.googleapis.com"


def body_of(request: bytes) -> bytes:
    return request.split(b"\r\n\r\n", 1)[1]


def test_azure_gets_its_path_version_model_and_key(tmp_path: Path, ca: TestCa) -> None:
    """OpenAI's call at Azure's door: path, api-version, deployment, its own key; ours stays."""
    (tmp_path / "azure-key").write_text("azure-real-key-0123456789")
    policy = f"""
version: 1
rules:
  - id: azure-first
    route:
      to:
        - {{url: "https://first.example", provider: azure, api_version: "2024-10-21",
           models: {{gpt-4o: chat-prod}}}}
        - {{url: original, priority: 2}}
  - id: azure-key
    credential: {{hosts: [first.example], from: {{file: {tmp_path}/azure-key}}}}
"""
    with world(
        tmp_path, ca, {FIRST: w.serves("azure"), ORIGINAL: w.serves("openai")}, policy
    ) as it:
        assert b"azure" in it.call().body
        head, body = it.upstreams[FIRST].requests[0].split(b"\r\n\r\n", 1)
        line = b"POST /openai/deployments/chat-prod/chat/completions?api-version=2024-10-21 HTTP"
        assert head.startswith(line)
        assert b"api-key: azure-real-key-0123456789" in head and KEY.encode() not in head
        assert json.loads(body)["model"] == "gpt-4o"  # Azure reads the deployment
        [record] = it.proxy.records(1)
        [row] = record["attempts"]
        assert (row["provider"], row["model"]) == ("azure", "chat-prod")
        log = (it.proxy.state / "audit.jsonl").read_text() + it.proxy.log.read_text()
        assert "azure-real-key" not in log and "caller-key" not in log


def test_key_of_one_target_never_meets_another(tmp_path: Path, ca: TestCa) -> None:
    """Failing over from a target with a key of ours to the caller's own place, and back out."""
    (tmp_path / "key").write_text("first-real-key-0123456789")
    policy = f"""
version: 1
rules:
  - id: r
    route: {{to: [{{url: "https://first.example/v1"}}, {{url: original, priority: 2}}]}}
  - id: k
    credential: {{hosts: [first.example], from: {{file: {tmp_path}/key}}}}
"""

    def echoes(connection: socket.socket, request: bytes, _number: int) -> bool:
        seen = request.split(b"uthorization: ", 1)[1].split(b"\r\n", 1)[0]
        connection.sendall(w.http(200, w.completion(seen.decode())))
        return True

    with world(
        tmp_path, ca, {FIRST: w.says(w.http(503, w.error("x"))), ORIGINAL: echoes}, policy
    ) as it:
        answer = it.call()
        assert KEY.encode() in answer.body  # the original place gets the caller's own key
        assert b"first-real-key" in it.upstreams[FIRST].requests[0]
        assert b"first-real-key" not in it.upstreams[ORIGINAL].requests[0]
        assert KEY.encode() not in it.upstreams[FIRST].requests[0]
        # and the answer of the target that has the key cannot say it
        it.upstreams[FIRST].script = echoes
        answer = it.call()
        assert b"first-real-key" not in answer.raw and b"****" in answer.body


def test_target_without_its_key_is_left_out(tmp_path: Path, ca: TestCa) -> None:
    """A source that gives nothing takes away one target, not the call."""
    policy = f"""
version: 1
rules:
  - id: r
    route: {{to: [{{url: "https://first.example/v1"}}, {{url: original, priority: 2}}]}}
  - id: k
    credential: {{hosts: [first.example], from: {{file: {tmp_path}/absent}}}}
"""
    with world(
        tmp_path, ca, {FIRST: w.serves("first"), ORIGINAL: w.serves("original")}, policy
    ) as it:
        assert b"original" in it.call().body
        assert FIRST not in it.asked()


def test_what_is_found_goes_in_house(tmp_path: Path, ca: TestCa) -> None:
    """A card number never reaches the public provider, also when the house is down."""
    policy = """
version: 1
rules:
  - id: pii-in-house
    route: {when_found: [pii], to: [{url: "https://first.example/v1", models: {gpt-*: llama}}]}
"""
    with world(
        tmp_path, ca, {FIRST: w.serves("in-house"), ORIGINAL: w.serves("public")}, policy
    ) as it:
        assert b"public" in it.call("a harmless question").body
        assert b"in-house" in it.call("charge 4111 1111 1111 1111 please").body
        large = "charge 4111 1111 1111 1111 please. " + "word " * 40_000  # judged in a thread
        assert b"in-house" in it.call(large).body
        assert json.loads(body_of(it.upstreams[FIRST].requests[0]))["model"] == "llama"
        it.upstreams[FIRST].script = w.says(w.http(503, w.error("down")))
        assert it.call("charge 4111 1111 1111 1111 please").status == 503
        assert not any(b"4111" in request for request in it.upstreams[ORIGINAL].requests)


def test_compressed_body_is_renamed_too(tmp_path: Path, ca: TestCa) -> None:
    """A coded body is sent decoded when the model changes, as it came when not."""
    policy = w.ROUTE.replace('/v1"}', '/v1", models: {gpt-4o: llama}}', 1)
    coded = gzip.compress(b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}')
    with (
        world(tmp_path, ca, {FIRST: w.serves("ok"), SECOND: w.serves("ok")}, policy) as it,
        it.client() as client,
    ):
        client.post(ORIGINAL, "/v1/chat/completions", coded, b"Content-Encoding: gzip\r\n")
        assert client.answer().status == 200
        request = it.upstreams[FIRST].requests[0]
        assert b"ontent-Encoding" not in request
        assert json.loads(body_of(request))["model"] == "llama"


def test_signed_call_is_refused_by_name(tmp_path: Path, ca: TestCa) -> None:
    """A signature holds for one host: the call cannot be moved, and says so."""
    extra = b"Content-MD5: abc\r\n"
    with world(tmp_path, ca, {FIRST: w.serves("x"), SECOND: w.serves("y")}) as it:
        answer = it.call(extra=extra)
        assert answer.status == 403 and b"content-md5" in answer.body
        assert answer.headers["x-should-retry"] == "false"
        assert not it.asked()


def sse(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode() if name else f"data: {data}\n\n".encode()


FORMATS = {
    "anthropic": (
        CLAUDE,
        "/v1/messages",
        {"model": "claude-sonnet-4", "max_tokens": 9, "messages": [], "stream": True},
        sse("error", '{"type":"error","error":{"type":"overloaded_error","message":"O"}}'),
        sse("message_start", '{"type":"message_start","message":{"id":"m","usage":{}}}'),
    ),
    "openai responses": (
        ORIGINAL,
        "/v1/responses",
        {"model": "gpt-5", "input": "x", "stream": True},
        sse("error", '{"type":"error","code":"server_error","message":"x"}'),
        sse("response.created", '{"type":"response.created","response":{"id":"r"}}'),
    ),
    "gemini": (
        GEMINI,
        "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
        sse("", '{"error":{"code":503,"status":"UNAVAILABLE","message":"x"}}'),
        sse("", '{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]}}]}'),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("fault", ["first event", "529"])
def test_each_format_fails_over(tmp_path: Path, ca: TestCa, name: str, fault: str) -> None:
    """The error event of each API, and its overload, before anything was said."""
    host, path, document, bad, good = FORMATS[name]
    policy = """
version: 1
rules:
  - id: r
    route: {to: [{url: "https://first.example"}, {url: "https://second.example", priority: 2}]}
"""
    ping = b": keep-alive\n\n"  # a comment is no event
    failing = w.STREAM_HEAD + w.chunk(ping) + w.chunk(bad) + b"0\r\n\r\n"
    if fault == "529":
        failing = w.http(529, b'{"error":{"message":"overloaded"}}')
    fine = w.STREAM_HEAD + w.chunk(ping) + w.chunk(good) + b"0\r\n\r\n"
    with (
        world(tmp_path, ca, {FIRST: w.says(failing), SECOND: w.says(fine)}, policy) as it,
        it.client(host) as client,
    ):
        client.post(host, path, json.dumps(document).encode())
        answer = client.answer()
        assert answer.status == 200 and answer.body == ping + good
        sent = it.upstreams[SECOND].requests[0]
        assert sent.startswith(b"POST " + path.encode() + b" ")
        word = "status_529" if fault == "529" else "error_event"
        assert it.attempts()[0] == (FIRST, word, "no")


def test_target_comes_back_by_a_probe(tmp_path: Path, ca: TestCa) -> None:
    """Out for five seconds, probed by one call, and then it serves again."""
    healed = [False]

    def heals(connection: socket.socket, request: bytes, number: int) -> bool:
        does: Script = w.serves("healed") if healed[0] else w.says(w.http(500, w.error("x")))
        return bool(does(connection, request, number))

    with world(tmp_path, ca, {FIRST: heals, SECOND: w.serves("second")}) as it:
        for _ in range(3):
            assert b"second" in it.call().body
        healed[0] = True
        assert b"second" in it.call().body  # still out
        time.sleep(5.1)
        assert b"healed" in it.call().body
        assert b"healed" in it.call().body


def test_without_a_route_rule_nothing_is_different(tmp_path: Path, ca: TestCa) -> None:
    """An error of the provider is the caller's to see, and no attempt is recorded."""
    policy = "version: 1\nrules:\n  - {id: a, deny: {hosts: [nowhere.example]}}\n"
    down = w.says(w.http(503, w.error("down")))
    with world(tmp_path, ca, {ORIGINAL: down, FIRST: w.serves("x")}, policy) as it:
        assert it.call().status == 503
        [record] = it.proxy.records(1)
        assert "attempts" not in record and "routed_from" not in record
