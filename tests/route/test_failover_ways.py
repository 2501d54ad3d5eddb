"""Failover where calls come in otherwise: redirected, and over HTTP/2 on either side.

One proxy for each way in; each fault has a target of its own and a model that is routed to it.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import Penstock
from tests.proxy.raw import Client, TestCa
from tests.route import world as w
from tests.route.h2_upstream import H2Answer, H2Upstream
from tests.route.test_failover import FAULTS
from tests.route.world import KEY, ORIGINAL, SECOND, Does, World, world

ERROR_EVENT = "error as first event"
# "TLS failure" is a certificate for another name; see ``contexts`` below.
ALL: dict[str, tuple[Does, str, str]] = {
    **FAULTS,
    "stall after head": (w.stalls_after_head, "first_byte_timeout", "possibly"),
    ERROR_EVENT: (w.error_event, "error_event", "no"),
    "TLS failure": (w.serves("wrong"), "upstream_certificate", "no"),
}
# Further attempts are ten and a tenth of the calls: what a proxy is asked before keeps it within.
GOOD_CALLS = 40


# A target of its own for each case: one that has just failed is passed over for a while.
Case = tuple[str, bool]  # fault, streamed


def cases_of(faults: Mapping[str, Any], first_streamed: bool) -> list[Case]:
    """Each fault, plain and streamed in turn: one way in has the one half, the other the other.

    All of them, plain and streamed, are in test_fault_matrix.py.
    """
    streams_only = (ERROR_EVENT, "stall after head")
    return [
        (one, (number % 2 == 0) == first_streamed or one in streams_only)
        for number, one in enumerate(faults)
    ]


def host_of(case: Case) -> str:
    fault, stream = case
    return f"{''.join(filter(str.isalnum, fault.lower()))}{'-s' if stream else ''}.example"


def hosts_of(faults: Mapping[str, tuple[Any, str, str]], cases: Sequence[Case]) -> dict[str, Any]:
    """What the host of each case does."""
    return {host_of(case): faults[case[0]][0] for case in cases}


def policy_for(cases: Sequence[Case]) -> str:
    """A route for each case, by the model, and one for the model that is served at once."""
    rules = [
        f"""
  - id: r-{number}
    route:
      models: [m-{number}]
      attempt_timeout: 1s
      to:
        - {{url: "https://{host_of(case)}/v1"}}
        - {{url: "https://{SECOND}/v1", priority: 2}}"""
        for number, case in enumerate(cases)
    ]
    good = f"""
  - id: good
    route: {{models: [good], to: [{{url: "https://{SECOND}/v1"}}]}}
"""
    return "version: 1\nrules:" + "".join(rules) + good


WRONG_NAME = {
    host_of(("TLS failure", stream)): lambda authority: authority.context("other.example")
    for stream in (False, True)
}

Ask = Callable[[str, bool], tuple[int, bytes]]  # model, stream -> status, body


def check_matrix(
    faults: Mapping[str, tuple[Any, str, str]], cases: Sequence[Case], ask: Ask, proxy: Penstock
) -> None:
    """Each case: the second target's whole answer, both attempts recorded."""
    for number in range(GOOD_CALLS):
        assert ask("good", number % 2 == 0)[0] == 200
    for number, (fault, stream) in enumerate(cases):
        _, outcome, billed = faults[fault]
        status, body = ask(f"m-{number}", stream)
        assert status == 200 and b"from second" in body, (fault, stream, status, body)
        assert not stream or body.endswith(b"data: [DONE]\n\n"), (fault, body)
        records = proxy.records(GOOD_CALLS + number + 1, seconds=15)
        told = [(row["outcome"], row["billed"]) for row in records[-1]["attempts"]]
        assert told == [(outcome, billed), ("answered", "yes")], (fault, stream, told)


# --------------------------------------------------------------------------- redirected


def test_a_redirected_call_fails_over(tmp_path: Path, ca: TestCa) -> None:
    """No CONNECT: the TLS name says where the call was meant to go, and the rule where it goes."""
    cases = cases_of(ALL, first_streamed=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with world(
        tmp_path,
        ca,
        {SECOND: w.serves("from second")} | hosts_of(ALL, cases),
        policy_for(cases),
        ["--transparent", f"127.0.0.1:{port}"],
        WRONG_NAME,
        program=[sys.executable, str(Path(__file__).parent / "redirected_run.py")],
    ) as it:
        with Client(socket.create_connection(("127.0.0.1", port), timeout=15)) as client:
            client.start_tls(ORIGINAL, it.proxy.state / "ca.pem")

            def ask(model: str, stream: bool) -> tuple[int, bytes]:
                answer = it.call(stream=stream, client=client, model=model)
                return (answer.status if answer.complete else 0), answer.body

            check_matrix(ALL, cases, ask, it.proxy)
        record = it.proxy.records(1)[-1]
        assert record["routed_from"] == ORIGINAL and record["destination"]["host"] == SECOND
        assert KEY.encode() not in b"".join(it.upstreams[SECOND].requests)


# --------------------------------------------------------------------------- HTTP/2


class OnlyH2(ssl.SSLContext):
    """httpx offers HTTP/1.1 first; other clients do not."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2"])


@contextmanager
def h2_client(it: World) -> Iterator[httpx.Client]:
    """httpx with HTTP/2 through the proxy."""
    trust = OnlyH2(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(it.proxy.state / "ca.pem")
    with httpx.Client(proxy=it.proxy.url, verify=trust, http2=True, timeout=15) as client:
        yield client


def asking(client: httpx.Client) -> Ask:
    """``Ask`` by HTTP/2, all on one connection."""

    def ask(model: str, stream: bool) -> tuple[int, bytes]:
        document = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        answer = client.post(
            f"https://{ORIGINAL}/v1/chat/completions",
            content=json.dumps({**document, "stream": stream}),
            headers={"authorization": KEY, "content-type": "application/json"},
        )
        assert answer.http_version == "HTTP/2"
        return answer.status_code, answer.content

    return ask


def test_an_http2_call_fails_over(tmp_path: Path, ca: TestCa) -> None:
    """HTTP/2 towards the caller, HTTP/1 towards the targets; one connection for all of it."""
    cases = cases_of(ALL, first_streamed=False)
    with (
        world(
            tmp_path,
            ca,
            {SECOND: w.serves("from second")} | hosts_of(ALL, cases),
            policy_for(cases),
            ["--http2"],
            WRONG_NAME,
        ) as it,
        h2_client(it) as client,
    ):
        check_matrix(ALL, cases, asking(client), it.proxy)
        for request in it.upstreams[SECOND].requests:
            head = request.partition(b"\r\n\r\n")[0].lower()
            assert head.count(b"\r\nhost: second.example") == 1 and KEY.lower().encode() not in head


@pytest.mark.parametrize("http2", [False, True])
def test_the_original_target_gets_the_callers_key(tmp_path: Path, ca: TestCa, http2: bool) -> None:
    """Over HTTP/2 the host is no header field; it is the same host all the same."""
    policy = """
version: 1
rules:
  - id: r
    route: {to: [{url: original}, {url: "https://second.example/v1", priority: 2}]}
"""
    options = ["--http2"] if http2 else []
    with world(tmp_path, ca, {ORIGINAL: w.serves("from the original")}, policy, options) as it:
        if http2:
            with h2_client(it) as client:
                assert asking(client)("gpt-5", False)[0] == 200
        else:
            assert it.call().status == 200
        head = it.upstreams[ORIGINAL].requests[0].partition(b"\r\n\r\n")[0].lower()
        assert head.count(b"\r\nhost: api.openai.com") == 1
        assert KEY.lower().encode() in head


def well(answer: H2Answer) -> None:
    """Answers well over HTTP/2."""
    if not answer.streamed:
        answer.head(200, "application/json")
        answer.body(w.completion("from second"))
        return
    answer.head(200, "text/event-stream")
    answer.body(w.event("from second"), end=False)
    answer.body(b"data: [DONE]\n\n")


def unavailable(answer: H2Answer) -> None:
    answer.head(503, "application/json")
    answer.body(w.error("unavailable"))


def error_first(answer: H2Answer) -> None:
    answer.head(200, "text/event-stream")
    answer.body(b"data: " + w.error("server_error") + b"\n\n")


def half(answer: H2Answer) -> None:
    """Breaks off after the first event, or in a plain answer's middle."""
    answer.head(200, "text/event-stream" if answer.streamed else "application/json")
    answer.body(w.event("half of it") if answer.streamed else b'{"id":', end=False)
    answer.reset()


H2_FAULTS: dict[str, tuple[Callable[[H2Answer], None], str, str]] = {
    "503": (unavailable, "status_503", "no"),
    "refused stream": (H2Answer.reset, "upstream_closed", "possibly"),
    "goaway": (H2Answer.go_away, "upstream_closed", "possibly"),
    "silence": (lambda answer: None, "first_byte_timeout", "possibly"),
    ERROR_EVENT: (error_first, "error_event", "no"),
}


@dataclass
class H2World:
    """The proxy and what the targets were asked."""

    it: World
    targets: dict[str, H2Upstream]


@contextmanager
def h2_world(
    folder: Path, ca: TestCa, does: Mapping[str, Callable[[H2Answer], None]], policy: str
) -> Iterator[H2World]:
    """A proxy with HTTP/2 on both sides."""
    targets = {host: H2Upstream(one, ca.context(host)) for host, one in does.items()}
    options = ["--http2"]
    for host, target in targets.items():
        target.__enter__()
        options += ["--connect-to", f"{host}:443=127.0.0.1:{target.port}"]
    try:
        with world(folder, ca, {}, policy, options) as it:
            yield H2World(it, targets)
    finally:
        for target in targets.values():
            target.__exit__()


def test_targets_that_speak_http2(tmp_path: Path, ca: TestCa) -> None:
    """HTTP/2 on both sides, and its own ways to fail: RST_STREAM, GOAWAY."""
    cases = cases_of(H2_FAULTS, first_streamed=False)
    cases += [case for case in cases_of(H2_FAULTS, first_streamed=True) if case not in cases]
    does = {SECOND: well} | hosts_of(H2_FAULTS, cases)
    with (
        h2_world(tmp_path, ca, does, policy_for(cases)) as there,
        h2_client(there.it) as client,
    ):
        check_matrix(H2_FAULTS, cases, asking(client), there.it.proxy)


def test_the_next_target_may_be_on_the_same_connection(tmp_path: Path, ca: TestCa) -> None:
    """Two deployments of one host: the second attempt is another stream, the first one's rest
    is not taken for its answer."""
    asked = []

    def second_time(answer: H2Answer) -> None:
        asked.append(answer.stream)
        unavailable(answer) if len(asked) % 2 else well(answer)

    policy = """
version: 1
rules:
  - id: r
    route:
      to: [{url: "https://second.example/a"}, {url: "https://second.example/b", priority: 2}]
"""
    with (
        h2_world(tmp_path, ca, {SECOND: second_time}, policy) as there,
        h2_client(there.it) as client,
    ):
        for stream in (False, True):
            status, body = asking(client)("gpt-5", stream)
            assert status == 200 and b"from second" in body and b"unavailable" not in body
        assert asked == [1, 3, 5, 7]  # one connection


def test_a_stream_of_http2_that_breaks_off_is_never_hidden(tmp_path: Path, ca: TestCa) -> None:
    """Bytes have left: the caller's stream is reset. A plain answer is asked for elsewhere."""
    does = {SECOND: well, host_of(("half", False)): half, host_of(("half", True)): half}
    with (
        h2_world(tmp_path, ca, does, policy_for([("half", False), ("half", True)])) as there,
        h2_client(there.it) as client,
    ):
        status, body = asking(client)("m-0", False)
        assert status == 200 and b"from second" in body
        got = b""
        with (
            pytest.raises(httpx.RemoteProtocolError),
            client.stream(
                "POST",
                f"https://{ORIGINAL}/v1/chat/completions",
                content=json.dumps({"model": "m-1", "messages": [], "stream": True}),
                headers={"content-type": "application/json"},
            ) as answer,
        ):
            for piece in answer.iter_raw():
                got += piece
        assert b"half of it" in got and b"from second" not in got
        assert len(there.targets[SECOND].requests) == 1
        record = there.it.proxy.records(2)[-1]
        assert record["outcome"] == "cut"
