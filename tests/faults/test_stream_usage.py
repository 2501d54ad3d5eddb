"""What a chat stream used, where the provider says it only when asked: ask and hide, or count."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.world import (
    CHAT,
    DONE,
    LAST,
    OPENAI,
    STREAM_HEAD,
    World,
    body_of,
    chat,
    chunk,
    event,
    world,
)

AZURE = "team.openai.azure.com"
PATHS = {
    OPENAI: CHAT,
    AZURE: "/openai/deployments/gpt-5/chat/completions?api-version=2025-01-01",
}
POLICY = "version: 1\nname: usage\nmode: enforce\nstream_usage: %s\nrules: [%s]\n"
LIMIT = "{id: measured, limit: {tokens: 1000000, every: 1h}}"
TOLD = {"prompt_tokens": 71, "completion_tokens": 9, "total_tokens": 80}
USAGE = b"data: " + json.dumps({"id": "c", "choices": [], "usage": TOLD}).encode() + b"\n\n"
SAID = event("Well, ") + event("well.") + event(None, "stop")


def provider(peer: socket.socket, request: bytes, number: int) -> None:
    """Reports usage in a last chunk of its own, when asked."""
    asked = (json.loads(body_of(request)).get("stream_options") or {}).get("include_usage")
    peer.sendall(STREAM_HEAD + chunk(SAID + (USAGE if asked else b"") + DONE) + LAST)


def proxied(tmp_path_factory: pytest.TempPathFactory, policy: str) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("usage"), policy, provider, hosts=list(PATHS)) as made:
        yield made


@pytest.fixture(scope="module")
def always(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from proxied(tmp_path_factory, POLICY % ("always", ""))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from proxied(tmp_path_factory, POLICY % ("count", LIMIT))


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    yield from proxied(tmp_path_factory, POLICY % ("ask", LIMIT))


def call(made: World, host: str, **more: Any) -> tuple[bytes, bytes, dict[str, Any]]:
    """What left, what came back, and the record."""
    made.upstream.requests.clear()
    before = made.recorded
    sent = chat(stream=True, **more)
    with made.tunnel(host) as client:
        client.post(host, PATHS[host], sent)
        answer = client.answer()
    assert answer.complete
    return body_of(made.upstream.requests[0]), answer.body, made.after(before)[0]["usage"]


@pytest.mark.parametrize("host", PATHS)
@pytest.mark.parametrize("name", ["always", "asking"])
def test_usage_is_asked_for_and_its_chunk_hidden(
    request: pytest.FixtureRequest, name: str, host: str
) -> None:
    left, came, usage = call(request.getfixturevalue(name), host)
    assert json.loads(left)["stream_options"] == {"include_usage": True}
    assert came == SAID + DONE, "as if it had not been asked"
    assert usage == {"input": 71, "output": 9}


def test_a_caller_who_asks_gets_the_chunk(always: World) -> None:
    left, came, usage = call(always, OPENAI, stream_options={"include_usage": True})
    assert left == chat(stream=True, stream_options={"include_usage": True})
    assert came == SAID + USAGE + DONE and usage == {"input": 71, "output": 9}


def test_a_caller_who_says_no_is_not_shown_it(always: World) -> None:
    """``include_usage: false`` is turned round, and nothing else of the body."""
    options = {"include_usage": False, "include_obfuscation": False}
    left, came, usage = call(always, OPENAI, stream_options=options)
    turned = b'"include_usage": true'
    assert left == chat(stream=True, stream_options=options).replace(
        b'"include_usage": false', turned
    )
    assert came == SAID + DONE and usage["input"] == 71


def test_count_only_asks_nobody_and_says_that_it_is_an_estimate(counting: World) -> None:
    left, came, usage = call(counting, OPENAI)
    assert left == chat(stream=True) and came == SAID + DONE
    assert usage["estimated"] is True and usage["output"] > 0 and usage["input"] > 0


def test_a_stream_that_fails_in_its_middle_is_an_error_with_its_usage(asking: World) -> None:
    """HTTP says 200; the record says that the provider failed, and what was said is accounted."""
    error = b'data: {"error":{"message":"Out of memory.","type":"server_error"}}\n\n'
    asking.upstream.script = STREAM_HEAD + chunk(event("Well, ") + error + DONE) + LAST
    before = asking.recorded
    try:
        with asking.tunnel() as client:
            client.post(OPENAI, CHAT, chat(stream=True))
            assert client.answer().body == event("Well, ") + error + DONE
    finally:
        asking.upstream.script = provider
    (record,) = asking.after(before)
    assert record["error"] == "server_error"
    assert record["usage"]["output"] > 0 and record["usage"]["estimated"] is True
    assert 'error_type="server_error"' in asking.proxy.metrics()
