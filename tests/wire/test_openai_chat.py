"""OpenAI chat: requests, plain answers, streams, and what compatible services do differently."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Exchange
from penstock.wire import recognise
from penstock.wire.openai.chat import (
    ChatByShape,
    ChatCompletions,
    Completions,
    ask_for_usage,
    is_usage_only,
)
from tests.wire.families import (
    FIXTURES,
    LIMITED,
    REFUSED,
    answered,
    destination,
    fixture,
    read,
    request,
    sse,
    streamed,
    zone_of,
)
from tests.wire.mutation import mutated

CHAT = ChatCompletions()
PATH = "/v1/chat/completions"
STREAM = sse((FIXTURES / "openai" / "chat.sse").read_bytes())


def asked() -> Exchange:
    return read(CHAT, PATH, fixture("openai/chat_request.json"))


def chunk(**choice: Any) -> tuple[None, Any]:
    return None, {"choices": [{"index": 0, "delta": {}, **choice}]}


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        "/models/chat/completions",
        "/api/paas/v4/chat/completions",
        "/api/v2/cortex/v1/chat/completions/",
    ],
)
def test_the_path_end_tells_the_family_whoever_serves_it(path: str) -> None:
    assert recognise(request(path, {}), destination()).api == "openai.chat_completions"


def test_a_request_is_read_into_the_common_model() -> None:
    exchange = asked()
    assert (exchange.model, exchange.stream, exchange.include_usage) == ("gpt-5.2", True, True)
    assert exchange.parameters == {"max_completion_tokens": 256}
    assert [message.role for message in exchange.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    kinds = [[part.kind for part in message.parts] for message in exchange.messages]
    assert kinds == [
        ["text"],
        ["text", "uri", "blob", "blob", "uri"],
        ["reasoning", "tool_call", "tool_call"],
        ["tool_result"],
    ]
    look, shell = exchange.messages[2].parts[1:]
    assert (look.name, look.id, look.arguments) == ("look", "call_1", {"where": "here"})
    assert (shell.name, shell.arguments) == ("shell", "ls -l")
    assert [tool.name for tool in exchange.tools] == ["look", "shell", "builtin:web_search"]
    assert exchange.references == {"file_ids": ["file-abc123"]}


def test_every_text_has_its_zone() -> None:
    leaves = asked().leaves
    assert zone_of(leaves, "Answer in one line.") == "system"
    assert zone_of(leaves, "What is in this picture?") == "user"
    assert zone_of(leaves, "Look it up.") == "reasoning"
    assert zone_of(leaves, '{"where":"here"}') == "tool_arguments"
    assert zone_of(leaves, "ls -l") == "tool_arguments"
    assert zone_of(leaves, "a cat") == "tool_result"
    assert zone_of(leaves, "Look around.") == "tool_definition"


def test_on_azure_the_deployment_is_the_model_where_the_body_has_none() -> None:
    path = "/openai/deployments/my%20gpt/chat/completions?api-version=1"
    assert read(CHAT, path, {"messages": []}).model == "my gpt"


def test_a_plain_answer_is_read_with_all_its_choices() -> None:
    body = {
        "id": "c1",
        "model": "m",
        "choices": [
            {"message": {"content": "Hi", "refusal": None}, "finish_reason": "stop",
             "logprobs": {"content": [{"token": "Hi"}]}},
            {"message": {"refusal": "No."}, "finish_reason": "content_filter"},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2,
                  "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2}},
    }  # fmt: skip
    answer, leaves = answered(CHAT, asked(), body)
    assert [message.finish_reason for message in answer.messages] == ["stop", "content_filter"]
    assert answer.messages[1].parts[0].kind == "refusal"
    usage = answer.usage
    assert (usage.input_total, usage.output_total) == (3, 2)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (1, 2)
    said = next(leaf for leaf in leaves if leaf.path == ("choices", 0, "message", "content"))
    assert said.shadows == (("choices", 0, "logprobs"),) and said.zone == "assistant"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, {"error": {"message": "slow", "type": "requests", "code": "rate"}}, "requests"),
        (401, {"error": {"message": "no", "code": 401}}, "401"),
        (200, {"error": {"message": "late", "type": "server_error"}}, "server_error"),
        (400, [{"error": {"message": "listed"}}], None),
        (500, b"<html>", None),
        (404, {"detail": "Not Found"}, None),
    ],
)
def test_errors_are_read_in_every_shape(status: int, body: Any, kind: str | None) -> None:
    answer, _ = answered(CHAT, asked(), body, status)
    assert answer.error is not None and answer.error.type == kind


def test_a_stream_says_the_same_as_the_plain_form() -> None:
    answer, grown, _ = streamed(CHAT, asked(), STREAM)
    assert (answer.id, answer.model, answer.complete) == ("chatcmpl-1", "gpt-5.2-2026-01-01", True)
    first, second = answer.messages
    assert [(part.kind, part.text or part.arguments) for part in first.parts] == [
        ("reasoning", "Hm."),
        ("text", "A cat."),
        ("tool_call", {"where": "up"}),
    ]
    assert (first.finish_reason, second.finish_reason, second.text()) == (
        "tool_calls",
        "length",
        "Two",
    )
    assert (answer.usage.input_tokens, answer.usage.cache_read_tokens) == (30, 8)
    assert (answer.usage.output_tokens, answer.usage.reasoning_tokens) == (12, 3)
    assert grown[(0, "tool_calls", 0)] == '{"where":"up"}'


def test_a_stream_cut_before_its_end_is_not_complete() -> None:
    assert not streamed(CHAT, asked(), STREAM[:5])[0].complete


def test_without_the_end_marker_a_finished_choice_completes_the_answer() -> None:
    """Perplexity and some self-hosted servers never send [DONE]."""
    assert streamed(CHAT, asked(), STREAM[:-1])[0].complete


def test_usage_under_x_groq_counts() -> None:
    event = {"choices": [], "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 6}}}
    assert streamed(CHAT, asked(), [(None, event)])[0].usage.output_tokens == 6


def test_content_lists_and_calls_without_index_are_read() -> None:
    """Mistral streams both."""
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]
    call = {"id": "a", "function": {"name": "f", "arguments": '{"x":'}}
    events = [
        chunk(delta={"content": thinking}),
        chunk(delta={"content": [{"type": "text", "text": "Yes"}]}),
        chunk(delta={"tool_calls": [call]}),
        chunk(delta={"tool_calls": [{"function": {"arguments": "1}"}}]}),
        chunk(delta={"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
    ]
    parts = streamed(CHAT, asked(), events)[0].messages[0].parts
    assert [(p.kind, p.name, p.text or p.arguments) for p in parts] == [
        ("reasoning", None, "Hm"),
        ("text", None, "Yes"),
        ("tool_call", "f", {"x": 1}),
        ("tool_call", "g", {}),
    ]


def test_an_empty_stand_in_is_no_call() -> None:
    """Snowflake fills every field of the schema with empty values."""
    message = {"content": "Hi", "function_call": {"name": "", "arguments": ""}}
    body = {"choices": [{"message": message, "finish_reason": ""}]}
    answer, _ = answered(CHAT, asked(), body)
    assert [part.kind for part in answer.messages[0].parts] == ["text"]
    assert answer.messages[0].finish_reason is None


def test_an_error_inside_a_stream_is_an_error() -> None:
    events = [chunk(delta={"content": "a"}), ("error", {"error": {"message": "x", "code": 502}})]
    answer, _, _ = streamed(CHAT, asked(), events)
    assert answer.error is not None and answer.error.type == "502" and not answer.complete


def test_audio_transcripts_and_structured_reasoning_are_texts() -> None:
    details = [{"type": "reasoning.text", "index": 0, "text": "why"}]
    events = [
        chunk(delta={"audio": {"id": "a", "transcript": "Hello"}, "reasoning_details": details})
    ]
    answer, grown, _ = streamed(CHAT, asked(), events)
    assert grown[(0, "transcript")] == "Hello"
    assert grown[(0, "reasoning_details", 0, "text")] == "why"
    assert answer.messages[0].text() == "Hello"


@pytest.mark.parametrize(
    ("body", "wished"),
    [
        (b'{"a": 1}', b'{"stream_options":{"include_usage":true},"a": 1}'),
        (b'{"stream_options": {}}', b'{"stream_options": {"include_usage":true}}'),
        (b'{"stream_options": {"x": 1}}', b'{"stream_options": {"include_usage":true,"x": 1}}'),
        (b'{"stream_options": null}', b'{"stream_options": {"include_usage":true}}'),
        (
            b'{"stream_options": {"include_usage": false}}',
            b'{"stream_options": {"include_usage": true}}',
        ),
        (b"not json", b"not json"),
    ],
)
def test_usage_is_asked_for_by_one_insertion(body: bytes, wished: bytes) -> None:
    assert ask_for_usage(body) == wished


def test_the_usage_chunk_is_told_from_azures_filter_chunk() -> None:
    assert is_usage_only({"choices": [], "usage": {"prompt_tokens": 1}})
    assert not is_usage_only({"choices": [], "prompt_filter_results": []})
    assert not is_usage_only({"choices": [{}], "usage": {"prompt_tokens": 1}})
    assert not is_usage_only("[DONE]")


def test_a_refusal_is_an_error_the_sdk_knows() -> None:
    said = CHAT.refusal(LIMITED)
    assert said.status == 429 and json.loads(said.body)["error"]["code"] == "rate_limit_exceeded"
    assert CHAT.refusal(REFUSED).headers["x-should-retry"] == "false"
    events = sse(CHAT.stream_refusal(asked(), REFUSED))
    assert events[0][1]["error"]["message"] == REFUSED.message and events[-1][1] == "[DONE]"


def test_a_chat_at_an_unknown_path_is_known_by_its_shape() -> None:
    turns = {"model": "llama", "messages": [{"role": "user", "content": "Hi"}]}
    assert isinstance(recognise(request("/my/llm", turns), destination()), ChatByShape)
    for other in ({"messages": [{"role": "user"}]}, {"model": "m", "messages": ["role"]}, {}):
        assert recognise(request("/my/llm", other), destination()).api.startswith("unknown.")


def test_legacy_completions_are_read_plain_and_streamed() -> None:
    family = Completions()
    exchange = read(family, "/v1/completions", {"model": "m", "prompt": ["a", "b"]})
    assert exchange.messages[0].text() == "ab"
    answer, leaves = answered(
        family, exchange, {"choices": [{"text": "c", "finish_reason": "stop"}]}
    )
    assert answer.messages[0].text() == "c" and zone_of(leaves, "c") == "assistant"
    events = [(None, {"choices": [{"text": "c", "index": 0}]}), (None, "[DONE]")]
    assert streamed(family, exchange, events)[0].messages[0].text() == "c"
    assert not Completions().recognise(request(PATH, {}), destination())


@given(st.data())
def test_broken_requests_and_answers_never_raise(data: st.DataObject) -> None:
    body = mutated(data, fixture("openai/chat_request.json"))
    exchange = read(CHAT, PATH, json.dumps(body).encode())
    document = mutated(
        data, {"choices": [{"message": deepcopy(body), "logprobs": {}}], "usage": {}}
    )
    answered(CHAT, exchange, json.dumps(document).encode())


@given(st.data())
def test_broken_streams_never_raise(data: st.DataObject) -> None:
    events = deepcopy(STREAM)
    index = data.draw(st.integers(0, len(events) - 2))
    events[index] = (events[index][0], mutated(data, events[index][1]))
    streamed(CHAT, asked(), events)
