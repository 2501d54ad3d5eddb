"""Anthropic Messages: plain and streamed forms mean the same, and every string is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest, Leaf
from penstock.wire.anthropic.messages import AnthropicMessages
from penstock.wire.family import Delta, Refusal
from tests.wire.mutation import mutated

FIXTURES = Path(__file__).parent / "fixtures" / "anthropic"
FAMILY = AnthropicMessages()
HERE = Destination("api.anthropic.com", 443, "anthropic", "llm_api", known=True)
VERTEX = (
    "/v1/projects/p/locations/us-east5/publishers/anthropic/models/"
    "claude-sonnet-4-5%4020250929:streamRawPredict"
)


def _request(body: bytes, path: str = "/v1/messages?beta=true") -> HttpRequest:
    return HttpRequest("POST", "https", HERE.host, 443, path, {}, body)


def _read(body: bytes | None = None, path: str = "/v1/messages") -> Exchange:
    body = (FIXTURES / "request.json").read_bytes() if body is None else body
    return FAMILY.read_request(_request(body, path), HERE)


def _events(transcript: str) -> list[tuple[str, Any]]:
    events = []
    for block in transcript.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def _stream(events: list[tuple[str, Any]]) -> tuple[Exchange, list[Delta]]:
    exchange = _read()
    reader = FAMILY.answer_reader(exchange)
    deltas = [delta for name, document in events for delta in reader.event(name, document)]
    reader.end()
    return exchange, deltas


def _plain(body: bytes, status: int = 200) -> tuple[Exchange, list[Leaf]]:
    exchange = _read()
    return exchange, FAMILY.read_answer(exchange, HttpAnswer(status, {}, body))


def _streamed_fixture() -> tuple[Exchange, list[Delta]]:
    return _stream(_events((FIXTURES / "stream.sse").read_text()))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value
    return (
        [text for child in children for text in _strings(child)]
        if isinstance(value, dict | list)
        else []
    )


def _leaf(leaves: list[Leaf], text: str) -> Leaf:
    return next(leaf for leaf in leaves if leaf.text == text)


def test_the_path_is_recognised_at_anthropic_behind_a_prefix_and_on_vertex() -> None:
    for path in ("/v1/messages", "/anthropic/v1/messages?beta=true", VERTEX):
        assert FAMILY.recognise(_request(b"{}", path), HERE)
    for path in ("/v1/messages/batches", "/v1/threads/t/messages", "/v1/messagesx"):
        assert not FAMILY.recognise(_request(b"{}", path), HERE)


def test_a_request_is_read_into_the_common_model() -> None:
    exchange = _read()
    assert (exchange.model, exchange.stream, exchange.problem) == ("claude-sonnet-4-5", True, None)
    roles = [message.role for message in exchange.messages]
    assert roles == ["system", "user", "assistant", "user"]
    call = exchange.messages[2].parts[-1]
    assert (call.kind, call.name, call.arguments["id"]) == ("tool_call", "get_order", 77)
    result = exchange.messages[3].parts[0]
    assert (result.kind, result.text) == ("tool_result", "Order 77: 12 EUR")
    assert [tool.name for tool in exchange.tools] == ["get_order", "web_search", "mcp:wiki"]
    assert exchange.tools[2].server_url == "https://mcp.example.org/mcp"
    assert exchange.references["file_ids"] == ["file_011CNha8iCJcU1wXNR6q4V8w"]
    assert exchange.parameters["max_tokens"] == 1024


def test_every_string_is_a_leaf_and_the_image_is_no_text() -> None:
    exchange = _read()
    seen = {leaf.text for leaf in exchange.leaves}
    assert set(_strings(exchange.document)) - seen == {"cGFzc3dvcmQgaHVudGVyMg=="}
    assert [leaf.text for leaf in exchange.leaves if leaf.blob] == ["iVBORw0KGgo="]
    assert "password hunter2" in seen, "base64 of a text type is shown decoded"


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("You are a careful clerk.", "system"),
        ("What does order 77 cost?", "user"),
        ("I should look it up.", "reasoning"),
        ("Let me look.", "assistant"),
        ("for ada@example.org", "tool_arguments"),
        ("Order 77: 12 EUR", "tool_result"),
        ("Looks an order up.", "tool_definition"),
        ("the number", "tool_definition"),
        ("an unknown block", "user"),
        ("nobody knows this field", "other"),
        ("user-4711", "other"),
    ],
)
def test_each_text_stands_in_its_zone(text: str, zone: str) -> None:
    leaf = _leaf(_read().leaves, text)
    assert leaf.zone == zone


@pytest.mark.parametrize(
    "start", ["I should look it up.", "EqQBCgIYAhIM1gbcDa9GJ", "EmwKAhgB", "password", "token-of"]
)
def test_what_is_signed_encrypted_or_decoded_cannot_be_edited(start: str) -> None:
    leaf = next(leaf for leaf in _read().leaves if leaf.text.startswith(start))
    assert not leaf.editable


def test_plain_and_streamed_answers_mean_the_same() -> None:
    plain, _ = _plain((FIXTURES / "answer.json").read_bytes())
    streamed, _ = _streamed_fixture()
    assert plain.answer is not None
    assert streamed.answer is not None
    assert plain.answer.messages == streamed.answer.messages
    assert plain.answer.usage == streamed.answer.usage
    assert (streamed.answer.id, streamed.answer.model) == (plain.answer.id, plain.answer.model)
    assert streamed.answer.complete


def test_usage_totals_include_the_cache_and_the_last_value_wins() -> None:
    exchange, _ = _streamed_fixture()
    assert exchange.answer is not None
    usage = exchange.answer.usage
    assert (usage.input_tokens, usage.input_total) == (100, 7100)
    assert (usage.output_tokens, usage.cache_write_tokens) == (300, 2000)
    assert usage.raw is not None
    assert usage.raw["cache_creation"]["ephemeral_1h_input_tokens"] == 500


def test_every_growing_text_is_a_delta_at_its_place() -> None:
    events = _events((FIXTURES / "stream.sse").read_text())
    reader = FAMILY.answer_reader(_read())
    grown: dict[tuple[str | int, ...], str] = {}
    for name, document in events:
        for delta in reader.event(name, document):
            value = document
            for step in delta.path:
                value = value[step]
            assert value == delta.text or (delta.last and not delta.text)
            key = delta.channel.key
            grown[key] = grown.get(key, "") + delta.text
    assert grown[(0, "thinking")] == "The tool said 12 EUR."
    assert grown[(1, "text")] == "It costs 12 EUR."
    assert grown[(2, "partial_json")] == '{"id": 78}'
    assert "12 EUR" in grown.values(), "the cited text"
    assert "Rates" in grown.values(), "the result of the provider's own tool"
    assert not any("Eq" in text or "EuAQ" in text for text in grown.values()), "sealed"


def test_argument_pieces_are_json_inside_json() -> None:
    _, deltas = _streamed_fixture()
    pieces = [delta for delta in deltas if delta.channel.key == (2, "partial_json")]
    assert pieces
    assert all(delta.channel.nested for delta in pieces)
    assert {delta.channel.zone for delta in pieces} == {"tool_arguments"}


def test_a_stream_without_its_end_is_not_complete() -> None:
    events = _events((FIXTURES / "stream.sse").read_text())[:-1]
    exchange, _ = _stream(events)
    assert exchange.answer is not None
    assert not exchange.answer.complete
    assert exchange.answer.usage.output_tokens == 300


def test_an_error_inside_a_stream_is_an_error() -> None:
    """Documented under "Error events": overloaded_error after a 200."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    exchange, _ = _stream([*_events((FIXTURES / "stream.sse").read_text())[:5], ("error", error)])
    assert exchange.answer is not None
    assert exchange.answer.error is not None
    assert exchange.answer.error.type == "overloaded_error"
    assert not exchange.answer.complete


def test_a_529_is_read_as_overloaded() -> None:
    body = (
        b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},'
        b'"request_id":"req_011CSHoEeqs5C35K2UUqR7Fy"}'
    )
    exchange, leaves = _plain(body, 529)
    assert exchange.answer is not None
    assert exchange.answer.error is not None
    assert (exchange.answer.status, exchange.answer.error.type) == (529, "overloaded_error")
    assert "Overloaded" in {leaf.text for leaf in leaves}


def test_a_refusal_stop_carries_its_explanation() -> None:
    """Documented under "Handling stop reasons": refusal with stop_details."""
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_details": {"explanation": "Not this."}},
        "usage": {"output_tokens": 2},
    }
    exchange, deltas = _stream([("message_delta", delta)])
    assert deltas[0].channel.zone == "refusal"
    plain, _ = _plain(json.dumps(delta["delta"]).encode())
    for read in (exchange, plain):
        assert read.answer is not None
        assert read.answer.messages == [] or read.answer.messages[0].finish_reason == "refusal"
    assert plain.answer is not None
    assert plain.answer.messages[0].parts[-1].text == "Not this."


def test_on_vertex_model_and_streaming_stand_in_the_path() -> None:
    body = b'{"anthropic_version":"vertex-2023-10-16","messages":[],"max_tokens":1}'
    exchange = _read(body, VERTEX)
    assert (exchange.model, exchange.stream) == ("claude-sonnet-4-5@20250929", True)
    plain = _read(body, VERTEX.replace("streamRawPredict", "rawPredict"))
    assert not plain.stream


@pytest.mark.parametrize(
    ("content_type", "start", "framing"),
    [
        ("text/event-stream; charset=utf-8", b"event: message_start", "sse"),
        ("", b"event: message_start", "sse"),
        ("application/json", b'{"type":', "none"),
        ("text/event-stream", b'{"type":"error"', "none"),
        ("text/event-stream", b"", "sse"),
        ("application/json", b"", "none"),
    ],
)
def test_the_framing_is_sniffed(content_type: str, start: bytes, framing: str) -> None:
    answer = HttpAnswer(200, {"content-type": content_type})
    assert FAMILY.framing(_read(), answer, start) == framing


@pytest.mark.parametrize(("status", "kind"), [(403, "permission_error"), (429, "rate_limit_error")])
def test_a_refusal_has_the_shape_of_an_anthropic_error(status: int, kind: str) -> None:
    refusal = Refusal(status, "policy_denied", "Refused by rule r.", "r", "01J", 5.0)
    answer = FAMILY.refusal(refusal)
    assert answer.status == status
    assert json.loads(answer.body) == {
        "type": "error",
        "error": {"type": kind, "message": "Refused by rule r."},
        "request_id": "01J",
    }
    assert answer.headers["penstock-decision"] == "deny; rule=r; id=01J"


def test_a_refusal_in_a_stream_is_the_error_event_and_the_end() -> None:
    refusal = Refusal(403, "policy_denied", "Stopped.", "r", "01J")
    events = _events(FAMILY.stream_refusal(_read(), refusal).decode())
    assert [name for name, _ in events] == ["error", "message_stop"]
    assert events[0][1]["error"] == {"type": "permission_error", "message": "Stopped."}


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_a_broken_body_is_an_exchange_and_an_answer_all_the_same(body: bytes) -> None:
    exchange = _read(body)
    assert exchange.api == "anthropic.messages"
    assert (exchange.problem is None) == (body in (b"", b"[]", b"7", b'"x"'))
    FAMILY.read_answer(exchange, HttpAnswer(200, {}, body))


@given(st.data())
def test_no_wrong_type_anywhere_in_a_request_raises(data: st.DataObject) -> None:
    document = mutated(data, json.loads((FIXTURES / "request.json").read_bytes()))
    exchange = _read(json.dumps(document).encode())
    assert exchange.problem is None


@given(st.data())
def test_no_wrong_type_anywhere_in_an_answer_raises(data: st.DataObject) -> None:
    document = mutated(data, json.loads((FIXTURES / "answer.json").read_bytes()))
    exchange, _ = _plain(json.dumps(document).encode())
    assert exchange.answer is not None


@given(st.data())
def test_no_wrong_type_or_order_in_a_stream_raises(data: st.DataObject) -> None:
    events = _events((FIXTURES / "stream.sse").read_text())
    events = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=12))
    events = json.loads(json.dumps(events))
    events[0][1] = mutated(data, events[0][1])
    exchange, _ = _stream([(name, document) for name, document in events])
    assert exchange.answer is not None
