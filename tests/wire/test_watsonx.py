"""watsonx.ai and Aleph Alpha: running totals, and reasons that are no reason."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.watsonx import AlephAlphaComplete, Generation, GenerationStream
from tests.wire.families import LIMITED, answered, assert_whole, read, streamed, zone_of
from tests.wire.mutation import mutated

PLAIN, STREAM = Generation(), GenerationStream()
BODY: dict[str, Any] = {
    "model_id": "ibm/granite-3-8b-instruct",
    "input": "How much?",
    "project_id": "p",
    "parameters": {"max_new_tokens": 9},
}


def _result(text: str, count: int, given_count: int, reason: str) -> dict[str, Any]:
    result = {
        "generated_text": text,
        "generated_token_count": count,
        "input_token_count": given_count,
        "stop_reason": reason,
    }
    return {"model_id": "ibm/granite-3-8b-instruct", "results": [result]}


EVENTS = [
    _result("", 0, 8, "not_finished"),
    _result("It costs ", 2, 0, "not_finished"),
    _result("12 EUR.", 5, 0, "eos_token"),
]


def test_plain_and_streamed_answers_mean_the_same() -> None:
    exchange = read(PLAIN, "/ml/v1/text/generation?version=2024-02-15", BODY)
    assert_whole(exchange)
    assert zone_of(exchange.leaves, "How much?") == "user"
    plain, _ = answered(PLAIN, exchange, _result("It costs 12 EUR.", 5, 8, "eos_token"))
    streaming = read(STREAM, "/ml/v1-beta/generation/text_stream", BODY)
    stream, grown, _ = streamed(STREAM, streaming, [("message", event) for event in EVENTS])
    assert streaming.stream
    assert stream.messages == plain.messages
    assert stream.usage == plain.usage
    assert (stream.usage.input_total, stream.usage.output_total) == (8, 5)
    assert stream.complete
    assert grown[("generated_text",)] == "It costs 12 EUR."


def test_not_finished_is_no_end() -> None:
    streaming = read(STREAM, "/ml/v1/text/generation_stream", BODY)
    answer, _, _ = streamed(STREAM, streaming, [("message", event) for event in EVENTS[:-1]])
    assert (answer.complete, answer.messages[0].finish_reason) == (False, None)


def test_errors_are_a_list_read_and_said() -> None:
    exchange = read(PLAIN, "/ml/v1/text/generation", BODY)
    body = {"errors": [{"code": "model_not_supported", "message": "No."}]}
    answer, _ = answered(PLAIN, exchange, body, 404)
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == ("model_not_supported", "No.")
    said = json.loads(PLAIN.refusal(LIMITED).body)
    assert said["errors"] == [{"code": "rate_limit_exceeded", "message": "Wait a little."}]


def test_aleph_alpha_takes_a_text_or_a_list_of_items() -> None:
    family = AlephAlphaComplete()
    items = [{"type": "text", "data": "How much?"}, {"type": "image", "data": "aGk="}]
    exchange = read(family, "/complete", {"model": "luminous-base", "prompt": items})
    assert [part.text for part in exchange.messages[0].parts] == ["How much?"]
    plain = read(family, "/complete", {"model": "luminous-base", "prompt": "How much?"})
    assert [part.text for part in plain.messages[0].parts] == ["How much?"]
    body = {
        "completions": [{"completion": "12", "finish_reason": "end_of_text"}],
        "num_tokens_prompt_total": 4,
        "num_tokens_generated": 1,
    }
    answer, _ = answered(family, exchange, body)
    assert (answer.messages[0].text(), answer.usage.input_total) == ("12", 4)


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(PLAIN, "/ml/v1/text/generation", mutated(data, deepcopy(BODY)))
    answered(PLAIN, exchange, mutated(data, deepcopy(EVENTS[-1])))
    streamed(STREAM, exchange, [(None, mutated(data, deepcopy(event))) for event in EVENTS])
    family = AlephAlphaComplete()
    read(family, "/complete", mutated(data, {"prompt": [{"type": "text", "data": "x"}]}))
    answered(family, exchange, mutated(data, {"completions": [{"completion": "x"}]}))
