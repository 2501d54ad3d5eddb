"""Policy files that go wrong while the proxy runs, and answers a rule withholds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import fresh
from tests.faults.world import (
    DONE,
    EMAIL,
    LAST,
    STREAM_HEAD,
    World,
    ask,
    chat,
    chunk,
    completion,
    event,
    eventually,
    head,
    world,
)

GOOD = "version: 1\nname: good\nrules:\n  - id: models\n    allow: {models: [%s]}\n"
WITHHOLDING = """
version: 1
name: withholding
rules:
  - id: no-addresses-back
    deny: {find: [pii.email], in: [response]}
  - id: a-thousand
    limit: {output_tokens: 1000, every: 1h, per: [workload]}
"""
WATCHING = WITHHOLDING.replace("name: withholding", "name: watching\nmode: observe")

SPOILT = {
    "binary": b"\xff\xfe\x00\x00",
    "a deep list": b"rules: " + b"[" * 50_000,
    "a thousand million laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
    ),
    "a python object": b"!!python/object/apply:os.system ['true']\n",
    "nothing": b"",
    "a tag": b"version: !!binary aGVsbG8=\n",
    "a self-reference": b"version: 1\nrules: &a [*a]\n",
    "a condition of a mile": (
        b"version: 1\nrules:\n  - id: x\n    deny: {models: ['*']}\n    when: " + b"(" * 5000
    ),
}


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("reloading"), GOOD % "gpt-5*") as made:
        yield made


def status_of(made: World, model: str) -> int:
    with made.tunnel() as client:
        ask(client, chat(model=model))
        return int(client.answer().status)


def policy_file(made: World) -> Path:
    return made.proxy.state.parent / "policy.yaml"


def test_spoilt_policies_change_nothing_and_the_next_good_one_counts(reloading: World) -> None:
    """Whatever is written there, the old policy stays, and looking at the file goes on."""
    failures = 'penstock_config_reloads_total{result="failure"'
    for name, content in SPOILT.items():
        failed = reloading.metric(failures)
        policy_file(reloading).write_bytes(content)
        try:
            eventually(lambda failed=failed: reloading.metric(failures) > failed, 15)
        except AssertionError as error:
            raise AssertionError(f"{name} was not refused") from error
        assert status_of(reloading, "gpt-5-mini") == 200, name
        assert status_of(reloading, "o4-mini") == 403, name
    policy_file(reloading).write_text(GOOD % "o4-*")
    eventually(lambda: status_of(reloading, "o4-mini") == 200, 15)
    policy_file(reloading).write_text(GOOD % "gpt-5*")
    eventually(lambda: status_of(reloading, "gpt-5-mini") == 200, 15)


def test_a_pattern_of_a_mile_is_refused_or_judged_in_time(reloading: World) -> None:
    """Forty thousand characters of wildcards: the loop serves others, whatever becomes of them."""
    policy_file(reloading).write_bytes(
        b"version: 1\nrules:\n  - id: x\n    deny: {models: ['" + b"*a" * 20_000 + b"']}\n"
    )
    time.sleep(1.5)
    began = time.monotonic()
    assert status_of(reloading, "a" * 5000) in (200, 403)
    assert time.monotonic() - began < 2
    policy_file(reloading).write_text(GOOD % "gpt-5*")
    eventually(lambda: status_of(reloading, "o4-mini") == 403, 15)


def test_a_policy_that_vanishes_stays_in_force(reloading: World) -> None:
    file = policy_file(reloading)
    file.unlink()
    time.sleep(1.5)
    assert status_of(reloading, "gpt-5-mini") == 200 and status_of(reloading, "o4-mini") == 403
    file.mkdir()
    time.sleep(1.5)
    assert status_of(reloading, "gpt-5-mini") == 200
    file.rmdir()
    file.write_text(GOOD % "o4-*")
    eventually(lambda: status_of(reloading, "o4-mini") == 200, 10)
    file.write_text(GOOD % "gpt-5*")
    eventually(lambda: status_of(reloading, "gpt-5-mini") == 200, 10)


# ---------------------------------------------------------------------- withheld answers


@pytest.fixture(scope="module")
def withholding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("withholding"), WITHHOLDING) as made:
        yield made


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("watching"), WATCHING) as made:
        yield made


def stream_of(*texts: str) -> bytes:
    events = [event(text) for text in texts]
    return STREAM_HEAD + b"".join(map(chunk, [*events, event(None, "stop"), DONE])) + LAST


def test_a_withheld_answer_is_still_paid_for(withholding: World) -> None:
    """The provider made it and bills it: it counts, or the limit could be walked around."""
    body = json.loads(completion(f"write to {EMAIL}").partition(b"\r\n\r\n")[2])
    body["usage"] = {"prompt_tokens": 5, "completion_tokens": 400, "total_tokens": 405}
    fresh(withholding).upstream.script = head(json.dumps(body).encode())
    before = withholding.recorded
    statuses = []
    for _ in range(4):
        with withholding.tunnel() as client:
            ask(client, chat(max_tokens=100))
            statuses.append(client.answer().status)
    assert statuses == [403, 403, 403, 429]
    assert withholding.after(before)[0]["usage"]["output"] == 400


def test_a_withheld_stream_ends_well_formed_and_its_upstream_is_cancelled(
    tmp_path: Path,
) -> None:
    with world(tmp_path, WITHHOLDING) as made:
        made.upstream.script = stream_of("first ", "write to ", EMAIL, " or not ", "at all")
        with made.tunnel() as client:
            ask(client, chat(stream=True))
            answer = client.answer()
            assert answer.complete and b"first " in answer.body
            assert EMAIL.encode() not in answer.body and b"at all" not in answer.body
            made.upstream.script = completion()
            ask(client, chat())
            assert client.answer().status == 200, "keep-alive after a refused stream"
        record = made.proxy.records(2)[0]
        assert (record["outcome"], record["verdict"]) == ("refused", "deny")
        assert record["usage"]["output"] > 0
        eventually(lambda: made.metric("penstock_open_reservations") == 0)


def test_an_observer_with_rules_about_answers_lets_any_coding_pass(watching: World) -> None:
    """Watching must not change a byte, even of what cannot be decoded in the middle."""
    import gzip

    packed = gzip.compress(b"".join(map(event, ("one ", EMAIL, " two"))) + DONE)
    for body in (packed, packed[:60] + b"\xff" * 50, b"not gzip at all" * 9):
        pieces = [body[at : at + 30] for at in range(0, len(body), 30)]
        fresh(watching).upstream.script = (
            STREAM_HEAD[:-2]
            + b"Content-Encoding: gzip\r\n\r\n"
            + b"".join(map(chunk, pieces))
            + LAST
        )
        with watching.tunnel() as client:
            ask(client, chat(stream=True), b"Accept-Encoding: gzip\r\n")
            answer = client.answer()
        assert answer.complete
        if "content-encoding" in answer.headers:
            assert answer.body == body
        else:
            assert answer.body == gzip.decompress(body)
        assert b"Accept-Encoding: gzip\r\n" in watching.upstream.requests[-1]
