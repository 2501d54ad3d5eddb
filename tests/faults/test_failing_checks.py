"""A check raises, anywhere on the way: refused in enforce mode, let through in observe mode.

Both are counted in the metrics and stand in the call's one record, and no error text is
written down. The traps are in ``injected/sitecustomize.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.faults.conftest import fresh
from tests.faults.world import (
    DONE,
    EMAIL,
    INJECTED,
    LAST,
    OBSERVE,
    POLICY,
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
    world,
)

FAULTS = {"PYTHONPATH": INJECTED, "PENSTOCK_TEST_FAULTS": "1"}
CANARY = "sk-canary-in-an-error-text"
STEPS = [
    "Identify.request",
    "Govern.request",
    "Answer.responseheaders",
    "Answer.response",
    "Settle.response",
]
CLOSED_RULE = """  - id: cannot-be-evaluated
    deny: {models: ["*"]}
    when: call.parameters.temperature / 0 > 1
"""


@pytest.fixture(scope="module")
def closing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("closing"), POLICY, environment=FAULTS) as made:
        yield made


@pytest.fixture(scope="module")
def opening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("opening"), OBSERVE, environment=FAULTS) as made:
        yield made


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_step_refuses_the_call(closing: World, step: str) -> None:
    fresh(closing)
    before, counted = closing.recorded, closing.metric("penstock_failures_total")
    with closing.tunnel() as client:
        ask(client, chat("harmless"), f"x-fault: {step}\r\n".encode())
        answer = client.answer()
        assert (answer.status, answer.code) == (403, "check_failed"), answer.raw
        assert completion_body() not in answer.raw
        ask(client, chat())
        assert client.answer().status == 200, "the connection is usable after it"
    records = closing.proxy.records(before + 2)[before:]
    assert [one.get("failure") for one in records] == ["failed_closed", None]
    assert (records[0]["outcome"], records[0]["status"]) == ("refused", 403)
    assert records[0]["failure_reason"] == f"{step.partition('.')[2]}: RuntimeError"
    assert closing.metric('penstock_failures_total{reason="') == counted + 1
    assert closing.metric('penstock_failures_total{reason="other",result="failed_open"') == 0
    if step != "Settle.response":  # what it did not settle stays reserved until that expires
        eventually(lambda: closing.metric("penstock_open_reservations") == 0)
    if step.endswith(".request"):
        assert len(closing.upstream.requests) == 1


@pytest.mark.parametrize("step", STEPS)
def test_an_observer_s_failing_step_changes_nothing(opening: World, step: str) -> None:
    fresh(opening)
    before, counted = opening.recorded, opening.metric("penstock_failures_total")
    with opening.tunnel() as client:
        ask(client, chat(f"mail {EMAIL}"), f"x-fault: {step}\r\n".encode())
        answer = client.answer()
        assert (answer.status, answer.body) == (200, completion_body()), answer.raw
    assert body_of(opening.upstream.requests[-1]) == chat(f"mail {EMAIL}")
    (record,) = opening.after(before)
    assert (record["failure"], record["outcome"]) == ("failed_open", "answered")
    assert record["status"] == 200
    assert opening.metric("penstock_failures_total") == counted + 1


BROKEN_STREAM = (
    STREAM_HEAD
    + chunk(event("one ") + event("two "))
    + chunk(event("three ") + event("fault-in-stream") + event("four "))
    + chunk(event(None, "stop") + DONE)
    + LAST
)


@pytest.mark.parametrize("text", ["hello", EMAIL], ids=["read", "restored"])
def test_a_failing_stream_ends_in_an_error_event(closing: World, text: str) -> None:
    fresh(closing).upstream.script = BROKEN_STREAM
    before, counted = closing.recorded, closing.metric("penstock_failures_total")
    with closing.tunnel() as client:
        ask(client, chat(text, stream=True))
        answer = client.answer()
        assert answer.complete and b"two " in answer.body
        assert b"check_failed" in answer.body and b"four" not in answer.body
        closing.upstream.script = completion()
        ask(client, chat())
        assert client.answer().status == 200
    record = closing.after(before)[0]
    assert (record["outcome"], record["failure"]) == ("refused", "failed_closed")
    assert record["usage"]["output"] > 0, "what left was said and is billed"
    assert closing.metric("penstock_failures_total") == counted + 1


def test_an_observer_s_failing_stream_passes_whole(opening: World) -> None:
    fresh(opening).upstream.script = BROKEN_STREAM
    before = opening.recorded
    with opening.tunnel() as client:
        ask(client, chat(stream=True))
        answer = client.answer()
    whole = b"".join(event(said) for said in ("one ", "two ", "three ", "fault-in-stream", "four "))
    assert answer.complete and answer.body == whole + event(None, "stop") + DONE
    (record,) = opening.after(before)
    assert (record["outcome"], record["failure"]) == ("cut", "failed_open")


@pytest.mark.parametrize("name", ["closing", "opening"])
def test_a_failing_detector_is_the_rule_s_failure(
    request: pytest.FixtureRequest, name: str
) -> None:
    made: World = fresh(request.getfixturevalue(name))
    before, counted = made.recorded, made.metric("penstock_failures_total")
    with made.tunnel() as client:
        ask(client, chat("fault-in-detector"))
        answer = client.answer()
    (record,) = made.after(before)
    closed = name == "closing"
    assert answer.status == (403 if closed else 200)
    assert record["failure"] == ("failed_closed" if closed else "failed_open")
    assert bool(made.upstream.requests) is not closed
    assert made.metric("penstock_failures_total") == counted + 1


def test_a_record_that_cannot_be_made_is_counted(closing: World) -> None:
    fresh(closing)
    counted = closing.metric("penstock_check_errors")
    with closing.tunnel() as client:
        ask(client, chat(), b"x-fault: Report\r\n")
        assert client.answer().status == 403
    assert closing.metric("penstock_check_errors") == counted + 1


def test_error_texts_are_written_nowhere(closing: World, opening: World) -> None:
    for made in (closing, opening):
        with made.tunnel() as client:
            ask(client, chat(), b"x-fault: Govern.request\r\n")
            assert CANARY.encode() not in client.answer().raw
        for file in [made.proxy.log, *made.proxy.state.glob("*.json*")]:
            assert CANARY not in file.read_text(), file
        assert CANARY not in made.proxy.metrics()


def test_a_condition_that_cannot_be_evaluated_refuses_and_is_counted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("condition")
    with world(folder, POLICY + CLOSED_RULE) as made:
        with made.tunnel() as client:
            ask(client, chat(temperature=1))
            answer = client.answer()
        assert answer.status == 403 and not made.upstream.requests
        assert json.loads(answer.body)["error"]["code"] == "policy_denied"
        (record,) = made.after(0)
        assert record["failure"] == "failed_closed"
        assert made.metric("penstock_failures_total") == 1
