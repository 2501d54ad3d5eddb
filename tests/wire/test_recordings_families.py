"""Agreement with recorded traffic, for every family that is neither OpenAI's nor MCP.

The recordings' ``expect`` was made by another parser. At least 99.5 % of all fields it names
and all token fields must agree; each exception is listed here with whose fault it is.
"""

from __future__ import annotations

from typing import Any

import pytest

from penstock.exchange import HttpAnswer
from penstock.wire import family_of, inspect, read_request
from penstock.wire.loose import as_dict
from penstock.wire.stream import AnswerStream
from tests.wire.families import REFUSED, destination, strings
from tests.wire.scanners import WordScanner

TOKEN_FIELDS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "input_tokens_total",
    "output_tokens_total",
    "counted_tokens",
)
CONTAINED = ("prompt_text_contains", "tool_result_text_contains")
# (recording, field): why the two readings differ.
EXPLAINED: dict[tuple[str, str], str] = {}


def _lines(recordings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    foreign = ("openai.", "mcp.", "a2a.")
    return [line for line in recordings if not line["api"].startswith(foreign)]


def _agrees(field: str, wanted: Any, found: Any) -> bool:
    if field in CONTAINED:
        return all(any(text in shown for shown in found or []) for text in wanted)
    return bool(found == wanted) or (not found and not wanted)


@pytest.fixture(scope="module")
def compared(recordings: list[dict[str, Any]]) -> list[tuple[str, str, Any, Any]]:
    """(recording, field, wanted, found) for every field the recordings name."""
    rows = []
    for line in _lines(recordings):
        found = inspect.inspect(line)
        rows.append((line["id"], "api", line["api"], found["api"]))
        rows += [
            (line["id"], field, wanted, found.get(field))
            for field, wanted in line["expect"].items()
            if wanted is not None
        ]
    return rows


def test_every_disagreement_with_the_recordings_is_explained(
    compared: list[tuple[str, str, Any, Any]],
) -> None:
    differing = {
        (line, field): (wanted, found)
        for line, field, wanted, found in compared
        if not _agrees(field, wanted, found)
    }
    assert {key: value for key, value in differing.items() if key not in EXPLAINED} == {}
    assert len(differing) <= 0.005 * len(compared)


def test_every_token_count_agrees(compared: list[tuple[str, str, Any, Any]]) -> None:
    tokens = [row for row in compared if row[1] in TOKEN_FIELDS]
    assert len(tokens) > 300
    assert [row for row in tokens if row[2] != row[3]] == []


def test_every_string_of_every_recorded_request_is_a_leaf(
    recordings: list[dict[str, Any]],
) -> None:
    """Blobs decoded for reading, and constants of OpenAI's shape, are not leaves as they stand."""
    for line in _lines(recordings):
        asked = inspect.recorded_request(line["request"])
        exchange = read_request(asked, destination(asked.host))
        seen = {leaf.text for leaf in exchange.leaves}
        missing = [text for text in strings(as_dict(exchange.document)) if text not in seen]
        unread = [text for text in missing if len(text) > 20]
        decoded = [leaf for leaf in exchange.leaves if not leaf.editable and not leaf.blob]
        assert len(unread) <= len(decoded), (line["id"], unread)


def test_every_recorded_stream_ended_as_its_family_ends(
    recordings: list[dict[str, Any]],
) -> None:
    incomplete = []
    for line in _lines(recordings):
        if not line["streaming"]:
            continue
        asked = inspect.recorded_request(line["request"])
        exchange = read_request(asked, destination(asked.host))
        inspect.read_recorded_answer(exchange, inspect.recorded_answer(line["response"]))
        assert exchange.answer is not None
        if not exchange.answer.complete:
            incomplete.append((line["id"], exchange.api))
    assert incomplete == []


def test_every_family_can_refuse(recordings: list[dict[str, Any]]) -> None:
    """Whatever the family, a refusal is a 403 with a body that says so."""
    for api in {line["api"] for line in _lines(recordings)}:
        answer = family_of(api).refusal(REFUSED)
        assert family_of(api).api == api
        assert answer.status == 403
        assert REFUSED.message.encode() in answer.body
        assert answer.headers["x-should-retry"] == "false"


def _through_stream(line: dict[str, Any], word: str | None, new: str) -> tuple[bytes, bytes, Any]:
    asked = inspect.recorded_request(line["request"])
    exchange = read_request(asked, destination(asked.host))
    family = family_of(exchange.api)
    answer = inspect.recorded_answer(line["response"])
    framing = family.framing(exchange, answer, answer.body[:1024])
    scanner = WordScanner(word or "no such word", new)
    stream = AnswerStream(
        exchange, family, framing, lambda channel: WordScanner(scanner.word, scanner.replacement)
    )
    sent = b"".join([*stream.feed(answer.body), *stream.end()])
    assert stream.problem is None
    again = read_request(asked, destination(asked.host))
    inspect.read_recorded_answer(again, HttpAnswer(answer.status, answer.headers, sent))
    return answer.body, sent, again.answer


def test_a_stream_in_which_nothing_is_found_is_the_same_bytes(
    recordings: list[dict[str, Any]],
) -> None:
    for line in _lines(recordings):
        if line["streaming"]:
            came, sent, _ = _through_stream(line, None, "")
            assert sent == came, line["id"]


def test_a_word_is_replaced_wherever_a_stream_says_it(recordings: list[dict[str, Any]]) -> None:
    """Every framing and every family: the new text reads back whole, nothing else has moved."""
    changed = 0
    for line in _lines(recordings):
        text = line["expect"]["completion_text"]
        words = [word for word in (text or "").split() if len(word) > 3 and word.isalpha()]
        if not line["streaming"] or not words:
            continue
        _, _, answer = _through_stream(line, words[-1], "<" + "x" * 30 + ">")
        assert answer.messages[0].text() == text.replace(words[-1], "<" + "x" * 30 + ">")
        assert answer.usage.input_tokens == line["expect"]["input_tokens"]
        changed += 1
    assert changed > 15
