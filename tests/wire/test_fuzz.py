"""Mutated bytes, from seeds written by hand: nothing raises, nothing grows past its stated limit.

The seeds are kept in ``corpus/``: answers are named API-FRAMING-WHAT, requests begin with their
line and headers. What is not found leaves as it came; what cannot be read is a problem, not an
exception. With PENSTOCK_LONG=1 each test tries fifty times as much.
"""

from __future__ import annotations

import gzip
import os
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.destinations import identify
from penstock.exchange import Exchange, HttpAnswer, HttpRequest
from penstock.wire import edits, family_of, read_request
from penstock.wire.content_coding import ContentCodingError, decode
from penstock.wire.edits import Edit
from penstock.wire.family import Framing
from penstock.wire.framing.framings import PARSERS
from penstock.wire.framing.sse import MAX_EVENT_BYTES
from penstock.wire.stream import MAX_HELD_BYTES, AnswerStream
from tests.wire.scanners import WordScanner

CORPUS = Path(__file__).parent / "corpus"
ANSWERS = sorted((CORPUS / "answers").iterdir())
REQUESTS = sorted((CORPUS / "requests").iterdir())
# What the formats are made of; blind flips rarely hit upon it.
TOKENS = [
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"data: ", b"data:", b"event: error\n", b": ",
    b"[DONE]",
    b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b",", b'"', b"\\", b"\\u", b"\\ud800", b"null", b"-0",
    b"1e999", b"9" * 30, b'{"a":' * 50, b"[" * 300, b"\x00", b"\xff", b"\x00\x00\x00\x10", b"--B",
    b'"error":{"message":1}', b'"choices":', b'"delta":null', b'"type":"error"', b"SECRET", b"\xc3",
]  # fmt: skip
tries = settings(
    max_examples=10_000 if os.environ.get("PENSTOCK_LONG") else 200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def spoilt(draw: st.DrawFn, seeds: list[Path]) -> tuple[Path, bytes]:
    """A seed with up to six places spoilt, and maybe a piece of another seed inside."""
    seed = draw(st.sampled_from(seeds))
    body = bytearray(seed.read_bytes())
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(body)))
        to = min(len(body), at + draw(st.sampled_from([0, 1, 2, 4, 16, 200])))
        how = draw(st.sampled_from(["token", "flip", "cut", "repeat", "splice"]))
        if how == "token":
            body[at:to] = draw(st.sampled_from(TOKENS))
        elif how == "flip" and at < len(body):
            body[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del body[at:to]
        elif how == "repeat":
            body[at:at] = body[at:to] * draw(st.integers(1, 3))
        elif how == "splice":
            other = draw(st.sampled_from(seeds)).read_bytes()
            body[at:to] = other[len(other) // 3 : 2 * len(other) // 3]
    return seed, bytes(body)


def pieces(draw: st.DataObject, body: bytes) -> list[bytes]:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def opened(seed: Path, scanner_for: Any, **more: Any) -> AnswerStream:
    api, framing, _ = seed.name.split("-")
    return AnswerStream(Exchange(api), family_of(api), framing, scanner_for, **more)  # type: ignore[arg-type]


@given(spoilt(ANSWERS), st.data())
@tries
def test_a_spoilt_stream_leaves_as_it_came_where_nothing_may_change(
    case: tuple[Path, bytes], data: st.DataObject
) -> None:
    seed, body = case
    for scanner_for in (None, lambda _: WordScanner("SECRET")):
        stream = opened(seed, scanner_for, watches=scanner_for is not None)
        out = [sent for piece in pieces(data, body) for sent in stream.feed(piece)]
        assert b"".join(out + stream.end()) == body


@given(spoilt(ANSWERS), st.data())
@tries
def test_a_spoilt_stream_under_rules_is_passed_whole_or_stopped(
    case: tuple[Path, bytes], data: st.DataObject
) -> None:
    """Nothing is found: bytes leave in order; a torn last event, and what cannot be read, stay."""
    seed, body = case
    stream = opened(seed, lambda _: WordScanner("\0never"))
    out = b"".join(sent for piece in pieces(data, body) for sent in stream.feed(piece))
    out += b"".join(stream.end())
    if stream.stopped is None:
        assert body.startswith(out) and stream.edited == 0
    else:
        last = family_of(seed.name.split("-")[0]).stream_refusal(stream._exchange, stream.stopped)
        assert out.endswith(last) and body.startswith(out[: -len(last)])


@given(spoilt(ANSWERS), st.data())
@tries
def test_no_split_of_a_spoilt_stream_lets_the_word_out(
    case: tuple[Path, bytes], data: st.DataObject
) -> None:
    """Wherever it is split the same leaves, and what is found once is found always."""
    seed, body = case
    whole, split = (opened(seed, lambda _: WordScanner("SECRET")) for _ in range(2))
    one = b"".join(whole.feed(body) + whole.end())
    many = b"".join(sent for piece in pieces(data, body) for sent in split.feed(piece))
    many += b"".join(split.end())
    # A line feed that belongs to the end before may go with a torn event behind it.
    assert many.rstrip(b"\r\n") == one.rstrip(b"\r\n") and split.stopped == whole.stopped


@given(spoilt(ANSWERS), st.sampled_from(["sse", "ndjson", "json_array", "aws_eventstream"]))
@tries
def test_a_framing_gives_back_every_byte_whatever_it_is_fed(
    case: tuple[Path, bytes], framing: Framing
) -> None:
    parser = PARSERS[framing]()
    frames = parser.feed(case[1]) + parser.end()
    whole = b"".join(frame.raw for frame in frames)
    assert whole == case[1] or (parser.problem is not None and case[1].startswith(whole))
    for frame in frames:
        if frame.data is not None and parser.problem is None:
            frame.rebuild(frame.data)


@given(spoilt(REQUESTS))
@tries
def test_a_spoilt_request_is_an_exchange_whose_leaves_can_be_edited(
    case: tuple[Path, bytes],
) -> None:
    body = case[1].partition(b"\n\n")[2]
    line, *lines = case[0].read_bytes().partition(b"\n\n")[0].decode().split("\n")
    method, _, url = line.partition(" ")
    host, _, path = url.removeprefix("https://").partition("/")
    headers = dict(one.split(": ", 1) for one in lines)
    request = HttpRequest(method, "https", host, 443, "/" + path, headers, body)
    exchange = read_request(request, identify(host, 443, "/" + path))
    changes = [
        Edit(leaf, leaf.text.index("SECRET"), leaf.text.index("SECRET") + 6, "<X>")
        for leaf in exchange.leaves
        if leaf.editable and "SECRET" in leaf.text
    ]
    if exchange.problem is None and changes:
        assert edits.apply(body, changes) != body
    family_of(exchange.api).read_answer(exchange, HttpAnswer(200, headers, body))


@given(spoilt(ANSWERS), st.sampled_from(["gzip", "deflate", "br", "zstd"]), st.data())
@tries
def test_spoilt_codings_are_told_and_bounded(
    case: tuple[Path, bytes], coding: str, data: st.DataObject
) -> None:
    code = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress,
            "zstd": zstandard.compress}[coding]  # fmt: skip
    coded = bytearray(code(case[1] * 3))
    for _ in range(data.draw(st.integers(0, 3))):
        coded[data.draw(st.integers(0, len(coded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ContentCodingError):
        assert len(decode(bytes(coded), coding, 4096)) <= 4096


CHAT = "openai.chat_completions"
HELD = b'data: {"choices":[{"index":%d,"delta":{"content":"S"}}]}\n\n'
# Framing, first bytes, and what follows again and again (``%d``: its number).
ENDLESS: dict[str, tuple[Framing, bytes, bytes]] = {
    "an event without an end": ("sse", b"data: ", b"x" * 65536),
    "lines without a blank one": ("sse", b"", b"data: x\n" * 8192),
    "a line without an end": ("ndjson", b"", b"x" * 65536),
    "an element without an end": ("json_array", b"[", b'{"a":"' + b"x" * 65530),
    "brackets without an end": ("json_array", b"", b"[" * 65536),
    "the longest frame allowed": ("aws_eventstream", b"\0\xff\xff\xff", b"\0" * 65536),
    "comments": ("sse", b"", b": x\n\n" * 10),
    "one open text in events that are all held": ("sse", HELD % 0, b"data: {}\n\n" * 100),
    "an open text in every event": ("sse", b"", HELD),
    "a field of its own in every event": ("sse", b"", b'data: {"field_%d":"SECRE"}\n\n'),
}
FEEDS = 32 * 1024 * 1024 // 65536
# What one stream may keep: an event, the same cut and parsed, and what is held.
KEPT_BYTES = 3 * MAX_EVENT_BYTES + MAX_HELD_BYTES


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_input_does_not_fill_the_memory(name: str) -> None:
    """It passes, or the stream is stopped; what is kept stays below the limit."""
    framing, start, again = ENDLESS[name]
    stream = AnswerStream(Exchange(CHAT), family_of(CHAT), framing, lambda _: WordScanner("SECRET"))
    tracemalloc.start()
    try:
        stream.feed(start)
        for number in range(FEEDS if len(again) > 60_000 else 24 * FEEDS):
            stream.feed(again % number if b"%d" in again else again)
            if stream.stopped is not None:
                break
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < KEPT_BYTES, f"{peak / 2**20:.0f} MiB"
    if stream.stopped is not None:
        assert kept < 2 * MAX_EVENT_BYTES, "a stopped stream keeps nothing but its last bytes"
