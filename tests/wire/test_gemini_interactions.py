"""Interactions: steps, plain and streamed, and what the provider keeps to itself."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.gemini.interactions import Interactions
from tests.wire.families import (
    FIXTURES,
    REFUSED,
    answered,
    assert_whole,
    read,
    sse,
    streamed,
    zone_of,
)
from tests.wire.mutation import mutated

FAMILY, PATH = Interactions(), "/v1beta/interactions"
STREAM = (FIXTURES / "gemini" / "interaction.sse").read_bytes()
BODY: dict[str, Any] = {
    "model": "gemini-2.5-flash",
    "previous_interaction_id": "v1_before",
    "background": False,
    "system_instruction": "You are a careful clerk.",
    "input": [
        {"role": "user", "content": [{"type": "text", "text": "How much?"},
                                     {"type": "image", "data": "iVBORw0KGgo=",
                                      "mime_type": "image/png"}]},
        {"role": "model", "content": "Let me look."},
        {"type": "function_result", "name": "get_order", "result": "Order 77: 12 EUR"},
    ],
    "tools": [{"type": "function", "name": "get_order", "description": "Looks."},
              {"type": "google_search"},
              {"type": "mcp_server", "name": "wiki", "url": "https://mcp.example.org/mcp"}],
}  # fmt: skip
ANSWER: dict[str, Any] = {
    "id": "v1_abc",
    "status": "completed",
    "model": "gemini-2.5-flash",
    "steps": [
        {"type": "thought", "summary": [{"type": "text", "text": "12 it is."}]},
        {"type": "model_output", "content": [{"type": "text", "text": "It costs 12 EUR."}]},
        {"type": "function_call", "id": "call-1", "name": "get_order", "arguments": {"id": 77}},
        {"type": "code_execution_call", "arguments": {"code": "1"}},
        {"type": "code_execution_result", "result": "one"},
    ],
    "usage": {"total_input_tokens": 11, "total_cached_tokens": 0, "total_output_tokens": 42,
              "total_thought_tokens": 126, "total_tool_use_tokens": 5},
}  # fmt: skip


def test_a_request_is_read_and_its_references_named() -> None:
    exchange = read(FAMILY, PATH, BODY)
    assert exchange.references == {"previous_interaction_id": "v1_before"}
    assert [message.role for message in exchange.messages] == [
        "system", "user", "assistant", "user",
    ]  # fmt: skip
    assert_whole(exchange)
    assert zone_of(exchange.leaves, "How much?") == "user"
    assert zone_of(exchange.leaves, "Let me look.") == "assistant"
    assert zone_of(exchange.leaves, "Order 77: 12 EUR") == "tool_result"
    names = [tool.name for tool in exchange.tools]
    assert names == ["get_order", "builtin:google_search", "builtin:mcp_server"]
    assert exchange.tools[2].server_url == "https://mcp.example.org/mcp"


def test_an_agent_in_the_background_is_a_reference() -> None:
    body = {"agent": "deep-research", "background": True, "input": "Research."}
    exchange = read(FAMILY, PATH, body)
    assert exchange.references == {"agent": "deep-research", "background": True}
    answer, _ = answered(FAMILY, exchange, {"id": "v1_abc", "status": "in_progress"})
    assert answer.messages[0].finish_reason == "in_progress"


def test_plain_and_streamed_answers_tell_the_same() -> None:
    exchange = read(FAMILY, PATH, BODY)
    plain, leaves = answered(FAMILY, exchange, ANSWER)
    stream, grown, _ = streamed(FAMILY, exchange, sse(STREAM))
    assert stream.usage == plain.usage
    assert (plain.usage.input_total, plain.usage.output_total) == (16, 168)
    assert (stream.id, stream.model, stream.complete) == ("v1_abc", "gemini-2.5-flash", True)
    assert stream.messages[0].parts == plain.messages[0].parts[:3]
    assert stream.messages[0].finish_reason == "completed"
    assert grown[(1, "text")] == "It costs 12 EUR."
    assert "CiQBDDnWx9j7ws" not in grown.values(), "a signature is no text"
    assert zone_of(leaves, "12 it is.") == "reasoning"
    assert [part.kind for part in plain.messages[0].parts[3:]] == [
        "server_tool_call",
        "tool_result",
    ]


def test_an_error_event_is_an_error() -> None:
    event = {"event_type": "error", "error": {"code": "internal", "message": "Broken."}}
    answer, _, _ = streamed(FAMILY, read(FAMILY, PATH, BODY), [("error", event)])
    assert answer.error is not None
    assert (answer.error.type, answer.error.message) == ("internal", "Broken.")


def test_a_refusal_in_a_stream_is_the_error_event_and_done() -> None:
    events = sse(FAMILY.stream_refusal(read(FAMILY, PATH, BODY), REFUSED))
    assert events[0][1]["error"]["message"] == "Refused by rule r."
    assert events[1] == ("done", "[DONE]")


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(FAMILY, PATH, mutated(data, deepcopy(BODY)))
    answered(FAMILY, exchange, mutated(data, deepcopy(ANSWER)))
    streamed(FAMILY, exchange, [(name, mutated(data, doc)) for name, doc in sse(STREAM)[:-1]])
