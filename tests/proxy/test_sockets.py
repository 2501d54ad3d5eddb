"""AI calls over WebSocket through a running proxy: judged, edited, refused, counted, in order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.server import ServerConnection

from tests.harness import Penstock, running_penstock
from tests.leaks.values import email, github_token, leaked, private_key
from tests.proxy.socket_server import (
    Event,
    Server,
    create,
    opened,
    responses,
    saying,
    socket_server,
    until,
)

POLICY = """
version: 1
name: sockets
mode: {mode}
intercept: all
rules:
  - id: approved-models
    allow: {{models: ["gpt-5*", "gpt-realtime"]}}
  - id: others
    allow: {{hosts: ["sockets.example"]}}
  - id: no-secrets
    redact: {{find: [secret, pii.email], in: [both], with: placeholder}}
  - id: no-keys
    deny: {{find: [secret.private_key], in: [both]}}
  - id: few
    limit: {{requests: 2, every: 1h}}
    when: call.model == "gpt-5-few"
  - id: tokens
    limit: {{tokens: 100000, every: 1h}}
    when: call.model == "gpt-5-codex"
  - id: no-sockets-there
    deny: {{hosts: ["api.x.ai"]}}
    when: call.operation == "connect"
  - id: nothing-there
    deny: {{hosts: ["api.groq.com"]}}
"""
DONE = ("response.completed", "response.failed", "response.done")
KEY = private_key()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket_server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def enforcing(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("penstock")
    with running_penstock(folder, POLICY.format(mode="enforce"), server.upstream) as started:
        yield started


@pytest.fixture
def proxy(enforcing: Penstock, server: Server) -> Penstock:
    server.received.clear()
    server.opened.clear()
    server.closed.clear()
    server.script = saying(responses("text", ["Fine", "."]))
    return enforcing


def spoken(messages: list[str], kind: str = "response.output_text.delta") -> str:
    events = map(json.loads, messages)
    return "".join(event["delta"] for event in events if event["type"] == kind)


def new_records(proxy: Penstock, before: int, count: int) -> list[dict[str, Any]]:
    return proxy.records(before + count)[before:]


# ---------------------------------------------------------------------- what the client says


def test_a_value_leaves_as_a_placeholder_and_comes_back(proxy: Penstock, server: Server) -> None:
    """Out in the client's message, back in the answer's text and tool arguments."""
    value = email()

    def script(socket: ServerConnection, event: Event) -> None:
        said = event["input"][0]["content"][0]["text"].removeprefix("Write to ")
        kind = event["metadata"]["kind"]
        text = json.dumps({"to": said}) if kind == "tool_arguments" else f"To {said}!"
        saying(responses(kind, [text[at : at + 3] for at in range(0, len(text), 3)]))(socket, event)

    server.script = script
    with opened(proxy) as socket:
        socket.send(create(f"Write to {value}", metadata={"kind": "text"}))
        got = until(socket, *DONE)
        socket.send(create(f"Write to {value}", metadata={"kind": "tool_arguments"}))
        arguments = until(socket, *DONE)
    assert all(leaked(value, str(message)) is None for message in server.received)
    assert "PLACEHOLDER_EMAIL_" in str(server.received[0])
    assert spoken(got).startswith(f"To {value}!")
    assert value in json.loads(got[-1])["response"]["output"][0]["content"][0]["text"]
    call = spoken(arguments, "response.function_call_arguments.delta")
    assert json.loads(call) == {"to": value}


def test_one_record_for_the_socket_and_one_for_each_answer(proxy: Penstock, server: Server) -> None:
    """With the provider's usage, the model, what was found, and what it cost."""
    before = len(proxy.records())
    with opened(proxy) as socket:
        for text in ("Good morning", f"My address is {email()}"):
            socket.send(create(text))
            until(socket, *DONE)
    socket_record, first, second = new_records(proxy, before, 3)
    assert socket_record["operation"] == "connect" and socket_record["status"] == 101
    for record in (first, second):
        assert record["api"] == "openai.responses" and record["operation"] == "chat"
        assert record["model"] == "gpt-5-codex" and record["outcome"] == "answered"
        assert record["usage"] == {"input": 9, "output": 5}
    assert first["verdict"] == "allow" and second["verdict"] == "edit"
    assert first["id"] != second["id"]


def test_a_refusal_is_said_as_an_error_and_the_socket_stays(
    proxy: Penstock, server: Server
) -> None:
    """A model off the list, a private key in a text: nothing of either arrives."""
    before = len(proxy.records())
    with opened(proxy) as socket:
        socket.send(create("Hello", model="o9-secret"))
        said = [json.loads(message) for message in until(socket, "response.failed")]
        socket.send(create(f"Keep this: {KEY}"))
        until(socket, "response.failed")
        socket.send(create("Hello"))
        assert spoken(until(socket, *DONE)).startswith("Fine.")
    assert said[0]["type"] == "error" and said[0]["status"] == 403
    assert "approved-models" in said[0]["error"]["message"]
    assert len(server.received) == 1 and "BEGIN" not in str(server.received)
    verdicts = [record["verdict"] for record in new_records(proxy, before, 4)]
    assert verdicts.count("deny") == 2


def test_limits_count_answers_and_not_sockets(proxy: Penstock, server: Server) -> None:
    """Two answers are allowed; three sockets were opened."""
    outcomes = []
    for _ in range(3):
        with opened(proxy) as socket:
            socket.send(create("Hello", model="gpt-5-few"))
            outcomes.append(json.loads(until(socket, *DONE)[0]))
    assert [event["type"] for event in outcomes] == ["response.created"] * 2 + ["error"]
    assert outcomes[2]["status"] == 429
    assert len(server.received) == 2


@pytest.mark.parametrize("message", ["{ not json", '["a list"]', '"text"', '{"a":1,"a":2}'])
def test_what_is_no_event_is_refused(proxy: Penstock, server: Server, message: str) -> None:
    """What cannot be read as one thing cannot be judged."""
    with opened(proxy) as socket:
        socket.send(message)
        assert json.loads(str(socket.recv(timeout=20)))["type"] == "error"
    assert server.received == []


def test_an_unknown_event_is_read_all_the_same(proxy: Penstock, server: Server) -> None:
    """``unknown_api: scan``: every string of it is looked at."""
    value = github_token()
    with opened(proxy) as socket:
        socket.send(create("Hello"))
        until(socket, *DONE)
        socket.send(json.dumps({"type": "response.dream", "of": [f"a {value}"]}))
        socket.send(create("Hello"))
        until(socket, *DONE)
    dream = server.events()[1]
    assert dream["type"] == "response.dream" and dream["of"][0].startswith("a PLACEHOLDER_")


def test_binary_that_is_no_json_is_refused(proxy: Penstock, server: Server) -> None:
    """Binary JSON is read; other bytes are not let through unread."""
    value = email()
    with opened(proxy) as socket:
        socket.send(b"\x00\x01\x02")
        assert json.loads(str(socket.recv(timeout=20)))["type"] == "error"
        until(socket, "response.failed")
        socket.send(create(f"I am {value}").encode())
        deadline = time.monotonic() + 10
        while not server.received and time.monotonic() < deadline:
            time.sleep(0.01)
    (arrived,) = server.received
    assert isinstance(arrived, bytes) and leaked(value, arrived.decode()) is None


def test_a_fragmented_message_is_judged_whole(proxy: Penstock, server: Server) -> None:
    """The value is cut by the frames."""
    value = github_token()
    text = create(f"Use {value} now")
    with opened(proxy, compression=None) as socket:
        socket.send(text[at : at + 7] for at in range(0, len(text), 7))
        until(socket, *DONE)
    (arrived,) = server.received
    assert leaked(value, str(arrived)) is None and "Use PLACEHOLDER_" in str(arrived)


def test_an_oversized_message_ends_the_socket(proxy: Penstock, server: Server) -> None:
    """1009, and nothing of it arrives; the proxy lives on."""
    part = "x" * (1024 * 1024)
    with opened(proxy, compression=None) as socket, pytest.raises(ConnectionClosedError) as ended:
        socket.send(part for _ in range(34))
        socket.recv(timeout=20)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == 1009
    assert server.received == []
    with opened(proxy) as socket:
        socket.send(create("Hello"))
        until(socket, *DONE)


def test_a_large_message_is_judged(proxy: Penstock, server: Server) -> None:
    """Half a megabyte of conversation, as agents send it at each turn."""
    value = github_token()
    with opened(proxy) as socket:
        socket.send(create("All is well. " * 40_000 + value))
        until(socket, *DONE)
    assert leaked(value, str(server.received[0])) is None


# ---------------------------------------------------------------------- what the server says


def test_a_value_split_over_messages_does_not_arrive(proxy: Penstock, server: Server) -> None:
    """Character by character; number, order and kinds of the messages stay."""
    value = github_token()
    sent = responses("text", list(f"The key is {value} and that is all."))
    server.script = saying(sent)
    with opened(proxy) as socket:
        socket.send(create("Say it"))
        got = until(socket, *DONE)
    assert leaked(value, "".join(got)) is None and leaked(value, spoken(got)) is None
    assert "and that is all." in spoken(got)
    kinds = [[json.loads(message)["type"] for message in messages] for messages in (sent, got)]
    assert kinds[0] == kinds[1]


def test_messages_without_a_find_arrive_as_they_came(proxy: Penstock, server: Server) -> None:
    """Byte for byte, both ways, odd spacing and all."""
    sent = [message.replace(",", " ,", 1) for message in responses("text", ["Fine", "."])]
    server.script = saying(sent)
    asked = create("Hello").replace(",", ",  ", 1)
    with opened(proxy) as socket:
        socket.send(asked)
        assert until(socket, *DONE) == sent
    assert server.received == [asked]


def test_what_is_not_held_back_is_not_kept_waiting(proxy: Penstock, server: Server) -> None:
    """A slow server: each message is there before the next is sent."""
    messages = responses("text", ["One, ", "two, ", "three."])

    def script(socket: ServerConnection, _: Event) -> None:
        for message in messages:
            socket.send(message)
            time.sleep(0.05)

    server.script = script
    with opened(proxy) as socket:
        socket.send(create("Count"))
        times = []
        for _ in messages:
            socket.recv(timeout=20)
            times.append(time.monotonic())
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert gaps[len(gaps) // 2] > 0.01, gaps  # a word or two may wait: it could become a name


def test_a_denied_answer_ends_with_an_error_and_the_next_one_comes(
    proxy: Penstock, server: Server
) -> None:
    """The rest of the refused answer is swallowed; its usage is known all the same."""
    before = len(proxy.records())
    server.script = saying(responses("text", list(f"Here: {KEY} done")))
    with opened(proxy) as socket:
        socket.send(create("Say it"))
        got = until(socket, "response.failed")
        server.script = saying(responses("text", ["Fine", "."]))
        socket.send(create("Something else"))
        after = until(socket, *DONE)
    assert "BEGIN RSA" not in spoken(got) and leaked(KEY, spoken(got)) is None
    assert json.loads(got[-2])["type"] == "error"
    assert json.loads(after[0])["type"] == "response.created"
    assert spoken(after).startswith("Fine.")
    outcomes = [record["outcome"] for record in new_records(proxy, before, 3)]
    assert outcomes == ["answered", "refused", "answered"]


# ---------------------------------------------------------------------- ends


def test_a_client_that_goes_away_is_recorded_as_aborted(proxy: Penstock, server: Server) -> None:
    """And its reservation comes back."""
    before = len(proxy.records())
    messages = responses("text", ["One ", "two "])
    server.script = saying(messages[:4])
    with opened(proxy) as socket:
        socket.send(create("Hello"))
        socket.recv(timeout=20)
        socket.socket.shutdown(SHUT_RDWR)
    record = new_records(proxy, before, 2)[1]
    assert record["outcome"] == "aborted"
    assert server.closed.wait(10)


def test_a_server_that_goes_away_is_recorded_as_cut(proxy: Penstock, server: Server) -> None:
    """What was held back leaves first; the client sees the end."""
    before = len(proxy.records())

    def script(socket: ServerConnection, event: Event) -> None:
        for message in responses("text", ["Well ", "sk"])[:4]:
            socket.send(message)
        socket.close(1011, "sorry")

    server.script = script
    got: list[str] = []
    with opened(proxy) as socket:
        socket.send(create("Hello"))
        with pytest.raises(ConnectionClosed):
            while True:
                got.append(str(socket.recv(timeout=20)))
    assert spoken(got) == "Well sk"
    assert new_records(proxy, before, 2)[1]["outcome"] == "cut"


# ---------------------------------------------------------------------- the upgrade


def test_compression_is_not_negotiated_where_messages_are_read(
    proxy: Penstock, server: Server
) -> None:
    """The library inflates without a bound; a socket nobody reads keeps its extension."""
    with opened(proxy) as socket:
        assert socket.protocol.extensions == []
    assert "sec-websocket-extensions" not in server.opened[0]


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [("api.openai.com", "/v1/whispers", 403), ("api.openai.com", "/v1/realtime?model=o9", 403)],
)
def test_a_refused_upgrade_is_a_plain_answer(
    proxy: Penstock, server: Server, host: str, path: str, status: int
) -> None:
    """In no known format, or for a model off the list: clients fall back to HTTP."""
    with pytest.raises(InvalidStatus) as refused:
        opened(proxy, path, host)
    assert refused.value.response.status_code == status
    assert "error" in json.loads(refused.value.response.body or b"")
    assert server.opened == []


@pytest.mark.parametrize(("host", "status"), [("api.x.ai", 426), ("api.groq.com", 403)])
def test_a_client_is_sent_to_http_where_only_the_socket_is_refused(
    proxy: Penstock, server: Server, host: str, status: int
) -> None:
    """Codex goes there at once at 426, and after seven attempts at 403."""
    before = len(proxy.records())
    with pytest.raises(InvalidStatus) as refused:
        opened(proxy, host=host)
    answer = refused.value.response
    assert answer.status_code == status and answer.headers.get("upgrade") == (
        "HTTP/1.1" if status == 426 else None
    )
    assert answer.headers["penstock-decision"].startswith("deny; rule=no")
    assert "there" in json.loads(answer.body or b"")["error"]["message"]
    (record,) = new_records(proxy, before, 1)
    assert (record["status"], record["outcome"]) == (status, "refused")
    assert server.opened == []


def test_without_content_rules_any_socket_passes(server: Server, tmp_path: Path) -> None:
    """Compressed, binary, large: as it comes."""
    policy = "version: 1\nname: none\nmode: enforce\nintercept: all\nrules: []\n"
    server.received.clear()
    with running_penstock(tmp_path, policy, server.upstream) as proxy:
        with opened(proxy, "/anything", "sockets.example") as socket:
            assert [one.name for one in socket.protocol.extensions] == ["permessage-deflate"]
            for message in ("echo", b"echo"):
                socket.send(message)
                assert socket.recv(timeout=20) == message
            socket.send("y" * 300_000)
        with opened(proxy) as socket:
            socket.send(b"\x00\x01")
            socket.send(create("Hello"))
            until(socket, *DONE)
    assert server.received[2:4] == ["y" * 300_000, b"\x00\x01"]


def test_observing_changes_nothing(server: Server, tmp_path: Path) -> None:
    """Everything passes as it came, and is seen."""
    server.received.clear()
    value = github_token()
    sent = responses("text", ["It is ", value])
    server.script = saying(sent)
    asked = create(f"Use {value}", model="o9-secret")
    with running_penstock(tmp_path, POLICY.format(mode="observe"), server.upstream) as proxy:
        with opened(proxy) as socket:
            socket.send(b"\x00\x01")
            socket.send(asked)
            assert until(socket, *DONE) == sent
        record = proxy.records(2)[1]
    assert server.received == [b"\x00\x01", asked]
    assert record["verdict"] == "allow" and record["would"] == "deny"
    assert "secret.github_token" in str(record["findings"])
