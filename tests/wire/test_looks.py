"""Many events in one read: what scanners see at once, and what leaves, whatever the reads are."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.exchange import Exchange
from penstock.wire import family_of
from penstock.wire.channel_text import ChannelScanner, ChannelText, ScanStep
from penstock.wire.family import Channel, Refusal
from penstock.wire.stream import LOOK_EVENTS, AnswerStream
from tests.wire.scanners import WordScanner

CHAT = "openai.chat_completions"
DONE = b"data: [DONE]\n\n"
REFUSAL = Refusal(403, "policy_denied", "Not this.", "rule", "01J")
WORDS = ["a", " b", "SEC", "RET", "S", "SECRET", "é", "\ud83d", '"', "\\u00e9", "\\", "END", ""]


class EndingScanner(WordScanner):
    """Ends the stream at the word; says that what stands before it may leave."""

    def feed(self, text: str) -> ScanStep:
        step = super().feed(text)
        if not step.replacements:
            return step
        return ScanStep([], 0, REFUSAL, before_stop=step.replacements[0].start)


class LateScanner(WordScanner):
    """Says only at a text's end that it must not leave."""

    def feed(self, text: str) -> ScanStep:
        self.text += text
        return ScanStep([], max(0, self.text.find(self.word)))

    def finish(self) -> ScanStep:
        at = self.text.find(self.word)
        if at < 0:
            return ScanStep([], len(self.text))
        return ScanStep([], len(self.text), REFUSAL, before_stop=at)


class Counting(WordScanner):
    """Counts how often it is asked; fails at a word."""

    looks = 0

    def feed(self, text: str) -> ScanStep:
        Counting.looks += 1
        if "END" in text:
            raise RuntimeError("a scanner's fault")
        return super().feed(text)


def stream(make: Callable[[], ChannelScanner], **named: Any) -> AnswerStream:
    return AnswerStream(Exchange(CHAT), family_of(CHAT), "sse", lambda _: make(), **named)


def event(field: str, text: str, index: int = 0) -> bytes:
    delta: dict[str, Any] = {field: text}
    if field == "arguments":
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
    choice = {"index": index, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


FIELDS = st.sampled_from(["content", "arguments"])
EVENTS = st.lists(st.tuples(FIELDS, st.sampled_from(WORDS)), max_size=25)


def sent(answer: AnswerStream, reads: list[bytes]) -> bytes:
    out = [piece for data in reads if answer.stopped is None for piece in answer.feed(data)]
    return b"".join(out + ([] if answer.stopped else answer.end()))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


@pytest.mark.parametrize("scanner", [WordScanner, EndingScanner])
@given(EVENTS, st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_reads_of_any_size_send_the_same_bytes(
    scanner: type[WordScanner], parts: list[tuple[str, str]], cuts: list[int], done: bool
) -> None:
    """Event by event is the definition: edits, order, and what leaves before a refusal. (With
    a refusal one text only: what another still held is judged by what the read brought.)"""
    if scanner is EndingScanner:
        parts = [("content", text) for _, text in parts]
    events = [event(*part) for part in parts] + [DONE] * done
    one_by_one = sent(stream(lambda: scanner("SECRET")), events)
    assert sent(stream(lambda: scanner("SECRET")), split(b"".join(events), cuts)) == one_by_one


@given(EVENTS)
@settings(max_examples=40, deadline=None)
def test_a_refused_word_never_leaves_whichever_text_it_stands_in(
    parts: list[tuple[str, str]],
) -> None:
    out = sent(stream(lambda: EndingScanner("SECRET")), [b"".join(event(*part) for part in parts)])
    said = ["", ""]
    for line in out.split(b"\n\n"):
        document = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        for choice in document.get("choices", []):
            said[0] += choice["delta"].get("content", "")
            for call in choice["delta"].get("tool_calls", []):
                said[1] += call["function"]["arguments"]
    assert "SECRET" not in said[0] and "SECRET" not in said[1]


def test_a_read_is_looked_at_once_and_leaves_in_the_same_call() -> None:
    Counting.looks = 0
    answer = stream(lambda: Counting("SECRET"))
    data = b"".join(event("content", f" word {number}") for number in range(LOOK_EVENTS - 1))
    assert answer.feed(data) == [data]
    assert Counting.looks == 1
    assert answer.feed(data * 3) == [data * 3] and Counting.looks == 4


def test_what_a_channel_alone_may_say_does_not_wait_for_another() -> None:
    """A candidate in one text holds later events back, and none before it."""
    events = [event("content", "hello"), event("arguments", "SEC"), event("content", " you")]
    answer = stream(lambda: WordScanner("SECRET"))
    assert b"".join(answer.feed(b"".join(events))) == events[0]
    assert b"".join(answer.feed(event("arguments", "x"))).startswith(events[1] + events[2])


def test_events_before_a_scanners_fault_are_kept_for_who_lets_the_answer_go_on() -> None:
    Counting.looks = 0
    answer = stream(lambda: Counting("SECRET"))
    data = event("content", "a") + event("content", "END") + event("content", "b")
    with pytest.raises(RuntimeError):
        answer.feed(data)
    assert b"".join(answer.pass_on(data)) == data


def test_what_a_reader_could_not_read_leaves_what_came_before_edited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where an answer goes on after a fault, words found before it stay out of it."""
    answer = stream(lambda: WordScanner("SECRET"))
    read = answer._reader.event

    def fails(name: str | None, document: Any) -> Any:
        if document["choices"][0]["delta"].get("content") == "END":
            raise RuntimeError("a reader's fault")
        return read(name, document)

    monkeypatch.setattr(answer._reader, "event", fails)
    data = event("content", "SECRET") + event("content", "END")
    with pytest.raises(RuntimeError):
        answer.feed(data)
    out = b"".join(answer.pass_on(data))
    assert b"SECRET" not in out and out.endswith(event("content", "END"))


def test_a_channel_of_a_watching_scanner_passes_as_it_came() -> None:
    def nothing(channel: Channel) -> ChannelScanner:
        return Counting("SECRET")

    answer = AnswerStream(Exchange(CHAT), family_of(CHAT), "sse", nothing, watches=True)
    data = event("content", "SEC") + event("content", "RET")
    assert answer.feed(data) == [data]


def test_a_text_refused_at_its_end_does_not_leave() -> None:
    """Whatever says that it ends: a closing copy, the stream's last event, or the stream itself."""
    total = {"index": 0, "message": {"content": "a SECRET"}, "finish_reason": None}
    closing = b"data: " + json.dumps({"id": "c", "choices": [total]}).encode() + b"\n\n"
    for events in ([closing], [event("content", "a SECRET"), DONE], [event("content", "SECRET")]):
        out = sent(stream(lambda: LateScanner("SECRET")), events)
        assert b"SECRET" not in out and b"Not this." in out
    text = ChannelText(LateScanner("SECRET"), nested=False)
    text.feed("a SECRET")
    text.finish()
    assert text.stop is REFUSAL and text.settled == 2
