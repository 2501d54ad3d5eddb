"""SSE as transcripts: every line end, every split, every byte kept."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.framing.sse import MAX_EVENT_BYTES, SseEvent, SseParser, looks_like_sse

LINE = st.sampled_from(
    [b"data: x", b"data:y", b"data: {\"a\": 1}", b"data", b"event: ping", b"id: 7", b": comment",
     b"retry: 5", b"unknown: z", b"data: \xc3\xa9\xf0\x9f\x98\x80", b"", b""]
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream of one kind of line end, and the same bytes cut anywhere."""
    ending = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    body = b"".join(line + ending for line in draw(st.lists(LINE, max_size=20)))
    body = (
        draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
        + body
        + draw(st.sampled_from([b"", b"data: cut"]))
    )
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return body, [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def read(chunks: list[bytes]) -> list[SseEvent]:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.end()


def told(events: list[SseEvent]) -> list[tuple[str | None, bytes | None]]:
    return [(event.name, event.data) for event in events if event.data is not None or event.name]


@given(streams())
def test_the_split_makes_no_difference(case: tuple[bytes, list[bytes]]) -> None:
    body, chunks = case
    assert (
        told(read(chunks))
        == told(read([body]))
        == told(read([body[i : i + 1] for i in range(len(body))]))
    )


@given(streams())
def test_every_byte_leaves_in_order(case: tuple[bytes, list[bytes]]) -> None:
    body, chunks = case
    assert b"".join(event.raw for event in read(chunks)) == body


def by_the_standard(body: bytes) -> list[tuple[str | None, bytes | None]]:
    """Names and data line by line, without any short way."""
    found: list[tuple[str | None, bytes | None]] = []
    name: str | None = None
    data: list[bytes] = []
    for line in [*re.split(rb"\r\n|\n|\r", body), b""]:
        field, _, value = line.partition(b":")
        if not line:
            if data or name:
                found.append((name, b"\n".join(data) if data else None))
            name, data = None, []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ").decode()
    return found


@given(st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\n", b"\r"]))))
def test_mixed_line_ends_are_read_as_the_standard_says(lines: list[tuple[bytes, bytes]]) -> None:
    body = b"".join(line + ending for line, ending in lines)
    assert told(read([body])) == by_the_standard(body)
    cut = len(body) // 2
    assert told(read([body[:cut], body[cut:]])) == by_the_standard(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\n", [(None, b"a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [(None, b"a"), (None, b"b")]),
        (b"data: a\r\rdata: b\r\r", [(None, b"a"), (None, b"b")]),
        (b"event: m\ndata: a\ndata: b\n\n", [("m", b"a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(None, b"a")]),
        (b"data:a\n\n", [(None, b"a")]),
        (b"data:  a\n\n", [(None, b" a")]),
        (b"data\n\n", [(None, b"")]),
        (b": ping\n\n", []),
        (b"event: ping\n\n", [("ping", None)]),
        (b"\n\n\n\ndata: a\n\n", [(None, b"a")]),
        (b"data: a", [(None, b"a")]),
    ],
)
def test_the_transcript(body: bytes, expected: list[tuple[str | None, bytes | None]]) -> None:
    assert told(read([body])) == expected


def test_an_event_leaves_with_the_byte_that_completes_it() -> None:
    parser = SseParser()
    assert [len(parser.feed(bytes([byte]))) for byte in b"data: a\n\ndata: b\n\n"] == (
        [0] * 8 + [1] + [0] * 8 + [1]
    )


@pytest.mark.parametrize(
    ("raw", "data", "rebuilt"),
    [
        (
            b"event: e\r\ndata: old\r\nid: 1\r\n\r\n",
            b"new",
            b"event: e\r\ndata: new\r\nid: 1\r\n\r\n",
        ),
        (b"data:{\ndata:1}\n\n", b"{\n2}", b"data:{\ndata:2}\n\n"),
        (b": c\ndata: a\n\n", b"x\ny", b": c\ndata: x\ndata: y\n\n"),
    ],
)
def test_a_changed_event_keeps_all_else(raw: bytes, data: bytes, rebuilt: bytes) -> None:
    event = SseParser().feed(raw)[0]
    assert event.rebuild(data) == rebuilt


def test_an_endless_event_is_a_problem_and_memory_stays_bounded() -> None:
    parser = SseParser()
    for _ in range(MAX_EVENT_BYTES // 65536 + 1):
        parser.feed(b"x" * 65536)
    assert parser.problem is not None


def test_a_body_is_known_as_sse_by_its_first_bytes() -> None:
    assert looks_like_sse(b"\xef\xbb\xbf\n: ping\n\n")
    assert not looks_like_sse(b'{"data": 1}')
