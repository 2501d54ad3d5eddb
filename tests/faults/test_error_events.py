"""A stream that ends in order with an error event is settled with what was streamed.

Some APIs say an output of 1 at the beginning (Anthropic's, wherever it is served), some
count on with every event, most say nothing before the end that never comes. What is
settled is an estimate of what came, and says so.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from tests.faults.world import ANTHROPIC, CHAT, GEMINI, LAST, OPENAI, World, chat, chunk, world
from tests.leaks.dialect import sse
from tests.leaks.frames import frame

VERTEX = "us-east5-aiplatform.googleapis.com"
BEDROCK = "bedrock-runtime.us-east-1.amazonaws.com"
LIMIT = 100_000
POLICY = f"""
version: 1
name: settled
rules:
  - {{id: measured, limit: {{output_tokens: {LIMIT}, every: 1h}}}}
"""
SAID = ["Well, this is said twice. " * 10, "Und noch ein Satz, der länger ist. " * 10]
TOKENS = len("".join(SAID).encode()) // 4
PLACEHOLDER = {"input_tokens": 9, "output_tokens": 1}
HEADS = {
    "sse": b"text/event-stream",
    "frames": b"application/vnd.amazon.eventstream",
}


@dataclass(frozen=True)
class Stream:
    """One API's stream that breaks down. ``told``: the input tokens it said, if it did."""

    name: str
    host: str
    path: str
    body: dict[str, Any]
    pieces: list[bytes]
    told: int | None = None
    form: str = "sse"


def anthropic_events() -> list[dict[str, Any]]:
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
             "content": [], "stop_reason": None, "usage": PLACEHOLDER}  # fmt: skip
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": s}}
            for s in SAID
        ),
    ]


def anthropic_error() -> dict[str, Any]:
    return {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def anthropic() -> list[bytes]:
    return [sse(one, one["type"]) for one in [*anthropic_events(), anthropic_error()]]


def invoke() -> list[bytes]:
    coded = [base64.b64encode(json.dumps(one).encode()).decode() for one in anthropic_events()]
    return [*(frame("chunk", {"bytes": one}) for one in coded), FRAMED_ERROR]


FRAMED_ERROR = frame("modelStreamErrorException", {"message": "It broke."}, "exception")


def converse() -> list[bytes]:
    deltas = [{"contentBlockIndex": 0, "delta": {"text": piece}} for piece in SAID]
    said = [frame("contentBlockDelta", delta) for delta in deltas]
    return [frame("messageStart", {"role": "assistant"}), *said, FRAMED_ERROR]


def gemini() -> list[bytes]:
    def event(text: str, tokens: int) -> bytes:
        content = {"role": "model", "parts": [{"text": text}]}
        usage = {"promptTokenCount": 9, "candidatesTokenCount": tokens}
        return sse({"candidates": [{"content": content}], "usageMetadata": usage})

    error = {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}}
    return [*(event(text, 1 + at) for at, text in enumerate(SAID)), sse(error)]


def completions(usage: dict[str, int] | None) -> list[bytes]:
    def event(text: str) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        told = {"usage": usage} if usage else {}
        return sse({"id": "c", "model": "gpt-5", "choices": [choice], **told})

    return [*map(event, SAID), sse({"error": {"message": "Gone.", "type": "server_error"}})]


def responses() -> list[bytes]:
    begun = {"type": "response.created", "response": {"id": "r", "model": "gpt-5", "usage": None}}
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    said = [{"type": "response.output_text.delta", **place, "delta": text} for text in SAID]
    error = {"type": "error", "code": "server_error", "message": "Gone.", "param": None}
    return [sse(one, one["type"]) for one in [begun, *said, error]]


ASKED = {"max_tokens": 900, "messages": [{"role": "user", "content": "Well?"}], "stream": True}
BEDROCK_MODEL = "/model/anthropic.claude-3-5-haiku-20241022-v1:0"
STREAMS = [
    Stream("anthropic", ANTHROPIC, "/v1/messages", {"model": "claude-sonnet-4-5", **ASKED},
           anthropic(), 9),
    Stream("vertex", VERTEX, "/v1/projects/p/locations/us-east5/publishers/anthropic/models/"
           "claude-sonnet-4-5:streamRawPredict", {"anthropic_version": "v", **ASKED},
           anthropic(), 9),
    Stream("bedrock invoke", BEDROCK, f"{BEDROCK_MODEL}/invoke-with-response-stream",
           {"anthropic_version": "bedrock-2023-05-31", **ASKED}, invoke(), 9, "frames"),
    Stream("bedrock converse", BEDROCK, f"{BEDROCK_MODEL}/converse-stream",
           {"messages": [{"role": "user", "content": [{"text": "Well?"}]}]},
           converse(), None, "frames"),
    Stream("gemini", GEMINI, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
           {"contents": [{"role": "user", "parts": [{"text": "Well?"}]}]}, gemini(), 9),
    Stream("chat", OPENAI, CHAT, json.loads(chat(stream=True)), completions(None)),
    Stream("chat that counts on", OPENAI, CHAT, json.loads(chat(stream=True)),
           completions({"prompt_tokens": 9, "completion_tokens": 1}), 9),
    Stream("responses", OPENAI, "/v1/responses",
           {"model": "gpt-5", "input": "Well?", "stream": True}, responses()),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    hosts = [ANTHROPIC, VERTEX, BEDROCK, GEMINI, OPENAI]
    with world(tmp_path_factory.mktemp("events"), POLICY, hosts=hosts) as started:
        yield started


def call(made: World, stream: Stream, pieces: list[bytes]) -> tuple[dict[str, Any], int]:
    """The record of a call that is answered so, and what its limit had left before it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answer % HEADS[stream.form] + b"".join(map(chunk, pieces)) + LAST
    made.upstream.script = answer
    before = made.recorded
    with made.tunnel(stream.host) as client:
        key = b"Authorization: Bearer none\r\n"
        client.post(stream.host, stream.path, json.dumps(stream.body).encode(), key)
        came = client.answer()
    assert came.complete and came.body.endswith(pieces[-1]), "the error event is passed on"
    left = came.headers["ratelimit"].partition(";r=")[2].partition(";")[0]
    return made.after(before)[0], int(left)


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_what_was_streamed_is_settled_and_marked_as_an_estimate(
    made: World, stream: Stream
) -> None:
    record, _ = call(made, stream, stream.pieces)
    usage = record["usage"]
    assert usage["output"] == TOKENS and usage["estimated"] is True
    assert usage["input"] == stream.told if stream.told else usage["input"] > 0
    assert record["error"], "the record says that the provider failed"


def test_the_limit_takes_what_was_streamed(made: World) -> None:
    """Not 1, and not what had been held back for the whole answer."""
    stream = STREAMS[0]
    held = []
    for _ in range(3):  # the room each call finds, its own reservation taken
        held.append(call(made, stream, stream.pieces)[1])
    assert [one - other for one, other in pairwise(held)] == [TOKENS, TOKENS]


def test_a_stream_that_was_about_to_end_keeps_the_number_of_the_provider(made: World) -> None:
    """The last word was said; an event that is missing after it makes it no estimate."""
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    last = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 77}}
    pieces = [*STREAMS[0].pieces[:-1], sse(last, "message_delta")]
    usage = call(made, STREAMS[0], pieces)[0]["usage"]
    assert usage == {"input": 9, "output": 77}
