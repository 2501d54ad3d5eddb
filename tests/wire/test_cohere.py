"""Cohere: two versions of chat, their streams, embed and rerank."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Exchange, HttpAnswer
from penstock.wire.cohere.calls import (
    CohereEmbed,
    CohereRerank,
    CohereV1Chat,
    CohereV1Rerank,
    CohereV2Chat,
)
from penstock.wire.stream import AnswerStream
from tests.wire.families import (
    FIXTURES,
    REFUSED,
    answered,
    assert_whole,
    destination,
    read,
    request,
    sse,
    streamed,
    zone_of,
)
from tests.wire.mutation import mutated
from tests.wire.scanners import WordScanner

HOST = "api.cohere.com"
V1, V2 = CohereV1Chat(), CohereV2Chat()
V1_BODY: dict[str, Any] = {
    "model": "command-r",
    "message": "How much?",
    "preamble": "You are a careful clerk.",
    "chat_history": [
        {"role": "USER", "message": "Hello."},
        {
            "role": "CHATBOT",
            "message": "Good day.",
            "tool_calls": [{"name": "t", "parameters": {}}],
        },
    ],
    "documents": [{"text": "Order 77: 12 EUR"}],
    "tools": [{"name": "get_order", "description": "d", "parameter_definitions": {"id": {}}}],
    "stream": True,
}
V1_ANSWER: dict[str, Any] = {
    "generation_id": "g-1",
    "text": "It costs 12 EUR.",
    "finish_reason": "COMPLETE",
    "tool_calls": [{"name": "get_order", "parameters": {"id": 77}}],
    "meta": {
        "billed_units": {"input_tokens": 6, "output_tokens": 3},
        "tokens": {"input_tokens": 70, "output_tokens": 3},
    },
}
V1_LINES: list[dict[str, Any]] = [
    {"event_type": "stream-start", "generation_id": "g-1", "is_finished": False},
    {"event_type": "text-generation", "text": "It costs ", "is_finished": False},
    {"event_type": "text-generation", "text": "12 EUR.", "is_finished": False},
    {"event_type": "tool-calls-generation", "is_finished": False,
     "tool_calls": [{"name": "get_order", "parameters": {"id": 77}}]},
    {"event_type": "stream-end", "finish_reason": "COMPLETE", "is_finished": True, "response": {
        **V1_ANSWER,
        "chat_history": [{"role": "USER", "message": "How much?"},
                         {"role": "CHATBOT", "message": "It costs 12 EUR."}]}},
]  # fmt: skip
V2_BODY: dict[str, Any] = {
    "model": "command-a",
    "messages": [
        {"role": "system", "content": "You are a careful clerk."},
        {"role": "user", "content": [{"type": "text", "text": "How much?"}]},
        {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [
            {"id": "c", "type": "function",
             "function": {"name": "get_order", "arguments": "{\"to\": \"ada@example.org\"}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "Order 77: 12 EUR"},
    ],
    "tools": [{"type": "function", "function": {"name": "get_order", "description": "d"}}],
}  # fmt: skip
V2_ANSWER: dict[str, Any] = {
    "id": "m-1",
    "finish_reason": "COMPLETE",
    "message": {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "12 it is."},
        {"type": "text", "text": "It costs 12 EUR."}]},
    "usage": {"tokens": {"input_tokens": 70, "output_tokens": 3}, "cached_tokens": 5},
}  # fmt: skip
V2_STREAM = (FIXTURES / "cohere" / "v2_stream.sse").read_bytes()


def _v1() -> Exchange:
    return read(V1, "/v1/chat", V1_BODY, HOST)


def test_version_1_is_recognised_at_its_host_only() -> None:
    for host, mine in ((HOST, True), ("api.cohere.ai", True), ("api.writer.com", False)):
        assert V1.recognise(request("/v1/chat", host=host), destination(host)) is mine


def test_a_version_1_request_is_read() -> None:
    exchange = _v1()
    assert [message.role for message in exchange.messages] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert [tool.name for tool in exchange.tools] == ["get_order"]
    assert_whole(exchange)
    assert zone_of(exchange.leaves, "Order 77: 12 EUR") == "tool_result"
    assert zone_of(exchange.leaves, "Good day.") == "assistant"
    assert zone_of(exchange.leaves, "How much?") == "user"


def test_version_1_plain_and_streamed_mean_the_same() -> None:
    plain, _ = answered(V1, _v1(), V1_ANSWER)
    stream, grown, _ = streamed(V1, _v1(), [(None, line) for line in V1_LINES])
    assert stream.messages == plain.messages
    assert stream.usage.input_total == plain.usage.input_total == 70
    assert (stream.id, stream.complete) == ("g-1", True)
    assert grown[(0, "text")] == "It costs 12 EUR."


def test_the_closing_copies_of_version_1_are_changed_with_the_pieces() -> None:
    stream = AnswerStream(_v1(), V1, "ndjson", lambda channel: WordScanner("costs 12"))
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in V1_LINES)
    sent = b"".join([*stream.feed(raw), *stream.end()])
    lines = [json.loads(line) for line in sent.splitlines()]
    assert b"costs 12" not in sent
    assert lines[-1]["response"]["text"] == "It <X> EUR."
    assert lines[-1]["response"]["chat_history"][-1]["message"] == "It <X> EUR."


def test_version_2_plain_and_streamed_mean_the_same() -> None:
    exchange = read(V2, "/v2/chat", V2_BODY, HOST)
    assert_nested(exchange)
    plain, _ = answered(V2, exchange, V2_ANSWER)
    stream, grown, _ = streamed(V2, exchange, sse(V2_STREAM))
    assert stream.messages == plain.messages
    assert stream.usage == plain.usage
    assert (stream.usage.input_total, stream.usage.cache_read_tokens) == (70, 5)
    assert stream.complete
    assert grown[(1, "text")] == "It costs 12 EUR."


def assert_nested(exchange: Exchange) -> None:
    """Arguments are JSON inside JSON, in their zone; the plan is reasoning."""
    leaf = next(leaf for leaf in exchange.leaves if "ada@example.org" in leaf.text)
    assert (leaf.zone, leaf.nested) == ("tool_arguments", True)
    assert zone_of(exchange.leaves, "I will look.") == "reasoning"
    assert zone_of(exchange.leaves, "Order 77: 12 EUR") == "tool_result"


def test_a_failed_end_is_an_error() -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "broken"}}
    answer, _, _ = streamed(V2, read(V2, "/v2/chat", V2_BODY, HOST), [("message-end", end)])
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == ("ERROR", "broken")
    line = {"event_type": "stream-end", "finish_reason": "ERROR_TOXIC", "is_finished": True}
    answer, _, _ = streamed(V1, _v1(), [(None, line)])
    assert answer.error is not None


def test_embed_and_rerank_tell_what_they_use() -> None:
    embed, rerank = CohereEmbed(), CohereRerank()
    exchange = read(
        embed, "/v2/embed", {"texts": ["a", "b"], "images": ["data:image/png;base64,a"]}
    )
    assert [part.kind for part in exchange.messages[0].parts] == ["text", "text", "blob"]
    body = {"embeddings": {"float": [[1], [2]]}, "meta": {"billed_units": {"input_tokens": 3}}}
    answer, _ = answered(embed, exchange, body)
    assert (answer.embedding_count, answer.usage.input_tokens) == (2, 3)
    exchange = read(rerank, "/v2/rerank", {"query": "ruby", "documents": ["a document"]})
    assert zone_of(exchange.leaves, "a document") == "tool_result"
    answer, _ = answered(rerank, exchange, {"meta": {"billed_units": {"search_units": 1}}})
    assert answer.usage.input_tokens is None
    assert answer.usage.raw == {"billed_units": {"search_units": 1}}
    assert read(CohereV1Rerank(), "/v1/rerank", {"query": "q"}, HOST).api == "cohere.v1.rerank"


def test_refusals_are_a_message_and_end_a_stream_as_the_api_does() -> None:
    assert json.loads(V2.refusal(REFUSED).body) == {"message": "Refused by rule r."}
    line = json.loads(V1.stream_refusal(_v1(), REFUSED))
    assert (line["is_finished"], line["finish_reason"]) == (True, "ERROR")
    events = sse(V2.stream_refusal(_v1(), REFUSED))
    assert events[0][1]["delta"] == {"finish_reason": "ERROR", "error": "Refused by rule r."}
    assert events[1][1] == "[DONE]"


def test_an_error_answer_is_plain_whatever_was_asked() -> None:
    assert V1.framing(_v1(), HttpAnswer(429, {}), b'{"message"') == "none"
    answer, _ = answered(V1, _v1(), {"message": "too many"}, 429)
    assert answer.error is not None
    assert answer.error.message == "too many"


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    one = read(V1, "/v1/chat", mutated(data, deepcopy(V1_BODY)), HOST)
    two = read(V2, "/v2/chat", mutated(data, deepcopy(V2_BODY)), HOST)
    answered(V1, one, mutated(data, deepcopy(V1_ANSWER)))
    answered(V2, two, mutated(data, deepcopy(V2_ANSWER)))
    streamed(V1, one, [(None, mutated(data, deepcopy(line))) for line in V1_LINES])
    streamed(V2, two, [(name, mutated(data, document)) for name, document in sse(V2_STREAM)[:-1]])
