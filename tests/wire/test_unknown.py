"""What nobody described: every string is read all the same."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.exchange import Exchange, HttpAnswer, HttpRequest
from penstock.wire import FAMILIES, family_of, read_request
from penstock.wire.unknown import UnknownJson, UnknownText, read_any
from tests.wire.families import LIMITED, REFUSED, answered, destination, sse, streamed


def asked(body: bytes, content_type: str = "") -> Exchange:
    headers = {"content-type": content_type} if content_type else {}
    return read_request(HttpRequest("POST", "https", "h", 443, "/x", headers, body), destination())


def test_unknown_json_is_read_string_by_string() -> None:
    exchange = asked(b' {"q": ["a", {"b": "c"}], "model": "m", "stream": true}')
    assert (exchange.api, exchange.model, exchange.stream) == ("unknown.json", "m", True)
    assert [leaf.text for leaf in exchange.leaves] == ["a", "c", "m"]
    assert {leaf.zone for leaf in exchange.leaves} == {"other"}


def test_what_only_claims_to_be_json_is_one_text_with_a_problem() -> None:
    exchange = asked(b"q=1&secret=2", "application/json")
    assert exchange.problem == "not JSON"
    assert [leaf.text for leaf in exchange.leaves] == ["q=1&secret=2"]


@pytest.mark.parametrize(
    ("body", "content_type", "texts", "problem"),
    [
        (b"hello", "text/plain", ["hello"], None),
        (b"", "", [], None),
        (b"\x89PNG\xff", "image/png", [], None),
        (b"\x89PNG\xff", "", ["\ufffdPNG\ufffd"], "not text"),
        (b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n--B--',
         "multipart/form-data; boundary=B", ["v"], None),
        (b"{not json", "text/plain", ["{not json"], None),
    ],
)  # fmt: skip
def test_other_bodies_are_read_as_what_they_show(
    body: bytes, content_type: str, texts: list[str], problem: str | None
) -> None:
    exchange = asked(body, content_type)
    assert [leaf.text for leaf in exchange.leaves] == texts and exchange.problem == problem
    assert exchange.api == "unknown.text"


@pytest.mark.parametrize(
    ("content_type", "first", "framing"),
    [
        ("text/event-stream", b"", "sse"),
        ("application/json", b"data: x\n\n", "sse"),
        ("text/event-stream", b'{"error":1}', "none"),
        ("application/x-ndjson", b"{}", "ndjson"),
        ("application/vnd.amazon.eventstream", b"\0", "aws_eventstream"),
        ("application/json", b"{}", "none"),
    ],
)
def test_the_framing_is_sniffed(content_type: str, first: bytes, framing: str) -> None:
    answer = HttpAnswer(200, {"content-type": content_type})
    assert UnknownJson().framing(Exchange("unknown.json"), answer, first) == framing


def test_answers_and_errors_are_read() -> None:
    answer, leaves = answered(
        UnknownJson(), Exchange("unknown.json"), {"error": "no", "a": "b"}, 500
    )
    assert answer.error is not None and answer.error.message == "no"
    assert [leaf.text for leaf in leaves] == ["no", "b"]


def test_every_string_of_a_stream_is_a_text() -> None:
    events: list[tuple[str | None, Any]] = [(None, {"a": "x", "b": ["y"]}), (None, "plain")]
    _, grown, _ = streamed(UnknownJson(), Exchange("unknown.json"), events)
    assert grown == {("a",): "x", ("b", 0): "y", (): "plain"}


def test_refusals_are_json_and_an_error_event() -> None:
    assert UnknownText().refusal(LIMITED).status == 429
    stopped = UnknownText().stream_refusal(Exchange("unknown.text"), REFUSED)
    assert sse(stopped)[0][0] == "error"


def test_reading_keeps_json_in_a_text_answer() -> None:
    assert read_any(b'["a"]', "text/plain").value == ["a"]


def test_every_family_is_found_by_its_name() -> None:
    for family in FAMILIES:
        assert family_of(family.api).api == family.api
    assert family_of("nobody.knows") is FAMILIES[-1]
