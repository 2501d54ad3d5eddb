"""Many callers at once: limits hold exactly, answers and placeholders reach their own caller."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import (
    ANTHROPIC,
    DONE,
    EMAIL,
    LAST,
    STREAM_HEAD,
    World,
    ask,
    body_of,
    chat,
    chunk,
    completion,
    completion_body,
    event,
    eventually,
    head,
    resident_kib,
    world,
)

TEN = """
version: 1
name: ten
rules:
  - id: nothing-private-out
    redact: {find: [pii.email], in: [request], with: placeholder}
  - id: ten-an-hour
    limit: {requests: 10, every: 1h, per: [user]}
    when: call.model == "gpt-5-ten"
  - id: tokens-an-hour
    limit: {output_tokens: 1000, every: 1h, per: [user]}
    when: call.model == "gpt-5-tokens"
  - id: a-day
    limit: {requests: 3, every: 1d, per: [user]}
    when: call.model == "gpt-5-day"
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("limited"), TEN) as made:
        yield made


def as_user(name: str) -> bytes:
    """Proxy credentials of ``name``, for CONNECT."""
    return b"Proxy-Authorization: Basic %s\r\n" % base64.b64encode(f"{name}:pass".encode())


def one(made: World, body: bytes, user: str = "somebody", extra: bytes = b"") -> Any:
    with made.tunnel(extra=as_user(user)) as client:
        ask(client, body, extra)
        return client.answer()


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """``work(0)``, ``work(1)``... all started together; their results."""
    gate = threading.Barrier(count)

    def waiting(number: int) -> Any:
        gate.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(waiting, range(count)))


def test_of_fifty_at_once_exactly_ten_pass(limited: World) -> None:
    def script(peer: socket.socket, request: bytes, _: int) -> None:
        time.sleep(0.05)
        peer.sendall(completion())

    limited.upstream.script = script
    limited.upstream.requests.clear()
    answers = at_once(50, lambda _: one(limited, chat(model="gpt-5-ten"), "ten"))
    assert Counter(answer.status for answer in answers) == {200: 10, 429: 40}
    assert len(limited.upstream.requests) == 10
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert one(limited, chat(model="gpt-5-ten"), "somebody-else").status == 200


def test_a_failing_provider_costs_nothing(limited: World) -> None:
    """Twenty 500s do not use up ten requests... because none of them was served."""
    limited.upstream.script = head(b'{"error":{"message":"overloaded"}}').replace(
        b"200 OK", b"503 Overloaded"
    )
    answers = [one(limited, chat(model="gpt-5-ten"), "unlucky") for _ in range(20)]
    assert {answer.status for answer in answers} == {503}
    limited.upstream.script = lambda *_: False
    assert {one(limited, chat(model="gpt-5-ten"), "unlucky").status for _ in range(12)} == {502}
    limited.upstream.script = completion()
    served = [one(limited, chat(model="gpt-5-ten"), "unlucky").status for _ in range(12)]
    assert served == [200] * 10 + [429] * 2


def test_fifty_streams_at_once_do_not_overshoot(limited: World) -> None:
    """Each may use 100 tokens of 1,000: at most ten run, however they are settled."""

    def script(peer: socket.socket, request: bytes, _: int) -> None:
        usage = {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105}
        last = json.dumps({"id": "c", "model": "m", "choices": [], "usage": usage})
        time.sleep(0.1)
        peer.sendall(STREAM_HEAD + chunk(event("word " * 100)) + chunk(event(None, "stop")))
        peer.sendall(chunk(f"data: {last}\n\n".encode()) + chunk(DONE) + LAST)

    limited.upstream.script = script
    limited.upstream.requests.clear()
    body = chat(model="gpt-5-tokens", stream=True, max_tokens=100)
    answers = at_once(50, lambda _: one(limited, body, "streams"))
    passed = [answer for answer in answers if answer.status == 200]
    assert 1 <= len(passed) <= 10 and len(limited.upstream.requests) == len(passed)
    assert all(answer.complete and answer.body.endswith(DONE) for answer in passed)
    while one(limited, body, "streams").status == 200:
        pass
    assert len(limited.upstream.requests) <= 10, "1,000 tokens are ten streams of 100"
    eventually(lambda: limited.metric("penstock_open_reservations") == 0)


def said_back(request: bytes) -> str:
    return str(json.loads(body_of(request))["messages"][-1]["content"])


def test_two_hundred_callers_at_once_get_their_own_words_back(limited: World) -> None:
    """Every caller has a value of its own, plain or streamed, and sees no other's."""

    def script(peer: socket.socket, request: bytes, _: int) -> None:
        said = said_back(request)
        if not json.loads(body_of(request)).get("stream"):
            peer.sendall(head(completion_body(said)))
            return
        peer.sendall(STREAM_HEAD)
        for at in range(0, len(said), 7):
            peer.sendall(chunk(event(said[at : at + 7])))
        peer.sendall(chunk(event(None, "stop") + DONE) + LAST)

    limited.upstream.script = script
    limited.upstream.requests.clear()

    def call(number: int) -> tuple[str, bytes]:
        mine = f"user{number}.name@caller{number}-domain.org"
        body = chat(f"mail {mine} now", stream=bool(number % 2))
        key = f"Authorization: Bearer sk-key-of-{number}\r\n".encode()
        return mine, one(limited, body, f"user{number % 20}", key).body

    for mine, body in at_once(200, call):
        if body.startswith(b"data:"):
            lines = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
            deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
            text = "".join(delta.get("content", "") for delta in deltas)
        else:
            text = json.loads(body)["choices"][0]["message"]["content"]
        assert text == f"mail {mine} now"
    assert len(limited.upstream.requests) == 200
    assert not any(b"-domain.org" in body_of(sent) for sent in limited.upstream.requests)


WHO = {
    "proxy users": [(as_user("ada"), b""), (as_user("eve"), b"")],
    "keys": [(b"", b"Authorization: Bearer sk-a\r\n"), (b"", b"Authorization: Bearer sk-b\r\n")],
    "a key and none": [(b"", b"x-api-key: one\r\n"), (b"", b"")],
}


@pytest.mark.parametrize("how", WHO)
def test_a_placeholder_is_restored_to_its_own_caller_only(limited: World, how: str) -> None:
    """The same value has another placeholder for another caller, and the other's stays sealed."""
    limited.upstream.script = completion()
    limited.upstream.requests.clear()
    seen = []
    for tunnel, extra in WHO[how]:
        with limited.tunnel(extra=tunnel) as client:
            ask(client, chat(f"mail {EMAIL}"), extra)
            assert client.answer().status == 200
            seen.append(said_back(limited.upstream.requests[-1]).removeprefix("mail "))
    assert seen[0] != seen[1], "nobody can compare what others wrote"
    limited.upstream.script = completion(f"{seen[0]} and {seen[1]}")
    for number, (tunnel, extra) in enumerate(WHO[how]):
        with limited.tunnel(extra=tunnel) as client:
            ask(client, chat("who?"), extra)
            text = json.loads(client.answer().body)["choices"][0]["message"]["content"]
        expected = [EMAIL, EMAIL]
        expected[1 - number] = seen[1 - number]
        assert text == " and ".join(expected)


def test_another_host_s_answer_is_restored_for_the_same_caller(limited: World) -> None:
    """One application may give what one provider said to another provider."""
    limited.upstream.script = completion()
    with limited.tunnel(extra=as_user("traveller")) as client:
        ask(client, chat(f"mail {EMAIL}"))
        client.answer()
    sealed = said_back(limited.upstream.requests[-1]).removeprefix("mail ")
    message = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": sealed}],
    }
    limited.upstream.script = head(json.dumps(message).encode())
    with limited.tunnel(ANTHROPIC, as_user("traveller")) as client:
        body = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
        client.post(ANTHROPIC, "/v1/messages", json.dumps(body).encode())
        assert EMAIL.encode() in client.answer().body


def test_a_day_s_budget_survives_the_end_of_the_process(tmp_path: Path) -> None:
    """Three a day means three, whether the process ended well, was killed, or not at all."""
    for number, end in enumerate(("stop", "kill", "stop")):
        with world(tmp_path, TEN) as made:
            assert one(made, chat(model="gpt-5-day")).status == 200
            if end == "kill":
                budgets = made.proxy.state / "budgets.json"
                eventually(lambda path=budgets: '"2"' in path.read_text(), 10)
                made.proxy.process.kill()
                made.proxy.process.wait()
            else:
                assert made.proxy.stop() == 0
        assert (tmp_path / "penstock" / "state" / "budgets.json").exists(), number
        (tmp_path / "penstock" / "ready.json").unlink()
    with world(tmp_path, TEN) as made:
        assert one(made, chat(model="gpt-5-day")).status == 429
        assert one(made, chat(model="gpt-5-day"), "other").status == 200


def test_a_policy_may_change_under_load(tmp_path: Path) -> None:
    """No call fails, none is judged by half a policy, and the new one counts at once after it."""
    open_policy = "version: 1\nname: a\nrules:\n  - id: models\n    allow: {models: [gpt-5*]}\n"
    shut = open_policy.replace("gpt-5*", "o4-*").replace("name: a", "name: b")
    with world(tmp_path, open_policy) as made:
        stop = threading.Event()
        statuses: list[int] = []

        def load() -> None:
            with made.tunnel() as client:
                while not stop.is_set():
                    ask(client, chat())
                    statuses.append(client.answer().status)

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        file = tmp_path / "penstock" / "policy.yaml"
        for text in (shut, open_policy, "version: 1\nrules: [", shut):
            time.sleep(1.3)
            file.write_text(text)
        eventually(lambda: made.metric("penstock_config_reloads_total{") >= 5, 10)
        stop.set()
        for thread in threads:
            thread.join(10)
        assert set(statuses) == {200, 403} and len(statuses) > 100
        assert one(made, chat()).status == 403
        records = made.proxy.records(len(statuses))
        judged = {(record["policy"], record["verdict"]) for record in records}
        assert len(judged) == 2, "each policy gave one verdict"


MIXED = 3000
GROWTH_KIB = 24 * 1024  # caches that are bounded may still fill: vault, memo, spans, allocator


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_calls(tmp_path: Path) -> None:
    """After a first thousand mixed calls, three thousand more take no more than GROWTH_KIB."""
    with world(tmp_path, TEN) as made:

        def script(peer: socket.socket, request: bytes, number: int) -> bool:
            if number % 7 == 0:
                peer.sendall(STREAM_HEAD + chunk(event("half")))
                return False
            if b'"stream": true' in request:
                said = chunk(event("hello")) + chunk(event(None, "stop") + DONE)
                peer.sendall(STREAM_HEAD + said + LAST)
            else:
                peer.sendall(completion("x" * 2000))
            return True

        made.upstream.script = script

        def some(first: int, count: int) -> None:
            client = made.tunnel()
            for number in range(first, first + count):
                if number % 25 == 0:
                    client.close()
                    client = made.tunnel(extra=as_user(f"user{number}"))
                kind = number % 5
                text = f"mail u{number}@some-domain.org " + "words " * (200 * kind)
                if kind == 4:
                    ask(client, b'{"model":"a","model":"b"}')
                else:
                    ask(client, chat(text, stream=kind > 1, model=f"gpt-{number % 300}"))
                if number % 50 == 49:
                    client.close()
                    client = made.tunnel()
                    continue
                answer = client.answer()
                if not answer.complete:
                    client.close()
                    client = made.tunnel()
            client.close()
            made.upstream.requests.clear()

        def load(first: int, count: int) -> None:
            with ThreadPoolExecutor(4) as pool:
                part = count // 4
                list(pool.map(lambda n: some(first + n * part, part), range(4)))

        load(0, 1000)
        before = resident_kib(made.proxy.process.pid)
        load(10_000, MIXED)
        after = resident_kib(made.proxy.process.pid)
        assert after - before < GROWTH_KIB, f"{before} KiB -> {after} KiB"
        eventually(lambda: made.metric("penstock_open_reservations") == 0)


def test_the_metrics_pass_promtool(here: World) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    with here.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}"))
        client.answer()
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=here.proxy.metrics(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
