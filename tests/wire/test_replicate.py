"""Replicate: the model in the URL, the stream as plain text."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import HttpAnswer
from penstock.wire import inspect
from penstock.wire.replicate import FAMILIES
from penstock.wire.stream import AnswerStream
from tests.wire.families import REFUSED, answered, read, sse, zone_of
from tests.wire.mutation import mutated
from tests.wire.scanners import WordScanner

(FAMILY,) = FAMILIES
PATH = "/v1/models/meta/llama-3-8b/predictions"
BODY = {"input": {"prompt": "How much?"}, "stream": True}
HOST = "api.replicate.com"
STREAM = (
    b": hello\n\nevent: output\nid: 1:0\ndata: It costs\n\n"
    b"event: output\nid: 2:0\ndata:  12 EUR.\n\nevent: done\nid: 3:0\ndata: {}\n\n"
)


def test_a_request_is_read() -> None:
    exchange = read(FAMILY, PATH, BODY, HOST)
    assert exchange.model == "meta/llama-3-8b"
    assert zone_of(exchange.leaves, "How much?") == "user"
    versioned = read(FAMILY, "/v1/predictions", {"version": "abc", "input": {}}, HOST)
    assert versioned.model == "abc"


def test_a_stream_of_text_is_read_and_edited() -> None:
    exchange = read(FAMILY, PATH, BODY, HOST)
    answer = HttpAnswer(200, {"content-type": "text/event-stream"}, STREAM)
    inspect.read_recorded_answer(exchange, answer)
    assert exchange.answer is not None
    assert exchange.answer.messages[0].text() == "It costs 12 EUR."
    assert exchange.answer.complete
    exchange.answer = None
    stream = AnswerStream(exchange, FAMILY, "sse", lambda channel: WordScanner("costs 12"))
    sent = b"".join([*stream.feed(STREAM), *stream.end()])
    assert sent == STREAM.replace(b"It costs", b"It <X>").replace(b"data:  12 EUR", b"data:  EUR")


def test_a_plain_prediction_is_read() -> None:
    exchange = read(FAMILY, PATH, BODY, HOST)
    body = {"model": "meta/llama-3-8b", "output": ["It costs", " 12 EUR."], "status": "succeeded"}
    answer, leaves = answered(FAMILY, exchange, body)
    assert (answer.model, answer.messages[0].text()) == ("meta/llama-3-8b", "It costs 12 EUR.")
    assert zone_of(leaves, " 12 EUR.") == "assistant"


def test_refusals_are_a_problem_document_or_an_error_event() -> None:
    assert json.loads(FAMILY.refusal(REFUSED).body)["detail"] == "Refused by rule r."
    events = sse(FAMILY.stream_refusal(read(FAMILY, PATH, BODY, HOST), REFUSED))
    assert [name for name, _ in events] == ["error", "done"]


@given(st.data())
def test_no_wrong_type_anywhere_raises(data: st.DataObject) -> None:
    exchange = read(FAMILY, PATH, mutated(data, {"input": {"prompt": "x"}, "version": "v"}), HOST)
    answered(FAMILY, exchange, mutated(data, {"output": ["x"], "model": "m"}))
    reader = FAMILY.answer_reader(exchange)
    for name in ("output", "error", "done", None):
        reader.event(name, mutated(data, {"detail": "x", "reason": "y"}))
    reader.end()
