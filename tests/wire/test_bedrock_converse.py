"""Bedrock Converse: plain and streamed mean the same; exceptions inside a stream are errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Exchange, HttpAnswer
from penstock.wire.bedrock.converse import Converse, ConverseStream, CountTokens
from penstock.wire.family import Refusal
from penstock.wire.framing.eventstream import FrameParser
from tests.wire.families import (
    LIMITED,
    REFUSED,
    answered,
    fixture,
    read,
    streamed,
    strings,
    zone_of,
)
from tests.wire.mutation import mutated

PLAIN, STREAM = Converse(), ConverseStream()
MODEL = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"


def _read() -> Exchange:
    return read(PLAIN, MODEL + "/converse", fixture("bedrock/request.json"))


def _stream() -> Exchange:
    return read(STREAM, MODEL + "/converse-stream", fixture("bedrock/request.json"))


def _events() -> list[tuple[str | None, Any]]:
    return [(name, event) for name, event in fixture("bedrock/events.json")]


def test_the_model_is_decoded_from_the_path_also_as_an_arn() -> None:
    assert _read().model == "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    arn = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/converse"
    named = "arn:aws:bedrock:us-east-1:1:inference-profile/us.x"
    assert read(PLAIN, arn, {}).model == named


def test_a_request_is_read_into_the_common_model() -> None:
    exchange = _read()
    kinds = [part.kind for message in exchange.messages for part in message.parts]
    assert kinds == [
        "text", "text", "blob", "blob", "uri", "reasoning", "tool_call", "tool_result",
        "tool_result",
    ]  # fmt: skip
    assert [tool.name for tool in exchange.tools] == ["get_order"]
    assert exchange.parameters == {"max_tokens": 512, "temperature": 0.2}
    assert exchange.references == {"guardrail": "gr-1", "file_uris": ["s3://bucket/far.pdf"]}


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("You are a careful clerk.", "system"),
        ("What does order 77 cost?", "user"),
        ("password hunter2", "user"),
        ("I should look it up.", "reasoning"),
        ("for ada@example.org", "tool_arguments"),
        ("Order 77: 12 EUR", "tool_result"),
        ("the ledger", "tool_result"),
        ("the number", "tool_definition"),
        ("nobody knows this field", "other"),
    ],
)
def test_each_text_stands_in_its_zone(text: str, zone: str) -> None:
    assert zone_of(_read().leaves, text) == zone


def test_every_string_is_a_leaf_and_signed_thoughts_stay() -> None:
    exchange = _read()
    leaves = {leaf.text: leaf for leaf in exchange.leaves}
    assert set(strings(exchange.document)) - set(leaves) == {"cGFzc3dvcmQgaHVudGVyMg=="}
    assert not leaves["I should look it up."].editable
    assert not leaves["EpMCCl0IDRAB"].editable
    assert leaves["iVBORw0KGgo="].blob


def test_plain_and_streamed_answers_mean_the_same() -> None:
    plain, _ = answered(PLAIN, _read(), fixture("bedrock/answer.json"))
    stream, grown, deltas = streamed(STREAM, _stream(), _events())
    assert stream.messages == plain.messages
    assert stream.usage == plain.usage
    assert (stream.usage.input_tokens, stream.usage.input_total) == (100, 350)
    assert grown[(1, "text")] == "It costs 12 EUR."
    assert grown[(2, "input")] == '{"id": 78}'
    assert all(delta.channel.nested for delta in deltas if delta.channel.key == (2, "input"))
    assert stream.complete


def test_the_padding_and_the_signature_are_no_texts_to_change() -> None:
    _, grown, _ = streamed(STREAM, _stream(), _events())
    assert not any(text.startswith(("abc", "Ep")) for text in grown.values() if text)


@pytest.mark.parametrize(
    "name", ["throttlingException", "modelStreamErrorException", "internalServerException"]
)
def test_an_exception_frame_inside_a_stream_is_an_error(name: str) -> None:
    events = [*_events()[:3], (name, {"message": "Too many requests"})]
    answer, _, _ = streamed(STREAM, _stream(), events)
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == (name, "Too many requests")
    assert not answer.complete


def test_an_error_is_named_by_its_header() -> None:
    named = "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/"
    answer, _ = answered(PLAIN, _read(), {"message": "No."}, 400, x_amzn_errortype=named)
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == ("ValidationException", "No.")
    coral = {"__type": "com.amazon.coral.service#ThrottlingException", "Message": "Slow down."}
    answer, _ = answered(PLAIN, _read(), coral, 429)
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == ("ThrottlingException", "Slow down.")


def test_an_error_to_a_streamed_call_is_plain() -> None:
    exchange = _stream()
    assert STREAM.framing(exchange, HttpAnswer(400, {}), b'{"message"') == "none"
    assert STREAM.framing(exchange, HttpAnswer(200, {}), b"\x00\x00\x00\x89") == "aws_eventstream"


def test_counting_is_no_consumption() -> None:
    family = CountTokens()
    body = {"input": {"converse": fixture("bedrock/request.json")}}
    exchange = read(family, MODEL + "/count-tokens", body)
    assert zone_of(exchange.leaves, "You are a careful clerk.") == "system"
    answer, _ = answered(family, exchange, {"inputTokens": 375})
    assert (answer.usage.counted_tokens, answer.usage.input_tokens) == (375, None)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (REFUSED, "AccessDeniedException"),
        (LIMITED, "ThrottlingException"),
        (Refusal(429, "insufficient_quota", "Spent.", "r", "01J", 7200.0),
         "ServiceQuotaExceededException"),
    ],
)  # fmt: skip
def test_a_refusal_is_an_aws_error(refusal: Refusal, kind: str) -> None:
    answer = PLAIN.refusal(refusal)
    assert answer.headers["x-amzn-errortype"] == kind
    assert json.loads(answer.body) == {"message": refusal.message}


def test_a_refusal_in_a_stream_is_an_exception_frame() -> None:
    parser = FrameParser()
    [frame] = parser.feed(STREAM.stream_refusal(_stream(), REFUSED))
    assert (parser.problem, frame.name) == (None, "validationException")
    assert frame.headers[":message-type"] == "exception"
    assert json.loads(frame.data or b"") == {"message": "Refused by rule r."}


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(PLAIN, MODEL + "/converse", mutated(data, fixture("bedrock/request.json")))
    answered(PLAIN, exchange, mutated(data, fixture("bedrock/answer.json")))
    events = data.draw(st.lists(st.sampled_from(_events()), min_size=1, max_size=8))
    streamed(STREAM, exchange, [(name, mutated(data, event)) for name, event in events])
