"""Ollama: lines of JSON, arguments as objects, counts on the last line."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import HttpAnswer
from penstock.wire.ollama import OllamaChat, OllamaEmbed, OllamaGenerate, OllamaShow
from penstock.wire.stream import AnswerStream
from tests.wire.families import REFUSED, answered, assert_whole, read, streamed, zone_of
from tests.wire.mutation import mutated
from tests.wire.scanners import WordScanner

CHAT, GENERATE = OllamaChat(), OllamaGenerate()
BODY: dict[str, Any] = {
    "model": "llama3",
    "messages": [
        {"role": "system", "content": "You are a careful clerk."},
        {"role": "user", "content": "How much?", "images": ["iVBORw0KGgo="]},
        {"role": "assistant", "content": "", "thinking": "I will look.", "tool_calls": [
            {"function": {"name": "get_order", "arguments": {"to": "ada@example.org"}}}]},
        {"role": "tool", "content": "Order 77: 12 EUR", "tool_name": "get_order"},
    ],
    "tools": [{"type": "function", "function": {"name": "get_order", "description": "Looks."}}],
    "options": {"num_predict": 9, "temperature": 0},
}  # fmt: skip
COUNTS = {"done": True, "done_reason": "stop", "prompt_eval_count": 21, "eval_count": 9}
ANSWER: dict[str, Any] = {
    "model": "llama3",
    "message": {"role": "assistant", "thinking": "12 it is.", "content": "It costs 12 EUR.",
                "tool_calls": [{"function": {"name": "get_order", "arguments": {"id": 77}}}]},
    **COUNTS,
}  # fmt: skip
LINES: list[dict[str, Any]] = [
    {"model": "llama3", "message": {"role": "assistant", "content": "", "thinking": "12 it is."},
     "done": False},
    {"model": "llama3", "message": {"role": "assistant", "content": "It costs "}, "done": False},
    {"model": "llama3", "message": {"role": "assistant", "content": "12 EUR."}, "done": False},
    {"model": "llama3", "message": {"role": "assistant", "content": "", "tool_calls": [
        {"function": {"name": "get_order", "arguments": {"id": 77}}}]}, "done": False},
    {"model": "llama3", "message": {"role": "assistant", "content": ""}, **COUNTS},
]  # fmt: skip


def test_a_request_is_read_and_streams_unless_told_not_to() -> None:
    exchange = read(CHAT, "/api/chat", BODY)
    assert exchange.stream
    assert not read(CHAT, "/api/chat", {**BODY, "stream": False}).stream
    assert exchange.parameters == {"max_tokens": 9, "temperature": 0}
    assert_whole(exchange)
    assert zone_of(exchange.leaves, "ada@example.org") == "tool_arguments"
    assert zone_of(exchange.leaves, "Order 77: 12 EUR") == "tool_result"
    assert zone_of(exchange.leaves, "I will look.") == "reasoning"
    assert next(leaf for leaf in exchange.leaves if leaf.blob).text == "iVBORw0KGgo="


def test_plain_and_streamed_answers_mean_the_same() -> None:
    exchange = read(CHAT, "/api/chat", BODY)
    plain, _ = answered(CHAT, exchange, ANSWER)
    stream, grown, _ = streamed(CHAT, exchange, [(None, line) for line in LINES])
    assert stream.messages == plain.messages
    assert stream.usage == plain.usage
    assert (stream.usage.input_total, stream.usage.output_total) == (21, 9)
    assert (stream.model, stream.complete) == ("llama3", True)
    assert grown[("text",)] == "It costs 12 EUR."
    assert grown[("thinking",)] == "12 it is."


def test_generate_reads_prompt_system_and_response() -> None:
    body = {"model": "llama3", "prompt": "How much?", "system": "You are a careful clerk."}
    exchange = read(GENERATE, "/api/generate", body)
    assert zone_of(exchange.leaves, "You are a careful clerk.") == "system"
    plain, _ = answered(GENERATE, exchange, {"response": "It costs 12 EUR.", **COUNTS})
    lines = [{"response": "It costs ", "done": False}, {"response": "12 EUR.", **COUNTS}]
    stream, _, _ = streamed(GENERATE, exchange, [(None, line) for line in lines])
    assert stream.messages == plain.messages


def test_embeddings_are_counted() -> None:
    exchange = read(OllamaEmbed(), "/api/embed", {"model": "m", "input": ["a", "b"]})
    body = {"embeddings": [[1], [2]], "prompt_eval_count": 4}
    answer, _ = answered(OllamaEmbed(), exchange, body)
    assert (answer.embedding_count, answer.usage.input_tokens) == (2, 4)
    assert read(OllamaShow(), "/api/show", {"model": "m"}).model == "m"


def test_an_error_line_in_a_stream_is_an_error() -> None:
    exchange = read(CHAT, "/api/chat", BODY)
    answer, _, _ = streamed(CHAT, exchange, [(None, LINES[0]), (None, {"error": "out of memory"})])
    assert answer.error is not None
    assert answer.error.message == "out of memory"
    assert not answer.complete
    plain, _ = answered(CHAT, exchange, {"error": "model not found"}, 404)
    assert plain.error is not None
    assert plain.error.message == "model not found"


def test_refusals_are_one_string() -> None:
    exchange = read(CHAT, "/api/chat", BODY)
    assert json.loads(CHAT.refusal(REFUSED).body) == {"error": "Refused by rule r."}
    assert CHAT.stream_refusal(exchange, REFUSED) == b'{"error":"Refused by rule r."}\n'
    assert CHAT.framing(exchange, HttpAnswer(404, {}), b"{") == "none"
    assert CHAT.framing(exchange, HttpAnswer(200, {}), b"{") == "ndjson"


def test_a_word_over_two_lines_is_replaced() -> None:
    exchange = read(CHAT, "/api/chat", BODY)
    stream = AnswerStream(exchange, CHAT, "ndjson", lambda channel: WordScanner("costs 12"))
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
    sent = b"".join([*stream.feed(raw), *stream.end()])
    contents = [json.loads(line)["message"]["content"] for line in sent.splitlines()]
    assert "".join(contents) == "It <X> EUR."


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(CHAT, "/api/chat", mutated(data, deepcopy(BODY)))
    answered(CHAT, exchange, mutated(data, deepcopy(ANSWER)))
    streamed(CHAT, exchange, [(None, mutated(data, deepcopy(line))) for line in LINES])
    answered(GENERATE, exchange, mutated(data, {"response": "x", "thinking": "y", **COUNTS}))
