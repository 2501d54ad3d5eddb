"""Bedrock InvokeModel: each vendor's body by its shape, chunks edited through base64."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.bedrock.agents import Agent
from penstock.wire.bedrock.invoke import Invoke, InvokeStream
from penstock.wire.framing.eventstream import FrameParser, encode, encode_headers
from penstock.wire.stream import AnswerStream
from tests.wire.families import answered, fixture, read, streamed, zone_of
from tests.wire.mutation import mutated
from tests.wire.scanners import WordScanner

PLAIN, STREAM = Invoke(), InvokeStream()
PATH, STREAM_PATH = "/model/m/invoke", "/model/m/invoke-with-response-stream"
METRICS = {"inputTokenCount": 7, "outputTokenCount": 3}

# vendor: (request, its prompt's zone holder, answer, chunks); each says "It costs 12 EUR."
VENDORS: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = {
    "anthropic": (
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
         "messages": [{"role": "user", "content": "How much?"}]},
        {"type": "message", "content": [{"type": "text", "text": "It costs 12 EUR."}],
         "stop_reason": "stop", "usage": {"input_tokens": 7, "output_tokens": 3}},
        [{"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
         {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
         {"type": "content_block_delta", "index": 0,
          "delta": {"type": "text_delta", "text": "It costs "}},
         {"type": "content_block_delta", "index": 0,
          "delta": {"type": "text_delta", "text": "12 EUR."}},
         {"type": "message_delta", "delta": {"stop_reason": "stop"}, "usage": {"output_tokens": 3}},
         {"type": "message_stop"}],
    ),
    "nova": (
        {"schemaVersion": "messages-v1",
         "messages": [{"role": "user", "content": [{"text": "How much?"}]}]},
        {"output": {"message": {"role": "assistant", "content": [{"text": "It costs 12 EUR."}]}},
         "stopReason": "stop", "usage": {"inputTokens": 7, "outputTokens": 3}},
        [{"messageStart": {"role": "assistant"}},
         {"contentBlockDelta": {"delta": {"text": "It costs "}, "contentBlockIndex": 0}},
         {"contentBlockDelta": {"delta": {"text": "12 EUR."}, "contentBlockIndex": 0}},
         {"messageStop": {"stopReason": "stop"}},
         {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 3}}}],
    ),
    "meta": (
        {"prompt": "How much?", "max_gen_len": 9},
        {"generation": "It costs 12 EUR.", "prompt_token_count": 7, "generation_token_count": 3,
         "stop_reason": "stop"},
        [{"generation": "It costs ", "prompt_token_count": 7, "generation_token_count": 1,
          "stop_reason": None},
         {"generation": "12 EUR.", "generation_token_count": 3, "stop_reason": "stop"}],
    ),
    "titan": (
        {"inputText": "How much?", "textGenerationConfig": {"maxTokenCount": 9}},
        {"inputTextTokenCount": 7, "results": [
            {"tokenCount": 3, "outputText": "It costs 12 EUR.", "completionReason": "stop"}]},
        [{"outputText": "It costs ", "index": 0, "completionReason": None},
         {"outputText": "12 EUR.", "index": 0, "completionReason": "stop"}],
    ),
    "mistral": (
        {"prompt": "How much?", "max_tokens": 9},
        {"outputs": [{"text": "It costs 12 EUR.", "stop_reason": "stop"}]},
        [{"outputs": [{"text": "It costs ", "stop_reason": None}]},
         {"outputs": [{"text": "12 EUR.", "stop_reason": "stop"}]}],
    ),
    "cohere": (
        {"message": "How much?", "chat_history": [{"role": "CHATBOT", "message": "Hello."}]},
        {"text": "It costs 12 EUR.", "finish_reason": "stop", "generation_id": "g"},
        [{"is_finished": False, "event_type": "text-generation", "text": "It costs "},
         {"is_finished": False, "event_type": "text-generation", "text": "12 EUR."},
         {"is_finished": True, "event_type": "stream-end", "finish_reason": "stop", "text": ""}],
    ),
    "ai21": (
        {"prompt": "How much?", "maxTokens": 9},
        {"completions": [
            {"data": {"text": "It costs 12 EUR."}, "finishReason": {"reason": "stop"}}]},
        [],
    ),
    "openai shape": (
        {"messages": [{"role": "user", "content": "How much?"}], "max_tokens": 9},
        {"choices": [{"index": 0, "finish_reason": "stop",
                      "message": {"role": "assistant", "content": "It costs 12 EUR."}}],
         "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
        [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": "It costs "}}]},
         {"choices": [{"index": 0, "delta": {"content": "12 EUR."}, "finish_reason": "stop"}]}],
    ),
    "deepseek": (
        {"prompt": "How much?", "max_tokens": 9},
        {"choices": [{"text": "It costs 12 EUR.", "stop_reason": "stop"}]},
        [{"choices": [{"text": "It costs ", "stop_reason": None}]},
         {"choices": [{"text": "12 EUR.", "stop_reason": "stop"}]}],
    ),
    "anthropic text": (
        {"prompt": "\n\nHuman: How much?\n\nAssistant:", "max_tokens_to_sample": 9},
        {"completion": "It costs 12 EUR.", "stop_reason": "stop"},
        [{"completion": "It costs ", "stop_reason": None},
         {"completion": "12 EUR.", "stop_reason": "stop"}],
    ),
}  # fmt: skip
HEADERS = {"x_amzn_bedrock_input_token_count": "7", "x_amzn_bedrock_output_token_count": "3"}


def _payload(chunk: dict[str, Any]) -> dict[str, Any]:
    return {"bytes": base64.b64encode(json.dumps(chunk).encode()).decode(), "p": "abcdef"}


def _payloads(vendor: str) -> list[dict[str, Any]]:
    chunks = [dict(chunk) for chunk in VENDORS[vendor][2]]
    chunks[-1]["amazon-bedrock-invocationMetrics"] = METRICS
    return [_payload(chunk) for chunk in chunks]


def _frame(name: str, payload: dict[str, Any]) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return encode(encode_headers(headers), json.dumps(payload).encode())


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_is_read_by_shape(vendor: str) -> None:
    body, plain, _ = VENDORS[vendor]
    exchange = read(PLAIN, PATH, body)
    said = "".join(message.text() for message in exchange.messages if message.role == "user")
    assert "How much?" in said
    leaf = next(leaf for leaf in exchange.leaves if "How much?" in leaf.text)
    assert leaf.zone == "user"
    assert "max_tokens" in exchange.parameters or vendor in ("nova", "cohere", "anthropic text")
    answer, leaves = answered(PLAIN, exchange, plain, **HEADERS)
    assert answer.messages[0].text() == "It costs 12 EUR."
    assert answer.messages[0].finish_reason == "stop"
    assert (answer.usage.input_total, answer.usage.output_total) == (7, 3)
    assert zone_of(leaves, "It costs 12 EUR.") == "assistant"


@pytest.mark.parametrize("vendor", [name for name, case in VENDORS.items() if case[2]])
def test_each_vendor_streams_the_same(vendor: str) -> None:
    exchange = read(STREAM, STREAM_PATH, VENDORS[vendor][0])
    reader = STREAM.answer_reader(exchange)
    for payload in _payloads(vendor):
        reader.event("chunk", payload)
    reader.end()
    answer = exchange.answer
    assert answer is not None
    assert answer.messages[0].text() == "It costs 12 EUR."
    assert answer.messages[0].finish_reason == "stop"
    assert (answer.usage.input_total, answer.usage.output_total) == (7, 3)
    assert answer.complete


@pytest.mark.parametrize("vendor", [name for name, case in VENDORS.items() if case[2]])
def test_a_word_over_two_chunks_is_replaced_inside_the_base64(vendor: str) -> None:
    """The frames come back whole: lengths, checksums, padding; only the word has changed."""
    exchange = read(STREAM, STREAM_PATH, VENDORS[vendor][0])
    stream = AnswerStream(
        exchange, STREAM, "aws_eventstream", lambda channel: WordScanner("costs 12", "is free, 0")
    )
    raw = b"".join(_frame("chunk", payload) for payload in _payloads(vendor))
    sent = b"".join([*stream.feed(raw), *stream.end()])
    parser = FrameParser()
    frames = parser.feed(sent)
    assert parser.problem is None
    assert len(frames) == len(_payloads(vendor))
    again = read(STREAM, STREAM_PATH, VENDORS[vendor][0])
    reader = STREAM.answer_reader(again)
    for frame in frames:
        payload = json.loads(frame.data or b"")
        assert payload["p"] == "abcdef"
        reader.event(frame.name, payload)
    reader.end()
    assert again.answer is not None
    assert again.answer.messages[0].text() == "It is free, 0 EUR."


def test_embeddings_are_counted_and_a_reranker_generates_nothing() -> None:
    exchange = read(PLAIN, PATH, {"texts": ["one", "two"], "input_type": "search_document"})
    answer, _ = answered(PLAIN, exchange, {"embeddings": {"float": [[0.1], [0.2]]}}, **HEADERS)
    assert (answer.embedding_count, exchange.operation) == (2, "embeddings")
    exchange = read(PLAIN, PATH, {"inputText": "one"})
    answer, _ = answered(PLAIN, exchange, {"embedding": [0.1], "inputTextTokenCount": 1})
    assert (answer.embedding_count, answer.usage.input_tokens) == (1, 1)
    exchange = read(PLAIN, PATH, {"query": "capital", "documents": ["Paris is one"]})
    assert zone_of(exchange.leaves, "Paris is one") == "tool_result"
    answer, _ = answered(PLAIN, exchange, {"results": [{"index": 0, "relevance_score": 0.9}]})
    assert answer.usage.output_tokens == 0


def test_an_exception_frame_inside_a_stream_is_an_error() -> None:
    exchange = read(STREAM, STREAM_PATH, VENDORS["meta"][0])
    events = [("modelTimeoutException", {"message": "Too slow."})]
    answer, grown, _ = streamed(STREAM, exchange, events)
    assert answer.error is not None
    assert answer.error.type == "modelTimeoutException"
    assert "Too slow." in grown.values()


def test_an_agents_text_is_replaced_inside_its_base64() -> None:
    family = Agent()
    path = "/agents/A1/agentAliases/B2/sessions/S3/text"
    exchange = read(family, path, {"inputText": "How much?"})
    assert exchange.references == {"agent": "A1", "session": "S3"}
    stream = AnswerStream(exchange, family, "aws_eventstream", lambda c: WordScanner("12 EUR"))
    texts = ["It costs 12", " EUR für alle."]
    raw = b"".join(
        _frame("chunk", {"bytes": base64.b64encode(text.encode()).decode()}) for text in texts
    )
    parser = FrameParser()
    frames = parser.feed(b"".join([*stream.feed(raw), *stream.end()]))
    coded = [json.loads(frame.data or b"")["bytes"] for frame in frames]
    assert [base64.b64decode(text).decode() for text in coded] == ["It costs <X>", " für alle."]


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    body, plain, chunks = data.draw(st.sampled_from(list(VENDORS.values())))
    exchange = read(PLAIN, PATH, mutated(data, json.loads(json.dumps(body))))
    answered(PLAIN, exchange, mutated(data, json.loads(json.dumps(plain))))
    copies = json.loads(json.dumps(chunks))
    reader = STREAM.answer_reader(exchange)
    for chunk in copies:
        reader.event("chunk", _payload(mutated(data, chunk)))
    reader.event("chunk", mutated(data, _payload({"generation": "x"})))
    reader.end()


def test_a_chunk_that_is_no_object_is_text_all_the_same() -> None:
    exchange = read(STREAM, STREAM_PATH, fixture("bedrock/request.json"))
    for coded, text in (("!!!", "!!!"), (base64.b64encode(b"a secret").decode(), "a secret")):
        reader = STREAM.answer_reader(exchange)
        assert [delta.text for delta in reader.event("chunk", {"bytes": coded})] == [text]
