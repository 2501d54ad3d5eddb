"""The Responses API: items in and out, streams said four times over, content on the server."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Destination, Exchange
from penstock.wire import family_of, recognise
from penstock.wire.openai.responses import (
    Responses,
    ResponsesCompact,
    ResponsesInputTokens,
    ResponsesRetrieve,
)
from penstock.wire.stream import AnswerStream
from tests.wire.families import (
    FIXTURES,
    REFUSED,
    answered,
    destination,
    read,
    request,
    sse,
    streamed,
    zone_of,
)
from tests.wire.mutation import mutated
from tests.wire.scanners import WordScanner

FAMILY = Responses()
PATH = "/v1/responses"
RAW = (FIXTURES / "openai" / "responses.sse").read_bytes()
STREAM = sse(RAW)
REQUEST: dict[str, Any] = {
    "model": "gpt-5.2",
    "instructions": "Be brief.",
    "previous_response_id": "resp_0",
    "background": True,
    "input": [
        {"role": "developer", "content": "Rules."},
        {"role": "user", "content": [
            {"type": "input_text", "text": "Hi"},
            {"type": "input_image", "image_url": "https://i.example/a.png"},
            {"type": "input_file", "file_id": "file-1"},
        ]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}],
         "encrypted_content": "gAAAA"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}"},
        {"type": "function_call_output", "call_id": "c1", "output": "result"},
        {"type": "web_search_call", "id": "ws_1"},
    ],
    "tools": [
        {"type": "function", "name": "f", "description": "D", "parameters": {}},
        {"type": "mcp", "server_label": "wiki", "server_url": "https://mcp.example/mcp",
         "authorization": "tok"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
    ],
}  # fmt: skip


def asked() -> Exchange:
    return read(FAMILY, PATH, REQUEST)


@pytest.mark.parametrize(
    ("path", "api"),
    [
        (PATH, "openai.responses"),
        ("/openai/v1/responses?api-version=preview", "openai.responses"),
        ("/v1/responses/compact", "openai.responses.compact"),
        ("/v1/responses/input_tokens", "openai.responses.input_tokens"),
        ("/v1/responses/resp_1?stream=true", "openai.responses.retrieve"),
        ("/v1/responses/resp_1/cancel", "openai.responses.retrieve"),
    ],
)
def test_the_path_tells_which_call_it_is(path: str, api: str) -> None:
    assert recognise(request(path, {}), destination()).api == api


def test_at_an_unknown_host_the_call_itself_must_show_what_it_is() -> None:
    nobody = Destination("llm.corp.example", 443)
    assert recognise(request(PATH, {"model": "m"}), nobody).api == "openai.responses"
    assert recognise(request(PATH, {"form": 1}), nobody).api == "unknown.json"
    got = recognise(request("/v1/responses/resp_1", b"", "GET"), nobody)
    assert got.api == "openai.responses.retrieve"
    socket = request(PATH, b"", "GET")
    assert recognise(socket, nobody).api == "unknown.text"
    socket.headers = {"openai-beta": "responses_websockets=2026-02-06"}
    assert recognise(socket, nobody).api == "openai.responses"


def test_items_become_messages_and_what_is_on_the_server_references() -> None:
    exchange = asked()
    roles = [message.role for message in exchange.messages]
    assert roles == ["system", "system", "user", "assistant", "assistant", "tool", "assistant"]
    kinds = [part.kind for message in exchange.messages for part in message.parts]
    assert kinds == [
        "text", "text", "text", "uri", "uri", "reasoning", "tool_call", "tool_result",
        "server_tool_call",
    ]  # fmt: skip
    names = [tool.name for tool in exchange.tools]
    assert names == ["f", "builtin:mcp", "builtin:file_search", "g"]
    assert exchange.references == {
        "previous_response_id": "resp_0",
        "background": True,
        "file_ids": ["file-1"],
        "vector_store_ids": ["vs_1"],
        "mcp_servers": ["https://mcp.example/mcp"],
    }


def test_tools_declared_in_the_conversation_are_tools_of_the_request() -> None:
    """As Codex declares them; what they reach on the provider's side can be refused by name."""
    inner = {"type": "function", "name": "look", "description": "Look around."}
    wiki = {"type": "mcp", "server_label": "w", "server_url": "https://mcp.example/mcp"}
    found = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    namespace = {"type": "namespace", "name": "n", "tools": [inner]}
    more = {"type": "additional_tools", "role": "developer", "tools": [namespace, wiki, found]}
    exchange = read(FAMILY, PATH, {"model": "gpt-5.2", "input": [more, {"content": "Hi"}]})
    assert [tool.name for tool in exchange.tools] == ["look", "builtin:mcp", "builtin:file_search"]
    assert exchange.references["mcp_servers"] == ["https://mcp.example/mcp"]
    assert exchange.references["vector_store_ids"] == ["vs_1"]
    assert [message.role for message in exchange.messages] == ["system", "user"]
    assert zone_of(exchange.leaves, "Look around.") == "tool_definition"


def test_zones_and_seals() -> None:
    leaves = asked().leaves
    zones = {
        text: zone_of(leaves, text) for text in ("Be brief.", "Rules.", "Hi", "Hm", "result", "D")
    }
    assert list(zones.values()) == [
        "system", "system", "user", "reasoning", "tool_result", "tool_definition",
    ]  # fmt: skip
    assert not next(leaf for leaf in leaves if leaf.text == "gAAAA").editable
    assert next(leaf for leaf in leaves if leaf.text == '{"a":1}').nested


def test_a_plain_answer_is_read_item_by_item() -> None:
    body = STREAM[-1][1]["response"]
    answer, leaves = answered(FAMILY, asked(), body)
    message = answer.messages[0]
    assert (message.text(), message.finish_reason) == ("A SECRET cat.", "completed")
    calls = [(part.kind, part.name) for part in message.parts if part.name]
    assert calls == [
        ("tool_call", "find"),
        ("server_tool_call", "web_search_call"),
        ("server_tool_call", "mcp:ask"),
    ]
    assert (answer.usage.input_tokens, answer.usage.reasoning_tokens) == (20, 2)
    assert zone_of(leaves, "A SECRET cat.") == "assistant"


def test_why_an_answer_is_incomplete_is_its_finish_reason() -> None:
    body = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert answered(FAMILY, asked(), body)[0].messages[0].finish_reason == "max_output_tokens"


def test_a_failed_answer_is_an_error() -> None:
    body = {"status": "failed", "error": {"code": "server_error", "message": "x"}}
    answer, _ = answered(FAMILY, asked(), body)
    assert answer.error is not None and answer.error.type == "server_error"


def test_a_stream_says_the_same_as_the_plain_form() -> None:
    plain, _ = answered(FAMILY, asked(), STREAM[-1][1]["response"])
    answer, grown, _ = streamed(FAMILY, asked(), STREAM)
    assert answer.messages == plain.messages and answer.usage == plain.usage
    assert (answer.id, answer.model, answer.complete) == ("resp_1", "gpt-5.2-2026-01-01", True)
    assert grown[(1, 0, "output_text")] == "A SECRET cat."


def test_a_cut_stream_keeps_what_was_said() -> None:
    answer, _, _ = streamed(FAMILY, asked(), STREAM[6:8])
    assert answer.messages[0].text() == "A SECRET cat." and not answer.complete
    items, _, _ = streamed(FAMILY, asked(), STREAM[:5])
    assert items.messages[0].parts[0].text == "Look"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "server_error", "message": "x"},
        {"type": "error", "error": {"type": "server_error", "message": "x"}},
        {
            "type": "response.failed",
            "response": {"error": {"code": "server_error", "message": "x"}},
        },
    ],
)
def test_an_error_inside_a_stream_is_an_error(event: Any) -> None:
    answer, _, _ = streamed(FAMILY, asked(), [(event["type"], event)])
    assert answer.error is not None and answer.error.type == "server_error"


def test_a_word_is_replaced_in_all_four_places_it_is_said() -> None:
    exchange = asked()
    answer = AnswerStream(exchange, FAMILY, "sse", lambda _: WordScanner("SECRET", "<X>"))
    out = b"".join(answer.feed(RAW) + answer.end())
    assert b"SECRET" not in out and b'"token"' not in out.replace(b'"logprobs":[]', b"")
    events = sse(out)
    assert len(events) == len(STREAM)
    final = events[-1][1]["response"]["output"]
    assert final[1]["content"][0] == {
        "type": "output_text",
        "text": "A <X> cat.",
        "annotations": [{"type": "url_citation", "title": "The <X> life"}],
    }
    assert json.loads(final[2]["arguments"]) == {"q": "<X>"}
    assert final[4]["output"] == "found the <X>"


def test_a_held_text_is_released_by_its_own_end_and_not_only_by_the_streams() -> None:
    answer = AnswerStream(asked(), FAMILY, "sse", lambda _: WordScanner("cat.SECRET"))
    events = [event + b"\n\n" for event in RAW.split(b"\n\n") if event]
    for event in events[:7]:
        assert answer.feed(event) == [event]
    assert answer.feed(events[7]) == [], "ends in what may be the word's beginning"
    assert answer.feed(events[8]) == []
    assert b"".join(answer.feed(events[9])) == b"".join(events[7:10])


def test_the_counter_consumes_nothing() -> None:
    family = ResponsesInputTokens()
    exchange = read(family, "/v1/responses/input_tokens", {"input": "Hi"})
    answer, _ = answered(family, exchange, {"input_tokens": 51})
    assert (answer.usage.counted_tokens, answer.usage.input_tokens) == (51, None)


def test_a_compaction_keeps_no_users_words_as_an_answer() -> None:
    family = ResponsesCompact()
    exchange = read(family, "/v1/responses/compact", {"input": "Hi"})
    body = {
        "output": [{"type": "message", "role": "user", "content": "Hi"}, {"type": "compaction"}]
    }
    assert answered(family, exchange, body)[0].messages == []


def test_a_fetched_response_names_what_it_is_about() -> None:
    exchange = read(ResponsesRetrieve(), "/v1/responses/resp_9?stream=true", b"")
    assert exchange.references == {"response_id": "resp_9"} and exchange.stream


def test_a_refusal_in_a_stream_is_an_error_and_a_failed_response() -> None:
    events = sse(FAMILY.stream_refusal(asked(), REFUSED))
    assert [(name, event["type"]) for name, event in events] == [
        ("error", "error"),
        ("response.failed", "response.failed"),
    ]
    assert events[1][1]["response"]["error"]["message"] == REFUSED.message


@given(st.data())
def test_broken_requests_and_streams_never_raise(data: st.DataObject) -> None:
    read(FAMILY, PATH, json.dumps(mutated(data, deepcopy(REQUEST))).encode())
    events = deepcopy(STREAM)
    index = data.draw(st.integers(0, len(events) - 1))
    document = mutated(data, events[index][1])
    events[index] = (events[index][0], document)
    streamed(FAMILY, asked(), events)
    answered(FAMILY, asked(), json.dumps(document).encode())


def test_the_family_is_found_by_name() -> None:
    assert isinstance(family_of("openai.responses"), Responses)
