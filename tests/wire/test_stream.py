"""A streamed answer: untouched means byte-identical, a match means exactly that match."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.exchange import Exchange
from penstock.wire import family_of
from penstock.wire.channels import MAX_CHANNELS
from penstock.wire.family import Channel, Refusal
from penstock.wire.framing.sse import MAX_EVENT_BYTES, SseParser
from penstock.wire.openai.chat import is_usage_only
from penstock.wire.stream import AnswerStream, ChannelScanner
from tests.wire.scanners import StoppingScanner, WordScanner

CHAT = "openai.chat_completions"
DONE = b"data: [DONE]\n\n"
For = Callable[[Channel], ChannelScanner | None]


def secret(_: Channel) -> ChannelScanner | None:
    return WordScanner("SECRET")


def stream(scanner_for: For | None = secret, **named: Any) -> AnswerStream:
    return AnswerStream(Exchange(CHAT), family_of(CHAT), "sse", scanner_for, **named)


def chunk(ending: bytes = b"\n\n", index: int = 0, **delta: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + ending


def sent(answer: AnswerStream, chunks: Iterable[bytes]) -> bytes:
    out = [piece for data in chunks for piece in answer.feed(data)]
    return b"".join(out + answer.end())


def texts(body: bytes, field: str = "content") -> list[str]:
    parser = SseParser()
    found = []
    for event in parser.feed(body) + parser.end():
        if event.data and event.data != b"[DONE]":
            delta = json.loads(event.data)["choices"][0]["delta"]
            found.append(delta.get(field, ""))
    return found


PIECES = st.lists(
    st.sampled_from(["a", "SEC", "S", "RE", "T", "SECRET", "\n", "é😀", '"']), max_size=10
)
ENDINGS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n: note\n\n", b"\nid: 1\n\n"])


@given(PIECES, ENDINGS, st.lists(st.integers(0, 2000), max_size=10))
@settings(deadline=None)
def test_every_split_gives_the_same_exact_answer(
    pieces: list[str], ending: bytes, cuts: list[int]
) -> None:
    events = [chunk(ending, content=piece) for piece in pieces] + [DONE]
    body = b"".join(events)
    edges = sorted(min(cut, len(body)) for cut in cuts)
    split = [body[a:b] for a, b in zip([0, *edges], [*edges, len(body)], strict=True)]
    out = sent(stream(), split)
    assert out == sent(stream(), [body])
    assert "".join(texts(out)) == "".join(pieces).replace("SECRET", "<X>")
    assert len(texts(out)) == len(pieces), "every event stays"
    if "SECRET" not in "".join(pieces):
        assert out == body


def test_an_event_leaves_in_the_call_that_completes_it() -> None:
    answer = stream()
    for data in (chunk(content="hello"), b": ping\n\n", chunk(role="assistant"), DONE):
        assert answer.feed(data) == [data]
    assert answer.end() == []


def test_events_wait_only_while_a_candidate_lives() -> None:
    answer = stream()
    events = [chunk(content="see SEC"), b": ping\n\n", chunk(content="RE"), chunk(content="x")]
    assert [answer.feed(event) for event in events[:3]] == [[], [], []]
    assert b"".join(answer.feed(events[3])) == b"".join(events), "and leave as they came"


def test_a_match_over_events_is_replaced_in_the_first_and_all_events_stay() -> None:
    out = sent(stream(), [chunk(content="a SEC"), chunk(content="RE"), chunk(content="T b"), DONE])
    assert texts(out) == ["a <X>", "", " b"]


def test_a_ten_kilobyte_secret_byte_by_byte_is_gone_whole_and_what_follows_arrives() -> None:
    word = "sk-" + "0123456789" * 1024
    answer = stream(lambda _: WordScanner(word))
    out = sent(answer, [chunk(content=letter) for letter in f"x{word}y after"])
    assert "".join(texts(out)) == "x<X>y after"


@pytest.mark.parametrize(
    "field", ["content", "reasoning_content", "reasoning", "refusal", "new_field"]
)
def test_every_text_field_is_scanned_also_one_nobody_knows(field: str) -> None:
    out = sent(stream(), [chunk(**{field: "my SECRET!"}), DONE])
    assert texts(out, field) == ["my <X>!"]


def test_tool_arguments_are_edited_as_json_inside_json() -> None:
    written = json.dumps({"text": 'line\nSEC"RET'})
    answer = stream(lambda _: WordScanner('\nSEC"RET', 'q"\n'))
    events = [
        chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": piece}}])
        for piece in written
    ]
    out = sent(answer, [*events, DONE])
    arguments = "".join(call[0]["function"]["arguments"] for call in texts(out, "tool_calls"))
    assert json.loads(arguments) == {"text": 'lineq"\n'}


def test_choices_and_calls_are_texts_of_their_own() -> None:
    events = [chunk(index=0, content="SEC"), chunk(index=1, content="RET"), chunk(content="x")]
    assert sent(stream(), [*events, DONE]) == b"".join([*events, DONE])


def test_log_probabilities_of_a_replaced_text_are_nulled() -> None:
    tokens = {"content": [{"token": "SECRET", "bytes": [83]}]}
    choice = {"index": 0, "delta": {"content": "SECRET"}, "logprobs": tokens}
    out = sent(stream(), [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n", DONE])
    assert b"SECRET" not in out and b'"logprobs": null' in out


def test_a_running_total_is_changed_as_its_deltas_were() -> None:
    def both(text: str, total: str) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "message": {"content": total}}
        return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

    out = sent(stream(), [both("a SEC", "a SEC"), both("RET", "a SECRET"), both("!", "a SECRET!")])
    events = [json.loads(line[6:]) for line in out.split(b"\n\n") if line]
    totals = [event["choices"][0]["message"]["content"] for event in events]
    assert totals == ["a <X>", "a <X>", "a <X>!"]
    assert "".join(texts(out)) == "a <X>!"


def test_a_field_repeated_in_every_event_is_looked_at_once_and_changed_in_each() -> None:
    opened: list[Channel] = []

    def watch(channel: Channel) -> ChannelScanner | None:
        opened.append(channel)
        return WordScanner("SECRET")

    event = b'data: {"choices":[],"citations":["the SECRET"]}\n\n'
    other = event.replace(b"the", b"another")
    out = sent(stream(watch), [event, event, other, other])
    assert out == b"".join([event, event, other, other]).replace(b"SECRET", b"<X>")
    assert len(opened) == 2


def test_a_total_that_is_another_text_is_scanned_by_itself() -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "message": {"content": "the SECRET"}}
    out = sent(stream(), [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"])
    assert b"SECRET" not in out


def test_a_stopping_scanner_ends_the_stream_well_formed() -> None:
    answer = stream(lambda _: StoppingScanner("SECRET"))
    assert answer.feed(chunk(content="fine ")) == [chunk(content="fine ")]
    answer.feed(chunk(content="SEC"))
    out = b"".join(answer.feed(chunk(content="RET")))
    assert answer.stopped is StoppingScanner.refusal
    assert b"SEC" not in out and out.endswith(DONE) and b"Not this." in out
    assert answer.feed(chunk(content="more")) == [] and answer.end() == []


def test_a_candidate_at_the_end_leaves_with_the_end_marker() -> None:
    answer = stream()
    assert answer.feed(chunk(content="SECR")) == []
    assert b"".join(answer.feed(DONE)) == chunk(content="SECR") + DONE


def test_a_cut_stream_is_passed_on_as_cut() -> None:
    answer = stream()
    out = sent(answer, [chunk(content="SECR")])
    assert out == chunk(content="SECR")
    exchange = Exchange(CHAT)
    cut = AnswerStream(exchange, family_of(CHAT), "sse")
    cut.feed(chunk(content="half"))
    cut.end()
    assert exchange.answer is not None and not exchange.answer.complete


def test_the_beginning_of_an_event_that_never_ends_is_not_let_out_unjudged() -> None:
    assert sent(stream(), [b'data: {"choices":[{"delta":{"content":"SECRET']) == b""
    assert sent(stream(None), [b'data: {"cho']) == b'data: {"cho', "without rules all passes"


def test_text_events_without_json_are_scanned_too() -> None:
    assert sent(stream(), [b"data: a SECRET\n\n"]) == b"data: a <X>\n\n"


def test_an_event_that_is_a_bare_array_is_scanned_too() -> None:
    assert sent(stream(), [b'data: ["a SECRET"]\n\n']) == b'data: ["a <X>"]\n\n'


@pytest.mark.parametrize(
    "place", [{"note": "SECRET"}, {"function": {"name": "f", "note": "SECRET"}}]
)
def test_fields_of_a_tool_call_that_nobody_knows_are_scanned(place: dict[str, Any]) -> None:
    assert b"SECRET" not in sent(stream(), [chunk(tool_calls=[{"index": 0, **place}]), DONE])


def test_an_answer_of_endless_open_texts_is_stopped() -> None:
    answer = stream()
    for index in range(MAX_CHANNELS + 1):
        answer.feed(chunk(index=index, content="a"))
    assert answer.stopped is not None and str(MAX_CHANNELS) in answer.stopped.message


def test_the_usage_chunk_is_hidden_and_read() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
    exchange = Exchange(CHAT)
    answer = AnswerStream(exchange, family_of(CHAT), "sse", hide=is_usage_only)
    assert sent(answer, [chunk(content="a") + usage + DONE]) == chunk(content="a") + DONE
    assert exchange.answer is not None and exchange.answer.usage.output_tokens == 4


def test_a_compressed_stream_passes_as_it_came_when_no_rule_may_change_it() -> None:
    body = gzip.compress(chunk(content="SECRET") + DONE)
    exchange = Exchange(CHAT)
    answer = AnswerStream(exchange, family_of(CHAT), "sse", coding="gzip")
    assert sent(answer, [body[i : i + 1] for i in range(len(body))]) == body
    assert exchange.answer is not None and exchange.answer.messages[0].text() == "SECRET"
    assert not answer.decoded


def test_a_compressed_stream_under_rules_leaves_decoded() -> None:
    answer = stream(coding="gzip")
    assert answer.decoded
    out = sent(answer, [gzip.compress(chunk(content="SECRET") + DONE)])
    assert texts(out) == ["<X>"]


@pytest.mark.parametrize("coding", ["gzip", "compress"])
def test_a_stream_that_cannot_be_decoded_stops_under_rules_and_passes_without(coding: str) -> None:
    judged, free = stream(coding=coding), stream(None, coding=coding)
    assert b"SECRET" not in sent(judged, [b"SECRET is not gzip"])
    assert judged.stopped is not None
    assert sent(free, [b"SECRET is not gzip"]) == b"SECRET is not gzip"
    assert free.problem is not None and free.stopped is None


@pytest.mark.parametrize("asked", [Refusal(403, "c", "too long", "r", "1"), None])
def test_who_runs_the_stream_decides_about_an_endless_event(asked: Refusal | None) -> None:
    problems: list[str] = []

    def decide(problem: str) -> Refusal | None:
        problems.append(problem)
        return asked

    answer = stream(on_problem=decide)
    body = b"data: " + b"x" * (MAX_EVENT_BYTES + 1)
    out = b"".join(answer.feed(body))
    assert len(problems) == 1 and answer.stopped is asked
    assert (out == body) if asked is None else (b"xxx" not in out)
    assert answer.feed(b"more") == ([b"more"] if asked is None else [])


@given(st.binary(max_size=60), st.sampled_from(["sse", "ndjson", "json_array", "aws_eventstream"]))
def test_hostile_bytes_never_raise(data: bytes, framing: Any) -> None:
    answer = AnswerStream(Exchange(CHAT), family_of(CHAT), framing, secret)
    sent(answer, [data])
    free = AnswerStream(Exchange(CHAT), family_of(CHAT), framing)
    assert sent(free, [data]) == data


NAMES = st.sampled_from(
    """choices delta index content tool_calls function arguments message usage error id type
    response item part output output_index summary text object logprobs finish_reason
    reasoning_details audio""".split()  # noqa: SIM905  a list of words reads better as words
)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
DOCUMENTS = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
APIS = st.sampled_from(
    [CHAT, "openai.responses", "openai.assistants", "openai.audio.transcriptions", "unknown.json"]
)
EVENTS = st.sampled_from(
    [None, "response.output_text.done", "response.completed", "thread.message.delta", "error"]
)


@given(DOCUMENTS, APIS, EVENTS)
@settings(deadline=None)
def test_hostile_documents_never_raise_and_change_nothing(
    document: Any, api: str, name: str | None
) -> None:
    head = f"event: {name}\n".encode() if name else b""
    body = head + b"data: " + json.dumps(document).encode() + b"\n\n"
    answer = AnswerStream(Exchange(api), family_of(api), "sse", lambda _: WordScanner("\0never"))
    assert sent(answer, [body]) == body
