"""WebSocket messages: read, judged and edited like the events of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Exchange
from penstock.wire import family_of
from penstock.wire.framing.messages import MAX_MESSAGE_BYTES, MessageParser
from penstock.wire.openai.responses import Responses
from penstock.wire.openai.stores import Realtime
from penstock.wire.stream import AnswerStream
from tests.wire.families import FIXTURES, read, sse, zone_of
from tests.wire.scanners import StoppingScanner, WordScanner

EVENTS = [
    json.dumps(document).encode()
    for _, document in sse((FIXTURES / "openai" / "responses.sse").read_bytes())
]


def socket(api: str = "openai.responses", **named: Any) -> AnswerStream:
    scanner = named.pop("scanner", WordScanner)
    return AnswerStream(
        Exchange(api), family_of(api), "message", lambda _: scanner("SECRET"), **named
    )


def test_every_message_leaves_as_a_message_of_its_own() -> None:
    answer = socket()
    out = [message for event in EVENTS for message in answer.feed(event)] + answer.end()
    assert len(out) == len(EVENTS)
    assert b"SECRET" not in b"".join(out)
    assert [json.loads(a)["type"] for a in out] == [json.loads(b)["type"] for b in EVENTS]


def test_untouched_messages_are_the_same_bytes() -> None:
    answer = AnswerStream(Exchange("openai.responses"), Responses(), "message", lambda _: None)
    assert [answer.feed(event) for event in EVENTS] == [[event] for event in EVENTS]


def test_a_refusal_is_said_in_messages() -> None:
    answer = socket(scanner=StoppingScanner)
    out = [message for event in EVENTS for message in answer.feed(event)]
    assert answer.stopped is not None
    assert [json.loads(message)["type"] for message in out[-2:]] == ["error", "response.failed"]


@pytest.mark.parametrize("decides", [None, lambda _: None])
def test_a_message_too_large_to_read_stops_the_socket_or_passes(decides: Any) -> None:
    answer = socket(on_problem=decides)
    huge = b"x" * (MAX_MESSAGE_BYTES + 1)
    assert (answer.feed(huge) == [huge]) is (decides is not None)
    assert answer.problem is not None and (answer.stopped is None) is (decides is not None)
    assert MessageParser().end() == []


def test_realtime_texts_and_transcripts_of_both_sides_are_scanned() -> None:
    answer = socket("openai.realtime")
    events = [
        {"type": "response.output_audio_transcript.delta", "item_id": "i", "output_index": 0,
         "content_index": 0, "delta": "my SECRET"},
        {"type": "response.output_audio_transcript.done", "item_id": "i", "output_index": 0,
         "content_index": 0, "transcript": "my SECRET"},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "u",
         "content_index": 0, "transcript": "a SECRET"},
        {"type": "response.output_audio.delta", "delta": "UklGRg=="},
        {"type": "response.done", "response": {"status": "completed", "output": [],
         "usage": {"input_tokens": 3, "output_tokens": 4}}},
    ]  # fmt: skip
    out = b"".join(m for event in events for m in answer.feed(json.dumps(event).encode()))
    assert out.count(b"<X>") == 3 and b"SECRET" not in out and b"UklGRg==" in out


@pytest.mark.parametrize(
    ("message", "text", "zone"),
    [
        ({"type": "session.update", "session": {"instructions": "Be kind."}}, "Be kind.", "system"),
        ({"type": "conversation.item.create", "item": {"type": "message", "role": "user",
          "content": [{"type": "input_text", "text": "Hi"}]}}, "Hi", "user"),
        ({"type": "response.create", "response": {"instructions": "Now."}}, "Now.", "system"),
    ],
)  # fmt: skip
def test_what_the_client_sends_is_read_like_a_body(message: Any, text: str, zone: str) -> None:
    exchange = read(Realtime(), "/v1/realtime", message)
    assert exchange.messages[0].text() == text and zone_of(exchange.leaves, text) == zone
