"""The fault matrix for the other two formats: Anthropic's messages and Gemini's contents.

Every way to fail, plain and streamed, on one running proxy for each format; OpenAI's is
test_failover.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.raw import Client, Script, TestCa
from tests.route import world as w
from tests.route.test_failover import FAULTS
from tests.route.test_failover_ways import (
    ERROR_EVENT,
    WRONG_NAME,
    cases_of,
    check_matrix,
    host_of,
    hosts_of,
)
from tests.route.world import SECOND, Does, world

# The budget: ten further attempts, and one for ten calls; each format has some two dozen cases.
GOOD_CALLS = 160


def event(document: Mapping[str, Any]) -> bytes:
    """One event; Anthropic's are named after their type."""
    name = f"event: {document['type']}\n" if "type" in document else ""
    return f"{name}data: {json.dumps(document)}\n\n".encode()


@dataclass(frozen=True)
class Api:
    """How one API is called and how it answers. ``{}`` in a path is the model."""

    host: str
    plain_path: str
    stream_path: str
    document: Mapping[str, Any]
    answer: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    error: Mapping[str, Any]
    key: bytes

    def request(self, model: str, stream: bool) -> tuple[str, bytes]:
        """Path and body of a call."""
        path = (self.stream_path if stream else self.plain_path).format(model)
        body = dict(self.document)
        if "model" in body:
            body |= {"model": model} | ({"stream": True} if stream else {})
        return path, json.dumps(body).encode()

    def streams(self, request: bytes) -> bool:
        """Whether a request asked for a stream."""
        return b'"stream": true' in request or b":streamGenerateContent" in request

    def serves(self, connection: socket.socket, request: bytes, _number: int) -> bool:
        """Answers well."""
        if self.streams(request):
            body = b"".join(w.chunk(event(one)) for one in self.events)
            connection.sendall(w.STREAM_HEAD + body + b"0\r\n\r\n")
        else:
            connection.sendall(w.http(200, json.dumps(self.answer).encode()))
        return True

    def error_first(self, connection: socket.socket, _request: bytes, _number: int) -> bool:
        """A stream whose first event is the API's error."""
        body = w.chunk(b": ping\n\n") + w.chunk(event(self.error))
        connection.sendall(w.STREAM_HEAD + body + b"0\r\n\r\n")
        return True

    def half(self, connection: socket.socket, request: bytes, _number: int) -> bool:
        """A plain answer that breaks off."""
        connection.sendall(w.http(200, json.dumps(self.answer).encode())[:-20])
        return False


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
           "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}  # fmt: skip
TEXT = {"type": "text", "text": "from second"}
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "from second"}]}, "index": 0}
APIS = {
    "anthropic": Api(
        "api.anthropic.com",
        "/v1/messages",
        "/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        {**MESSAGE, "content": [TEXT], "stop_reason": "end_turn"},
        (
            {"type": "message_start", "message": MESSAGE},
            {"type": "content_block_start", "index": 0, "content_block": {**TEXT, "text": ""}},
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "text_delta", "text": "from second"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
             "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ),
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        b"x-api-key: callers\r\nanthropic-version: 2023-06-01\r\n",
    ),
    "gemini": Api(
        "generativelanguage.googleapis.com",
        "/v1beta/models/{}:generateContent",
        "/v1beta/models/{}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        {"candidates": [{**CANDIDATE, "finishReason": "STOP"}],
         "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
        (
            {"candidates": [CANDIDATE]},
            {"candidates": [{"finishReason": "STOP", "index": 0}],
             "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
        ),
        {"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}},
        b"x-goog-api-key: callers\r\n",
    ),
}  # fmt: skip


def policy_for(cases: list[tuple[str, bool]]) -> str:
    """A route for each case, by its model; targets without a path of their own."""
    rules = [
        f"""
  - id: r-{number}
    route:
      models: [m-{number}]
      attempt_timeout: 1s
      to: [{{url: "https://{host_of(case)}"}}, {{url: "https://{SECOND}", priority: 2}}]"""
        for number, case in enumerate(cases)
    ]
    good = f"""
  - id: good
    route: {{models: [good], to: [{{url: "https://{SECOND}"}}]}}
"""
    return "version: 1\nrules:" + "".join(rules) + good


@pytest.mark.parametrize("name", APIS)
def test_every_fault_in_every_format(tmp_path: Path, ca: TestCa, name: str) -> None:
    """The caller gets the second target's whole answer; the first one's failure is a row."""
    api = APIS[name]
    wrong_name: Script = api.serves
    faults: dict[str, tuple[Does, str, str]] = {
        **FAULTS,
        "stall after head": (w.stalls_after_head, "first_byte_timeout", "possibly"),
        ERROR_EVENT: (api.error_first, "error_event", "no"),
        "TLS failure": (wrong_name, "upstream_certificate", "no"),
    }
    cases = cases_of(faults, first_streamed=True)
    cases += [case for case in cases_of(faults, first_streamed=False) if case not in cases]
    hosts = {SECOND: api.serves} | hosts_of(faults, cases)
    with (
        world(tmp_path, ca, hosts, policy_for(cases), contexts=WRONG_NAME) as it,
        it.client(api.host) as client,
    ):

        def ask(model: str, stream: bool) -> tuple[int, bytes]:
            path, body = api.request(model, stream)
            client.post(api.host, path, body, api.key)
            answer = client.answer()
            return (answer.status if answer.complete else 0), answer.body

        check_matrix(faults, cases, ask, it.proxy, event(api.events[-1]), GOOD_CALLS)
        assert b"callers" not in b"".join(it.upstreams[SECOND].requests)


@pytest.mark.parametrize("name", APIS)
def test_a_plain_answer_that_breaks_off(tmp_path: Path, ca: TestCa, name: str) -> None:
    """It is whole before its first byte leaves."""
    api = APIS[name]
    policy = """
version: 1
rules:
  - id: r
    route: {to: [{url: "https://first.example"}, {url: "https://second.example", priority: 2}]}
"""
    hosts: dict[str, Does] = {w.FIRST: api.half, SECOND: api.serves}
    with world(tmp_path, ca, hosts, policy) as it, it.client(api.host) as client:
        assert isinstance(client, Client)
        path, body = api.request("m", stream=False)
        client.post(api.host, path, body, api.key)
        answer = client.answer()
        assert answer.complete and b"from second" in answer.body
        assert it.attempts()[0][2] == "possibly"
