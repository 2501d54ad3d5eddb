"""The fault matrix: every way a target can fail, plain and streamed, against real processes."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.proxy.raw import Script, TestCa
from tests.route import world as w
from tests.route.world import FIRST, KEY, ORIGINAL, SECOND, Does, world

HASTY = w.ROUTE.replace("    route:\n", "    route:\n      attempt_timeout: 1s\n")

# fault -> (what the first target does, the attempt's outcome, whether it may be billed)
FAULTS: dict[str, tuple[Does, str, str]] = {
    "connect refused": (None, "upstream_unreachable", "no"),
    "reset": (w.resets, "upstream_closed", "possibly"),
    "stall before head": (w.stalls, "first_byte_timeout", "possibly"),
    "429": (w.says(w.http(429, w.error("rate_limit"))), "status_429", "no"),
    "429 with Retry-After": (
        w.says(w.http(429, w.error("rate_limit"), "Retry-After: 30")), "status_429", "no",
    ),
    "500": (w.says(w.http(500, w.error("server_error"))), "status_500", "no"),
    "503": (w.says(w.http(503, w.error("unavailable"))), "status_503", "no"),
    "504 of a gateway": (w.says(w.http(504, w.error("gateway"))), "status_504", "possibly"),
    "529 overloaded": (w.says(w.http(529, w.error("overloaded_error"))), "status_529", "no"),
    "no HTTP at all": (w.says(b"not a word of HTTP\r\n\r\n"), "invalid_answer", "possibly"),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_next_target_answers(tmp_path: Path, ca: TestCa, fault: str, stream: bool) -> None:
    """The caller gets the second target's answer and sees nothing of the first one's failure."""
    does, outcome, billed = FAULTS[fault]
    with world(tmp_path, ca, {FIRST: does, SECOND: w.serves("from second")}, HASTY) as it:
        answer = it.call(stream=stream)
        assert answer.status == 200 and answer.complete
        assert b"from second" in answer.body
        if stream:
            assert answer.body.endswith(b"data: [DONE]\n\n")
        assert it.attempts() == [(FIRST, outcome, billed), (SECOND, "answered", "yes")]
        record = it.proxy.records(1)[0]
        assert record["routed_from"] == ORIGINAL
        assert record["destination"]["host"] == SECOND
        assert record["usage"]["input"] == 5 if not stream else record["outcome"] == "answered"


def test_tls_failure(tmp_path: Path, ca: TestCa) -> None:
    """A certificate for another name is no target; nothing was sent, so nothing is billed."""
    with world(
        tmp_path,
        ca,
        {FIRST: w.serves("wrong"), SECOND: w.serves("right")},
        contexts={FIRST: lambda authority: authority.context("other.example")},
    ) as it:
        assert b"right" in it.call().body
        assert it.attempts()[0] == (FIRST, "upstream_certificate", "no")
        assert FIRST not in it.asked()


def test_silent_tls_handshake(tmp_path: Path, ca: TestCa) -> None:
    """A target that accepts and never shakes hands is given up in its time."""
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        world(
            tmp_path,
            ca,
            {SECOND: w.serves("from second")},
            HASTY,
            ["--connect-to", f"{FIRST}:443=127.0.0.1:{mute.getsockname()[1]}"],
        ) as it,
    ):
        began = time.monotonic()
        assert b"from second" in it.call().body
        assert time.monotonic() - began < 4
        assert it.attempts()[0] == (FIRST, "connect_timeout", "no")


def test_error_as_first_event(tmp_path: Path, ca: TestCa) -> None:
    """A stream that begins with an error was no answer."""
    with world(tmp_path, ca, {FIRST: w.error_event, SECOND: w.serves("from second")}) as it:
        answer = it.call(stream=True)
        assert b"from second" in answer.body and b"server_error" not in answer.body
        assert it.attempts()[0] == (FIRST, "error_event", "no")


def test_stall_between_head_and_first_event(tmp_path: Path, ca: TestCa) -> None:
    """A head alone is no first byte of an answer: it has not left."""
    with world(
        tmp_path, ca, {FIRST: w.stalls_after_head, SECOND: w.serves("from second")}, HASTY
    ) as it:
        assert b"from second" in it.call(stream=True).body
        assert it.attempts()[0] == (FIRST, "first_byte_timeout", "possibly")


def test_cut_in_mid_stream_is_never_hidden(tmp_path: Path, ca: TestCa) -> None:
    """Bytes have left: the caller sees that the answer is incomplete, nobody else is asked."""
    with world(
        tmp_path, ca, {FIRST: w.cut_after_first_event, SECOND: w.serves("from second")}
    ) as it:
        answer = it.call(stream=True)
        assert not answer.complete
        assert b"half of it" in answer.body and b"from second" not in answer.body
        assert it.asked() == {FIRST: 1}
        assert it.attempts() == [(FIRST, "cut", "yes")]
        assert it.proxy.records(1)[0]["outcome"] == "cut"


def test_cut_of_a_plain_answer(tmp_path: Path, ca: TestCa) -> None:
    """A plain answer is whole before its first byte leaves, so another target may serve it."""
    with world(
        tmp_path, ca, {FIRST: w.cut_after_first_event, SECOND: w.serves("from second")}
    ) as it:
        answer = it.call()
        assert answer.complete and b"from second" in answer.body
        assert it.attempts()[0][2] == "possibly"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_slow_drip_is_waited_for(tmp_path: Path, ca: TestCa, stream: bool) -> None:
    """Slow is not broken: what has begun to answer may finish."""
    with world(tmp_path, ca, {FIRST: w.drips, SECOND: w.serves("from second")}, HASTY) as it:
        answer = it.call(stream=stream)
        assert answer.complete and b"slowly" in answer.body
        assert it.asked() == {FIRST: 1}


def test_last_target_speaks_for_itself(tmp_path: Path, ca: TestCa) -> None:
    """When all fail, the caller gets the last one's own words."""
    with world(
        tmp_path,
        ca,
        {
            FIRST: w.says(w.http(503, w.error("first_is_down"))),
            SECOND: w.says(w.http(429, w.error("second_is_full"), "Retry-After: 7")),
        },
    ) as it:
        answer = it.call()
        assert (answer.status, answer.code) == (429, "second_is_full")
        assert answer.headers["retry-after"] == "7"
        assert it.attempts() == [(FIRST, "status_503", "no"), (SECOND, "status_429", "no")]


def test_all_unreachable(tmp_path: Path, ca: TestCa) -> None:
    """The engine's own page, and both attempts in the Record."""
    with world(tmp_path, ca, {FIRST: None, SECOND: None}) as it:
        answer = it.call()
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        outcomes = [(outcome, billed) for _, outcome, billed in it.attempts()]
        assert outcomes == [("upstream_unreachable", "no")] * 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_fault_of_the_caller_is_not_tried_elsewhere(
    tmp_path: Path, ca: TestCa, status: int
) -> None:
    """A request that is wrong here is wrong there."""
    with world(
        tmp_path,
        ca,
        {FIRST: w.says(w.http(status, w.error("yours"))), SECOND: w.serves("from second")},
    ) as it:
        assert it.call().status == status
        assert it.asked() == {FIRST: 1}


def test_large_body_and_headers_are_the_same_at_each_target(tmp_path: Path, ca: TestCa) -> None:
    """A megabyte goes out again byte by byte, idempotency keys with it, the caller's key not."""
    text = "x" * 1_000_000
    extra = b"Idempotency-Key: k-1\r\nX-Stainless-Retry-Count: 0\r\nOpenAI-Organization: org-1\r\n"
    with world(
        tmp_path,
        ca,
        {FIRST: w.says(w.http(503, w.error("down"))), SECOND: w.serves("from second")},
    ) as it:
        assert b"from second" in it.call(text, extra=extra).body
        sent = [it.upstreams[host].requests[0] for host in (FIRST, SECOND)]
        heads, bodies = zip(*(one.split(b"\r\n\r\n", 1) for one in sent), strict=True)
        assert bodies[0] == bodies[1] and text.encode() in bodies[0]
        for host, head in zip((FIRST, SECOND), heads, strict=True):
            assert b"Host: " + host.encode() in head
            assert b"Idempotency-Key: k-1" in head
            assert KEY.encode() not in head and b"org-1" not in head


def test_connections_stay_usable(tmp_path: Path, ca: TestCa) -> None:
    """Call after call on one client connection, each failing over, plain and streamed in turn."""
    with (
        world(
            tmp_path,
            ca,
            {FIRST: w.says(w.http(500, w.error("down"))), SECOND: w.serves("from second")},
        ) as it,
        it.client() as client,
    ):
        for number in range(8):
            answer = it.call(stream=bool(number % 2), client=client)
            assert answer.status == 200 and b"from second" in answer.body
        assert it.upstreams[SECOND].connections == 1  # kept alive


def test_failing_target_is_left_alone(tmp_path: Path, ca: TestCa) -> None:
    """After three failures in a row calls go to the other target at once."""
    with world(
        tmp_path,
        ca,
        {FIRST: w.says(w.http(500, w.error("down"))), SECOND: w.serves("from second")},
    ) as it:
        for _ in range(10):
            assert it.call().status == 200
        assert it.asked() == {FIRST: 3, SECOND: 10}


def test_word_of_a_provider_counts_at_once(tmp_path: Path, ca: TestCa) -> None:
    """Retry-After: nobody is sent there before."""
    full = w.http(429, w.error("full"), "Retry-After: 60")
    with world(tmp_path, ca, {FIRST: w.says(full), SECOND: w.serves("from second")}) as it:
        for _ in range(4):
            assert it.call().status == 200
        assert it.asked() == {FIRST: 1, SECOND: 4}


def test_room_that_is_gone_counts_in_advance(tmp_path: Path, ca: TestCa) -> None:
    """A provider that says "none left" with a good answer is not asked for the refusal."""
    last = w.http(
        200,
        w.completion("the last one"),
        "x-ratelimit-remaining-requests: 0",
        "x-ratelimit-reset-requests: 1m0s",
    )
    with world(tmp_path, ca, {FIRST: w.says(last), SECOND: w.serves("from second")}) as it:
        assert b"the last one" in it.call().body
        assert b"from second" in it.call().body


def test_retries_cannot_storm(tmp_path: Path, ca: TestCa) -> None:
    """When everything fails, further attempts end with the budget."""
    down: Script = w.says(w.http(500, w.error("down")))
    with world(tmp_path, ca, {FIRST: down, SECOND: down}) as it:
        calls = 60
        with it.client() as client:
            for _ in range(calls):
                assert it.call(client=client).status == 500
        assert sum(it.asked().values()) <= calls + 10 + calls / 10


def test_client_that_leaves_stops_the_attempts(tmp_path: Path, ca: TestCa) -> None:
    """Nobody is asked for an answer nobody waits for."""
    with world(tmp_path, ca, {FIRST: w.stalls, SECOND: w.serves("from second")}, HASTY) as it:
        with it.client() as client:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
            client.post(ORIGINAL, "/v1/chat/completions", json.dumps(body).encode())
            time.sleep(0.4)
        [record] = it.proxy.records(1)
        assert record["outcome"] == "aborted"
        assert [row["outcome"] for row in record["attempts"]] == ["aborted"]
        time.sleep(1.2)
        assert SECOND not in it.asked()
