"""The Realtime API's sockets: sessions, answers nobody asked for, answers at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection

from tests.harness import Penstock, running_penstock
from tests.leaks.values import email, github_token, leaked
from tests.proxy.socket_server import Event, Server, opened, socket_server, until

POLICY = """
version: 1
name: realtime
mode: enforce
rules:
  - id: models
    allow: {models: [gpt-realtime]}
  - id: no-secrets
    redact: {find: [secret, pii.email], in: [both], with: placeholder}
  - id: three-answers
    limit: {requests: 3, every: 1h, per: [workload]}
"""
PATH = "/v1/realtime?model=gpt-realtime"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket_server(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[Penstock]:
    server.received.clear()
    with running_penstock(tmp_path, POLICY, server.upstream) as started:
        yield started


def answer(number: int, pieces: list[str]) -> list[Event]:
    """The events of one answer, each with its id."""
    text = "".join(pieces)
    name = f"resp_{number}"
    where = {"response_id": name, "item_id": f"item_{number}", "output_index": 0}
    part = {"type": "output_text", "text": text}
    item = {"id": f"item_{number}", "type": "message", "role": "assistant", "content": [part]}
    usage = {"total_tokens": 14, "input_tokens": 9, "output_tokens": 5}
    response: Event = {"object": "realtime.response", "id": name, "status": "in_progress"}
    kind = "response.output_text"
    return [
        {"type": "response.created", "response": {**response, "output": []}},
        *(
            {"type": f"{kind}.delta", "content_index": 0, "delta": piece, **where}
            for piece in pieces
        ),
        {"type": f"{kind}.done", "content_index": 0, "text": text, **where},
        {"type": "response.done",
         "response": {**response, "status": "completed", "output": [item], "usage": usage}},
    ]  # fmt: skip


def say(socket: ServerConnection, events: list[Event]) -> None:
    for event in events:
        socket.send(json.dumps(event))


def ask(socket: ClientConnection, **event: Any) -> None:
    socket.send(json.dumps(event))


def test_a_session_is_read_event_by_event(proxy: Penstock, server: Server) -> None:
    """Instructions, an item, its echo, and the answer; the findings are in the answer's Record."""
    address, token = email(), github_token()

    def script(socket: ServerConnection, _: Event) -> None:
        item = server.events()[1]["item"]
        say(socket, [{"type": "conversation.item.created", "item": item}])
        said = item["content"][0]["text"]
        say(socket, answer(1, [said[at : at + 4] for at in range(0, len(said), 4)]))

    server.script = script
    with opened(proxy, PATH) as socket:
        ask(socket, type="session.update", session={"instructions": f"Use {token}."})
        part = {"type": "input_text", "text": f"I am {address}"}
        item = {"type": "message", "role": "user", "content": [part]}
        ask(socket, type="conversation.item.create", item=item)
        ask(socket, type="response.create")
        got = [json.loads(message) for message in until(socket, "response.done")]
    arrived = str(server.received)
    assert leaked(address, arrived) is None and leaked(token, arrived) is None
    assert got[0]["item"] == item
    assert "".join(event.get("delta", "") for event in got) == f"I am {address}"
    connect, record = proxy.records(2)
    assert connect["operation"] == "connect" and record["model"] == "gpt-realtime"
    found = sorted(finding["type"] for finding in record["findings"])
    assert found == ["pii.email", "secret.github_token"]
    assert record["verdict"] == "edit" and record["usage"]["output"] == 5


def test_answers_at_the_same_time_keep_their_order(proxy: Penstock, server: Server) -> None:
    """Two texts grow in turns; one is held back, the other waits behind it."""
    token = github_token()
    first = answer(1, list(f"It is {token} so."))
    second = answer(2, list("Nothing of interest, only words that go on and on and on."))
    mixed = [event for pair in zip(first, second, strict=False) for event in pair]
    count = min(len(first), len(second))
    mixed += first[count:] + second[count:]

    def script(socket: ServerConnection, event: Event) -> None:
        if "conversation" in event["response"]:
            say(socket, mixed)

    server.script = script
    with opened(proxy, PATH) as socket:
        ask(socket, type="response.create", response={})
        ask(socket, type="response.create", response={"conversation": "none"})
        got = [json.loads(m) for m in until(socket, "response.done")]
        got += [json.loads(m) for m in until(socket, "response.done")]
    order = [(event["type"], event.get("response_id")) for event in got]
    assert order == [(event["type"], event.get("response_id")) for event in mixed]
    assert leaked(token, json.dumps(got)) is None
    texts = {
        name: "".join(e["delta"] for e in got if e.get("response_id") == name and "delta" in e)
        for name in ("resp_1", "resp_2")
    }
    assert leaked(token, texts["resp_1"]) is None and texts["resp_1"].endswith(" so.")
    assert texts["resp_2"].endswith("on and on and on.")
    assert len(proxy.records(3)) == 3


def test_an_answer_nobody_asked_for_counts(proxy: Penstock, server: Server) -> None:
    """The server heard a pause: the fourth answer is refused, cancelled and not shown."""

    def script(socket: ServerConnection, _: Event) -> None:
        for number in range(1, 5):
            say(socket, answer(number, [f"Answer {number}."]))

    server.script = script
    with opened(proxy, PATH) as socket:
        ask(socket, type="input_audio_buffer.append", audio="AAAA" * 5000)
        ask(socket, type="response.create")
        for _ in range(3):
            until(socket, "response.done")
        (refused,) = [json.loads(message) for message in until(socket, "error")]
        ask(socket, type="session.update", session={"instructions": "Be brief."})
        records = proxy.records(5)
    assert refused["error"]["code"] and refused["event_id"].startswith("event_")
    assert [record["outcome"] for record in records[1:]] == ["answered"] * 3 + ["refused"]
    cancels = [event for event in server.events() if event["type"] == "response.cancel"]
    assert cancels == [{"type": "response.cancel", "response_id": "resp_4"}]
