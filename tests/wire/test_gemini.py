"""Gemini: both framings, both spellings, cumulative usage, and refusals as google.rpc.Status."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Exchange, HttpAnswer
from penstock.wire.gemini.generate import GenerateContent, StreamGenerateContent
from penstock.wire.stream import AnswerStream
from tests.wire.families import (
    LIMITED,
    REFUSED,
    answered,
    assert_whole,
    fixture,
    read,
    streamed,
    strings,
    zone_of,
)
from tests.wire.mutation import mutated
from tests.wire.scanners import StoppingScanner

PLAIN = GenerateContent()
STREAM = StreamGenerateContent()
PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
STREAM_PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
VERTEX = "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-pro:generateContent"


def _read() -> Exchange:
    return read(PLAIN, PATH, fixture("gemini/request.json"))


def _chunks() -> list[tuple[str | None, Any]]:
    return [(None, chunk) for chunk in fixture("gemini/chunks.json")]


def test_the_model_stands_in_the_path() -> None:
    assert _read().model == "gemini-2.5-flash"
    assert read(PLAIN, VERTEX, {}).model == "gemini-2.5-pro"
    tuned = read(PLAIN, "/v1/projects/p/locations/l/endpoints/4711:generateContent", {})
    assert tuned.model == "4711"


def test_a_request_is_read_into_the_common_model() -> None:
    exchange = _read()
    assert [message.role for message in exchange.messages] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    kinds = [part.kind for message in exchange.messages for part in message.parts]
    assert kinds == [
        "text", "text", "blob", "uri", "reasoning", "tool_call", "tool_result", "tool_result",
        "server_tool_call", "tool_result",
    ]  # fmt: skip
    assert [part.text for part in exchange.messages[3].parts] == ["Order 77: 12 EUR", "one clock"]
    assert [tool.name for tool in exchange.tools] == ["get_order", "builtin:googleSearch"]
    assert exchange.parameters == {"max_tokens": 512, "temperature": 0.2, "n": 1}
    assert exchange.references["cached_content"] == "cachedContents/0000aaaa1111"
    assert len(exchange.references["file_uris"]) == 1


def test_every_string_is_a_leaf() -> None:
    assert_whole(_read())


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("You are a careful clerk.", "system"),
        ("What does order 77 cost?", "user"),
        ("I should look it up.", "reasoning"),
        ("for ada@example.org", "tool_arguments"),
        ("Order 77: 12 EUR", "tool_result"),
        ("one clock", "tool_result"),
        ("print(12 * 2)", "tool_arguments"),
        ("24 euros", "tool_result"),
        ("the number", "tool_definition"),
        ("nobody knows this field", "other"),
    ],
)
def test_each_text_stands_in_its_zone(text: str, zone: str) -> None:
    assert zone_of(_read().leaves, text) == zone


def test_signatures_and_media_are_left_alone() -> None:
    leaves = {leaf.text: leaf for leaf in _read().leaves}
    assert not leaves["CpQCAVSoXO4wvq"].editable
    assert leaves["iVBORw0KGgo="].blob
    assert not leaves["iVBORw0KGgo="].editable


def test_plain_and_streamed_answers_mean_the_same() -> None:
    plain, _ = answered(PLAIN, _read(), fixture("gemini/answer.json"))
    exchange = read(STREAM, STREAM_PATH + "?alt=sse", fixture("gemini/request.json"))
    stream, grown, _ = streamed(STREAM, exchange, _chunks())
    stream.messages[0].parts[-1].arguments.pop("note")
    assert stream.messages == plain.messages
    assert stream.usage == plain.usage
    assert (stream.id, stream.model, stream.complete) == (plain.id, plain.model, True)
    assert grown[(0, "text")] == "It costs 12 EUR."
    assert grown[(0, "reasoning")] == "The tool said 12 EUR."
    assert {"as asked", "Rates"} <= set(grown.values())


def test_totals_count_thoughts_and_tool_use() -> None:
    answer, _ = answered(PLAIN, _read(), fixture("gemini/answer.json"))
    usage = answer.usage
    assert (usage.input_tokens, usage.input_total) == (1000, 1090)
    assert (usage.output_tokens, usage.reasoning_tokens, usage.output_total) == (100, 250, 350)
    assert usage.cache_read_tokens == 400


def test_a_stream_without_a_finish_reason_is_not_complete() -> None:
    answer, _, _ = streamed(STREAM, read(STREAM, STREAM_PATH, {}), _chunks()[:-1])
    assert not answer.complete


def test_a_blocked_prompt_has_its_reason() -> None:
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}}
    plain, _ = answered(PLAIN, _read(), body)
    stream, _, _ = streamed(STREAM, read(STREAM, STREAM_PATH, {}), [(None, body)])
    for answer in (plain, stream):
        assert [message.finish_reason for message in answer.messages] == ["BLOCKED:SAFETY"]
        assert answer.usage.input_tokens == 4


def test_an_error_in_an_array_or_in_a_stream_is_an_error() -> None:
    error = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
    plain, _ = answered(PLAIN, _read(), [error], 503)
    stream, _, _ = streamed(STREAM, read(STREAM, STREAM_PATH, {}), [(None, error)])
    for answer in (plain, stream):
        assert answer.error is not None
        assert (answer.error.type, answer.error.message) == ("UNAVAILABLE", "Overloaded.")


def test_code_assist_wraps_request_and_answer_once_more() -> None:
    """As the Gemini command line sends it: the body in ``request``, the answer in ``response``."""
    body = {"model": "gemini-2.5-pro", "request": fixture("gemini/request.json")}
    path = "/v1internal:streamGenerateContent?alt=sse"
    exchange = read(STREAM, path, body, "cloudcode-pa.googleapis.com")
    assert exchange.model == "gemini-2.5-pro"
    assert zone_of(exchange.leaves, "You are a careful clerk.") == "system"
    wrapped = [(None, {"response": chunk}) for _, chunk in _chunks()]
    answer, grown, _ = streamed(STREAM, exchange, wrapped)
    assert grown[(0, "text")] == "It costs 12 EUR."
    assert answer.usage.output_total == 350


def test_streamed_arguments_grow_by_their_path() -> None:
    """Vertex, ``streamFunctionCallArguments``: pieces with a JSON path each."""

    def chunk(**call: Any) -> tuple[None, Any]:
        return None, {"candidates": [{"content": {"parts": [{"functionCall": call}]}}]}

    answer, grown, deltas = streamed(
        STREAM,
        read(STREAM, STREAM_PATH, {}),
        [
            chunk(
                name="weather",
                partialArgs=[{"jsonPath": "$.city", "stringValue": "New ", "willContinue": True}],
                willContinue=True,
            ),
            chunk(partialArgs=[{"jsonPath": "$.city", "stringValue": "Delhi"}], willContinue=True),
            chunk(partialArgs=[{"jsonPath": "$.days", "numberValue": 3}], willContinue=False),
        ],
    )
    call = answer.messages[0].parts[0]
    assert (call.name, call.arguments) == ("weather", {"$.city": "New Delhi", "$.days": 3})
    assert "New Delhi" in grown.values()
    assert {delta.channel.zone for delta in deltas} == {"tool_arguments"}


@pytest.mark.parametrize(
    ("path", "content_type", "start", "framing"),
    [
        ("?alt=sse", "text/event-stream", b"data: {", "sse"),
        ("?alt=sse", "text/event-stream", b'{"error": {', "none"),
        ("?alt=sse", "", b"data: {", "sse"),
        ("", "application/json; charset=UTF-8", b'[{"candidates"', "json_array"),
        ("", "application/json; charset=UTF-8", b"", "json_array"),
        ("", "application/json; charset=UTF-8", b'{"error": {', "none"),
        ("", "text/event-stream", b"data: {", "sse"),
    ],
)
def test_the_framing_is_what_the_bytes_show(
    path: str, content_type: str, start: bytes, framing: str
) -> None:
    exchange = read(STREAM, STREAM_PATH + path, {})
    answer = HttpAnswer(200, {"content-type": content_type})
    assert STREAM.framing(exchange, answer, start) == framing


def test_a_refusal_is_a_status_object() -> None:
    denied = json.loads(PLAIN.refusal(REFUSED).body)["error"]
    assert (denied["code"], denied["status"]) == (403, "PERMISSION_DENIED")
    assert denied["message"] == "Refused by rule r."
    limited = json.loads(PLAIN.refusal(LIMITED).body)["error"]
    assert (limited["code"], limited["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert limited["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": "12s",
    }


def test_a_refusal_in_a_stream_keeps_its_framing() -> None:
    sse = read(STREAM, STREAM_PATH + "?alt=sse", {})
    event = STREAM.stream_refusal(sse, REFUSED)
    assert event.endswith(b"\r\n\r\n")
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == 403
    array = read(STREAM, STREAM_PATH, {})
    assert json.loads(STREAM.stream_refusal(array, REFUSED))[0]["error"]["code"] == 403
    answer, _, _ = streamed(STREAM, array, _chunks())
    answer.events_sent = len(_chunks())
    begun = json.dumps(fixture("gemini/chunks.json"))[:-1].encode()
    assert json.loads(begun + STREAM.stream_refusal(array, REFUSED))[-1]["error"]["code"] == 403


@pytest.mark.parametrize("step", [1, 50, 100_000])
@pytest.mark.parametrize("word", ["The tool", "costs", "Rates"])
def test_an_array_stopped_anywhere_is_still_an_array(word: str, step: int) -> None:
    """Stopped at the first element the bracket has to be opened, later it has to be closed."""
    exchange = read(STREAM, STREAM_PATH, {})
    stream = AnswerStream(exchange, STREAM, "json_array", lambda channel: StoppingScanner(word))
    raw = json.dumps(fixture("gemini/chunks.json")).encode()
    sent = b""
    for start in range(0, len(raw), step):
        sent += b"".join(stream.feed(raw[start : start + step]))
    sent += b"".join(stream.end())
    assert stream.stopped is not None
    *passed, last = json.loads(sent)
    assert passed == fixture("gemini/chunks.json")[: len(passed)]
    assert last["error"]["status"] == "PERMISSION_DENIED"


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(PLAIN, PATH, mutated(data, fixture("gemini/request.json")))
    answered(PLAIN, exchange, mutated(data, fixture("gemini/answer.json")))
    chunks = data.draw(st.lists(st.sampled_from(_chunks()), min_size=1, max_size=6))
    streamed(STREAM, exchange, [(None, mutated(data, deepcopy(chunk))) for _, chunk in chunks])


def test_every_string_of_an_answer_is_a_leaf() -> None:
    document = fixture("gemini/answer.json")
    _, leaves = answered(PLAIN, _read(), document)
    assert set(strings(document)) <= {leaf.text for leaf in leaves}
    assert zone_of(leaves, "Rates") == "tool_result"
    assert zone_of(leaves, "It costs 12 EUR.") == "assistant"
