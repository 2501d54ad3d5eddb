"""Answers that are odd, broken or hostile: said as an error of the caller's format, or cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.route.translate.errors import Format
from penstock.route.translate.translation import FormatTranslation, Wanted
from penstock.wire.framing.sse import SseParser

FORMATS: list[Format] = ["openai", "anthropic", "gemini"]


def sse(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in documents)


def events_of(stream: bytes) -> list[Any]:
    found = [event.data for event in SseParser().feed(stream)]
    return ["[DONE]" if one == b"[DONE]" else json.loads(one or b"null") for one in found]


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def gemini_chunk(*parts: Any, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]}


def message_start(**usage: int) -> dict[str, Any]:
    return {"type": "message_start", "message": {"id": "m", "model": "c", "usage": usage}}


def test_first_words_leave_at_once() -> None:
    """Each piece is said when it comes: nothing waits for the end."""
    translation = FormatTranslation("anthropic", Wanted("openai", stream=True))
    assert b'"role":"assistant"' in translation.feed(sse(message_start(input_tokens=3)))
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}}
    delta = {"type": "text_delta", "text": "Hello"}
    piece = {"type": "content_block_delta", "index": 0, "delta": delta}
    assert b"Hello" in translation.feed(sse(begin, piece))


def test_several_calls_one_after_the_other() -> None:
    """Blocks of Anthropic's are numbered, opened and closed in order."""
    translation = FormatTranslation("openai", Wanted("anthropic", stream=True))

    def call(index: int, **function: str) -> dict[str, Any]:
        identity = {"id": f"c{index}"} if "name" in function else {}
        return chunk({"tool_calls": [{"index": index, **identity, "function": function}]})

    out = translation.feed(
        sse(
            chunk({"content": "Two:"}),
            call(0, name="f", arguments=""),
            call(0, arguments='{"a":'),
            call(0, arguments="1}"),
            call(1, name="g", arguments="{}"),
            chunk({}, "tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
        )
        + b"data: [DONE]\n\n"
    )
    kinds = [(one["type"], one.get("index")) for one in events_of(out)]
    assert kinds == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert events_of(out)[-2]["usage"] == {"input_tokens": 4, "output_tokens": 2}


def test_a_compatible_service_without_done_is_complete() -> None:
    """The reason to finish is the end where nobody says ``[DONE]``; without it nothing is."""
    whole = FormatTranslation("openai", Wanted("anthropic", stream=True))
    out = whole.feed(sse(chunk({"content": "x"}), chunk({}, "stop"))) + whole.end()
    assert events_of(out)[-1]["type"] == "message_stop"
    torso = FormatTranslation("openai", Wanted("anthropic", stream=True))
    out = torso.feed(sse(chunk({"content": "x"}))) + torso.end()
    assert "message_stop" not in [one["type"] for one in events_of(out)]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("caller", FORMATS)
def test_a_torso_is_never_completed(source: Format, caller: Format) -> None:
    """An orderly end of the connection without the format's own end says no end either."""
    bodies = {
        "openai": sse(chunk({"content": "x"})),
        "anthropic": sse(
            message_start(),
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        ),
        "gemini": sse(gemini_chunk({"text": "x"})),
    }
    translation = FormatTranslation(source, Wanted(caller, stream=True))
    out = translation.feed(bodies[source]) + translation.end()
    for sign in (b"[DONE]", b"message_stop", b'"finishReason"', b'"finish_reason":"'):
        assert sign not in out


def test_a_json_array_stays_an_array() -> None:
    """A Gemini caller without ``alt=sse`` gets one JSON array; cut, it is no array."""
    translation = FormatTranslation("openai", Wanted("gemini", stream=True, array=True))
    out = translation.feed(sse(chunk({"content": "a"}), chunk({"content": "b"})))
    with pytest.raises(ValueError):
        json.loads(out)
    out += translation.feed(sse(chunk({}, "stop")) + b"data: [DONE]\n\n")
    parts = [c["candidates"][0]["content"]["parts"][0]["text"] for c in json.loads(out)]
    assert parts == ["a", "b", ""]


ODD: dict[str, tuple[Format, bytes, str]] = {
    "second choice": ("openai", sse({"choices": [{"index": 1, "delta": {}}]}), "one choice"),
    "legacy call": ("openai", sse(chunk({"function_call": {"name": "f"}})), "function_call"),
    "audio": ("openai", sse(chunk({"audio": {"id": "a"}})), "audio"),
    "no JSON": ("openai", b"data: nonsense\n\n", "no JSON"),
    "custom call": (
        "openai",
        sse(chunk({"tool_calls": [{"index": 0, "id": "c", "type": "custom"}]})),
        "custom",
    ),
    "interleaved calls": (
        "openai",
        sse(
            *(
                chunk({"tool_calls": [{"index": i, "id": "c", "function": {"name": "f"}}]})
                for i in (0, 1, 0)
            )
        ),
        "interleaved",
    ),
    "unknown reason": ("openai", sse(chunk({}, "tired")), "tired"),
    "server tool": (
        "anthropic",
        sse({"type": "content_block_start", "content_block": {"type": "server_tool_use"}}),
        "server_tool_use",
    ),
    "citations": (
        "anthropic",
        sse({"type": "content_block_delta", "delta": {"type": "citations_delta"}}),
        "citations_delta",
    ),
    "unknown event": ("anthropic", sse({"type": "message_pause"}), "message_pause"),
    "picture": ("gemini", sse(gemini_chunk({"inlineData": {"data": "AA"}})), "inlineData"),
    "code": ("gemini", sse(gemini_chunk({"executableCode": {"code": "x"}})), "executableCode"),
    "malformed call": ("gemini", sse(gemini_chunk(finish="MALFORMED_FUNCTION_CALL")), "MALFORMED"),
    "pieces of arguments": (
        "gemini",
        sse(gemini_chunk({"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a"}]}})),
        "partialArgs",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_said_ends_the_stream_by_name(name: str) -> None:
    """Content without a counterpart is an error event, then the stream ends: never a gap."""
    source, stream, named = ODD[name]
    for caller in FORMATS:
        if caller == source:
            continue
        translation = FormatTranslation(source, Wanted(caller, stream=True))
        out = translation.feed(stream + sse(chunk({"content": "later"})))
        assert translation.finished
        last = events_of(out)[-1]
        assert named in last["error"]["message"] and b"later" not in out
        assert translation.feed(stream) == b"" and translation.end() == b""


def test_an_endless_event_is_given_up() -> None:
    """An event that never ends is not collected for ever."""
    translation = FormatTranslation("openai", Wanted("anthropic", stream=True))
    out = b""
    for _ in range(20):
        out += translation.feed(b"data: " + b"x" * 1024 * 1024)
    assert translation.finished and b"longer than" in out


def test_endless_arguments_are_given_up() -> None:
    """Gemini's format has no pieces of arguments, so they are held, and not for ever."""
    translation = FormatTranslation("openai", Wanted("gemini", stream=True))
    first = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"'}}
    out = translation.feed(sse(chunk({"tool_calls": [first]})))
    more = {"index": 0, "function": {"arguments": "x" * 100_000}}
    for _ in range(60):
        out += translation.feed(sse(chunk({"tool_calls": [more]})))
    assert translation.finished and b"longer than can be held" in out


PLAIN: list[tuple[Format, Any, str]] = [
    ("openai", {"choices": []}, "0 choices"),
    ("openai", {"choices": [{"message": {"content": [{"type": "image"}]}}]}, "image"),
    ("openai", {"choices": [{"message": {"annotations": [{"a": 1}]}}]}, "annotations"),
    ("anthropic", {"content": [{"type": "web_search_tool_result"}]}, "web_search_tool_result"),
    ("anthropic", {"content": [], "stop_reason": "pause_turn"}, "pause_turn"),
    ("gemini", gemini_chunk({"fileData": {}}), "fileData"),
    ("openai", [1], "no JSON object"),
    ("openai", None, "no JSON object"),
]


@pytest.mark.parametrize(("source", "document", "named"), PLAIN)
def test_what_cannot_be_said_plainly_is_an_error(source: Format, document: Any, named: str) -> None:
    for caller in FORMATS:
        translation = FormatTranslation(source, Wanted(caller, stream=False))
        status, body = translation.whole(200, json.dumps(document).encode())
        assert status == 502 and named in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("caller", FORMATS)
@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"{", b"[]", b'{"error": 3}'])
def test_errors_of_no_shape_keep_their_status(source: Format, caller: Format, body: bytes) -> None:
    """A gateway's page is an error in the caller's shape with the status it came with."""
    translation = FormatTranslation(source, Wanted(caller, stream=True))
    status, told = translation.whole(502, body)
    assert status == 502
    assert json.loads(told)["error"]["message"]


def test_a_refusal_of_the_model_is_a_refusal_everywhere() -> None:
    """Its words arrive, and the reason says that it is one."""
    message = {"content": None, "refusal": "I cannot."}
    document = {"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]}
    there = FormatTranslation("openai", Wanted("anthropic", stream=False))
    said = json.loads(there.whole(200, json.dumps(document).encode())[1])
    assert said["stop_reason"] == "refusal" and said["content"][0]["text"] == "I cannot."
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    there = FormatTranslation("gemini", Wanted("openai", stream=False))
    said = json.loads(there.whole(200, json.dumps(blocked).encode())[1])
    assert said["choices"][0]["finish_reason"] == "content_filter"


def test_call_ids_of_gemini_are_unlike_each_other() -> None:
    """Other formats need an id; two calls, in one answer or in two, never share one."""
    found = set()
    for response in ("r1", "r2"):
        parts = [{"functionCall": {"name": "f", "args": {}}} for _ in range(2)]
        document = {**gemini_chunk(*parts, finish="STOP"), "responseId": response}
        translation = FormatTranslation("gemini", Wanted("openai", stream=False))
        said = json.loads(translation.whole(200, json.dumps(document).encode())[1])
        found |= {call["id"] for call in said["choices"][0]["message"]["tool_calls"]}
    assert len(found) == 4


def test_only_the_common_part_of_a_head_is_kept() -> None:
    """Rate limits of one provider say nothing to another's clients; the request's id does."""
    headers = {
        "anthropic-ratelimit-tokens-remaining": "5",
        "request-id": "req-1",
        "retry-after": "3",
        "content-type": "application/json",
        "content-length": "5",
    }
    translation = FormatTranslation("anthropic", Wanted("openai", stream=False))
    assert translation.headers(headers, streams=False) == {
        "retry-after": "3",
        "x-request-id": "req-1",
        "content-type": "application/json",
    }
