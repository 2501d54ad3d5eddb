"""Anthropic beside messages: batches hold whole requests, counts cost nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import recognise
from penstock.wire.anthropic.other import (
    AnthropicBatches,
    AnthropicComplete,
    AnthropicCountTokens,
    AnthropicFiles,
)
from tests.wire.families import answered, destination, fixture, read, request, streamed, zone_of
from tests.wire.mutation import mutated

BATCH: dict[str, Any] = {
    "requests": [
        {"custom_id": "1", "params": fixture("anthropic/request.json")},
        {"custom_id": "2", "params": {"model": "claude-3-5-haiku-latest", "messages": []}},
    ]
}


def test_every_request_of_a_batch_is_read() -> None:
    exchange = read(AnthropicBatches(), "/v1/messages/batches", BATCH)
    assert zone_of(exchange.leaves, "You are a careful clerk.") == "system"
    assert zone_of(exchange.leaves, "for ada@example.org") == "tool_arguments"
    assert exchange.model is None, "two models are none"
    one = {"requests": BATCH["requests"][1:]}
    assert read(AnthropicBatches(), "/v1/messages/batches", one).model == "claude-3-5-haiku-latest"


def test_results_of_a_batch_are_read_as_text() -> None:
    family = AnthropicBatches()
    path = "/v1/messages/batches/msgbatch_1/results"
    asked = request(path, b"", "GET")
    assert family.recognise(asked, destination())
    exchange = family.read_request(asked, destination())
    lines = b'{"custom_id":"1","result":{}}\n{"custom_id":"2","result":{"text":"a secret"}}\n'
    _, leaves = answered(family, exchange, lines)
    assert any("a secret" in leaf.text for leaf in leaves)


def test_a_count_is_no_consumption() -> None:
    family = AnthropicCountTokens()
    exchange = read(family, "/v1/messages/count_tokens", fixture("anthropic/request.json"))
    answer, _ = answered(family, exchange, {"input_tokens": 43})
    assert (answer.usage.counted_tokens, answer.usage.input_tokens) == (43, None)
    vertex = "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict"
    asked = request(vertex, {"model": "claude-sonnet-4-5", "messages": []})
    assert recognise(asked, destination()).api == "anthropic.count_tokens"


def test_the_old_completion_is_read_plain_and_streamed() -> None:
    family = AnthropicComplete()
    body = {"model": "claude-2.1", "prompt": "\n\nHuman: How much?", "max_tokens_to_sample": 9}
    exchange = read(family, "/v1/complete", body)
    assert zone_of(exchange.leaves, "\n\nHuman: How much?") == "user"
    assert exchange.parameters == {"max_tokens": 9}
    whole = {"id": "c", "model": "claude-2.1", "completion": " 12.", "stop_reason": "stop_sequence"}
    plain, _ = answered(family, exchange, whole)
    events = [
        ("completion", {"type": "completion", "completion": " 1", "stop_reason": None}),
        ("ping", {"type": "ping"}),
        ("completion", {"type": "completion", **whole, "completion": "2."}),
    ]
    stream, grown, _ = streamed(family, exchange, events)
    assert stream.messages == plain.messages
    assert (stream.complete, stream.id) == (True, "c")
    assert grown[("completion",)] == " 12."


def test_an_error_event_of_the_old_completion_is_an_error() -> None:
    family = AnthropicComplete()
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    exchange = read(family, "/v1/complete", {"prompt": "x"})
    answer, _, _ = streamed(family, exchange, [("error", event)])
    assert answer.error is not None
    assert answer.error.type == "overloaded_error"


def test_an_uploaded_file_is_read_as_a_form() -> None:
    family = AnthropicFiles()
    form = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n'
        b"content-type: text/plain\r\n\r\na secret in a file\r\n--x--\r\n"
    )
    asked = request("/v1/files", form, host="api.anthropic.com")
    asked.headers = {"content-type": "multipart/form-data; boundary=x"}
    assert family.recognise(asked, destination("api.anthropic.com"))
    exchange = family.read_request(asked, destination("api.anthropic.com"))
    [leaf] = [leaf for leaf in exchange.leaves if leaf.text == "a secret in a file"]
    assert leaf.span is not None
    assert leaf.editable


def test_files_are_anthropics_only_where_host_or_header_say_so() -> None:
    asked = request("/v1/files", b"", host="api.openai.com")
    assert not AnthropicFiles().recognise(asked, destination("api.openai.com"))


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    for family, path in (
        (AnthropicBatches(), "/v1/messages/batches"),
        (AnthropicCountTokens(), "/v1/messages/count_tokens"),
        (AnthropicComplete(), "/v1/complete"),
    ):
        exchange = read(family, path, mutated(data, deepcopy(BATCH)))
        answered(family, exchange, mutated(data, {"completion": "x", "input_tokens": 1, "id": "a"}))
        event = mutated(data, {"type": "completion", "completion": "x", "stop_reason": None})
        streamed(family, exchange, [("completion", event)])
