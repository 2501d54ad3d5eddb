"""Flow files: each HTTP flow is one recorded exchange, bodies as on the wire."""

from __future__ import annotations

import base64
import io

import pytest
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from penstock.proxy.flowfile import flow_lines


def test_bodies_are_taken_raw_and_flows_without_an_answer_are_kept() -> None:
    file = io.BytesIO()
    answered, unanswered = tflow.tflow(resp=True), tflow.tflow()
    assert answered.response is not None
    answered.response.headers["Content-Encoding"] = "gzip"
    answered.response.raw_content = b"\x1f\x8bnot really"
    for flow in (answered, unanswered, tflow.ttcpflow()):
        FlowWriter(file).add(flow)
    file.seek(0)
    first, second = flow_lines(file)
    assert base64.b64decode(first["response"]["body"]) == b"\x1f\x8bnot really"
    assert first["response"]["headers"]["content-encoding"] == "gzip"
    assert first["id"] == answered.id and "response" not in second


def test_a_broken_file_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a flow file"):
        list(flow_lines(io.BytesIO(b"12:nonsense")))


@pytest.mark.parametrize("word", [b"response", b"sockname", b"proxy_mode", b"timestamp_start"])
def test_a_damaged_file_is_a_value_error_after_what_could_be_read(word: bytes) -> None:
    file = io.BytesIO()
    for flow in (tflow.tflow(resp=True), tflow.twebsocketflow()):
        FlowWriter(file).add(flow)
    good = file.getvalue()
    at = good.rindex(word)
    damaged = flow_lines(io.BytesIO(good[:at] + b"x" + good[at + 1 :]))
    assert "request" in next(damaged)
    with pytest.raises(ValueError, match="damaged"):
        list(damaged)
