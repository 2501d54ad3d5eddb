"""Log probabilities are summed where an answer carries them, plain and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Exchange, HttpAnswer
from penstock.wire import family_of
from penstock.wire.stream import AnswerStream

TOKENS = [{"logprob": -0.5}, {"logprob": -1.5}, {"logprob": -9999.0}]


def chunk(text: str, tokens: Any) -> Any:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": tokens}}
    return {"choices": [choice]}


PLACE = {"output_index": 0, "content_index": 0, "logprobs": TOKENS}
CHAT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "abc"},
                     "logprobs": {"content": TOKENS}, "finish_reason": "stop"}]}  # fmt: skip
LEGACY = {
    "choices": [{"index": 0, "text": "abc", "logprobs": {"token_logprobs": [-0.5, None, -1.5]}}]
}
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "output": [
    {"type": "message", "role": "assistant", "content": [
        {"type": "output_text", "text": "abc", "logprobs": TOKENS}]}]}  # fmt: skip
GEMINI = {
    "candidates": [
        {"content": {"parts": [{"text": "abc"}]}, "avgLogprobs": -1.0, "finishReason": "STOP"}
    ]
}


@pytest.mark.parametrize(
    ("api", "document"),
    [("openai.chat_completions", CHAT), ("openai.completions", LEGACY),
     ("openai.responses", RESPONSE), ("google.generate_content", GEMINI)],
)  # fmt: skip
def test_plain(api: str, document: Any) -> None:
    exchange = Exchange(api)
    head = {"content-type": "application/json"}
    family_of(api).read_answer(exchange, HttpAnswer(200, head, json.dumps(document).encode()))
    assert exchange.answer is not None and exchange.answer.logprob == pytest.approx(-1.0)


def event(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


@pytest.mark.parametrize(
    ("api", "events"),
    [
        ("openai.chat_completions", [
            chunk("a", TOKENS[:1]), chunk("b", TOKENS[1:])]),
        ("openai.responses", [
            {"type": "response.output_text.delta", "delta": "ab", **PLACE},
            {"type": "response.output_text.done", "text": "ab", **PLACE},
            {"type": "response.completed", "response": RESPONSE}]),
        ("google.stream_generate_content", [
            {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, GEMINI]),
    ],
)  # fmt: skip
def test_streamed(api: str, events: list[Any]) -> None:
    exchange = Exchange(api, stream=True, parameters={"alt": "sse"})
    stream = AnswerStream(exchange, family_of(api), "sse")
    for document in events:
        stream.feed(event(document))
    stream.end()
    assert exchange.answer is not None and exchange.answer.logprob == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "odd", [None, "x", {"content": "x"}, {"content": [1, "a", {"logprob": "b"}, {"logprob": True}]}]
)
def test_nonsense_is_no_number(odd: Any) -> None:
    exchange = Exchange("openai.chat_completions")
    document = {"choices": [{"message": {"content": "a"}, "logprobs": odd}]}
    body = json.dumps(document).encode()
    family_of(exchange.api).read_answer(exchange, HttpAnswer(200, {}, body))
    assert exchange.answer is not None and exchange.answer.logprob is None
