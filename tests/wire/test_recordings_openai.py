"""Recorded traffic in OpenAI's formats: read as labelled, passed without moving a byte."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest

from penstock.destinations import identify
from penstock.exchange import Answer, Exchange
from penstock.wire import edits, family_of, read_request
from penstock.wire.edits import Edit
from penstock.wire.framing.sse import SseParser
from penstock.wire.inspect import inspect, recorded_answer, recorded_request
from penstock.wire.stream import AnswerStream
from tests.wire.families import destination
from tests.wire.scanners import WordScanner

Line = dict[str, Any]
# Recordings whose label is wrong, and why; all other labels must be met exactly.
LABELS_AT_FAULT = {
    # Each piece comes twice in a chunk, as delta.content and as text; the label has both.
    ("w8bf8ad358f5755", "completion_text"),
    ("w80f71725ed1f04", "completion_text"),
}
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "input_tokens_total",
    "output_tokens_total",
    "counted_tokens",
)
TEXT_LISTS = ("prompt_text_contains", "tool_result_text_contains")


@pytest.fixture(scope="module")
def lines(recordings: list[Line]) -> list[Line]:
    found = [line for line in recordings if line["api"].startswith("openai.")]
    assert len(found) > 100
    return found


def agrees(field: str, wanted: Any, got: Any) -> bool:
    if field in TEXT_LISTS:
        return all(any(text in have for have in got or []) for text in wanted)
    if field == "completion_text":
        return str(got)[:200] == wanted[:200]
    return bool(got == wanted)


def test_every_labelled_field_is_read_as_labelled(lines: list[Line]) -> None:
    """All fields the label gives, token fields also where the label says there is none."""
    wrong: list[str] = []
    fields: Counter[str] = Counter()
    for line in lines:
        got = inspect(line, identify)
        if got["api"] != line["api"]:
            wrong.append(f"{line['id']}: api is {line['api']}, read as {got['api']}")
        for field, wanted in line["expect"].items():
            if field == "mcp" or (wanted in (None, [], "") and field not in TOKENS):
                continue
            fields[field] += 1
            if (line["id"], field) in LABELS_AT_FAULT:
                continue
            if not agrees(field, wanted, got[field]):
                wrong.append(f"{line['id']} {field}: {wanted!r:.80} read as {got[field]!r:.80}")
    assert wrong == []
    assert fields.total() > 1500


def streams(lines: list[Line]) -> list[tuple[Line, bytes]]:
    found = [(line, recorded_answer(line["response"]).body) for line in lines if line["streaming"]]
    return [(line, body) for line, body in found if body.lstrip()[:1] in b"de:"]


def opened(line: Line, word: str) -> tuple[Exchange, AnswerStream]:
    request = recorded_request(line["request"])
    exchange = read_request(request, destination(request.host))
    exchange.answer = Answer(200)
    family = family_of(exchange.api)
    return exchange, AnswerStream(exchange, family, "sse", lambda _: WordScanner(word))


def test_recorded_streams_pass_unchanged_at_random_splits(lines: list[Line]) -> None:
    dice = random.Random(7)
    checked = 0
    for line, body in streams(lines):
        _, answer = opened(line, "\0never")
        out, at = [], 0
        while at < len(body):
            end = at + dice.choice((1, 2, 7, 100, 1000))
            out += answer.feed(body[at:end])
            at = end
        assert b"".join(out + answer.end()) == body, line["id"]
        checked += 1
    assert checked > 30


def test_each_recorded_event_leaves_in_its_own_call(lines: list[Line]) -> None:
    for line, body in streams(lines):
        _, answer = opened(line, "\0never")
        for event in SseParser().feed(body):
            assert answer.feed(event.raw) == [event.raw], line["id"]


def test_a_word_of_the_answer_is_replaced_everywhere_it_is_said(lines: list[Line]) -> None:
    """Deltas, closing copies, items and the final object: none keeps the word."""
    checked = 0
    for line, body in streams(lines):
        words = (inspect(line, identify)["completion_text"] or "").split()
        word = max(words, key=len, default="")
        prompt = json.dumps(line["request"]["body"])
        if len(word) < 5 or word in prompt or "\\" in json.dumps(word):
            continue
        exchange, answer = opened(line, word)
        out = b"".join(answer.feed(body) + answer.end())
        assert word.encode() not in out, line["id"]
        again, reread = opened(line, "\0never")
        reread.feed(out)
        reread.end()
        assert exchange.answer is not None and again.answer is not None
        assert again.answer.events == exchange.answer.events, "every event stays"
        assert word in exchange.answer.messages[0].text(), "the record keeps what was said"
        assert word not in again.answer.messages[0].text()
        checked += 1
    assert checked > 15


def test_any_leaf_of_a_recorded_request_can_be_edited_alone(lines: list[Line]) -> None:
    checked = 0
    for line in lines:
        request = recorded_request(line["request"])
        exchange = read_request(request, destination(request.host))
        assert exchange.problem is None, line["id"]
        for leaf in exchange.leaves[:40]:
            if not leaf.editable or not leaf.text:
                continue
            first = 1 if leaf.nested else 0  # nested JSON is known by its bracket
            changed = edits.apply(request.body, [Edit(leaf, first, first + 1, "Ω")])
            same = next(
                i for i in range(len(changed)) if changed[i : i + 1] != request.body[i : i + 1]
            )
            tail = len(request.body) - same
            while tail and request.body[-tail:] != changed[-tail:]:
                tail -= 1
            assert len(request.body) - same - tail <= 12, "one character, in its longest form"
            if not leaf.is_key:
                request.body = changed
                again = read_request(request, destination(request.host))
                where = (leaf.path, leaf.span and leaf.span[0])
                texts = {(x.path, x.span and x.span[0]): x.text for x in again.leaves}
                assert texts[where] == leaf.text[:first] + "Ω" + leaf.text[first + 1 :]
                request = recorded_request(line["request"])
            checked += 1
    assert checked > 500
