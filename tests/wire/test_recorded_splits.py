"""Every recorded stream, split wherever a network could split it: read the same, left the same.

A framing keeps nothing from one frame to the next, so a split matters to the two frames around it
only: each pair of neighbouring frames is split at every byte. Long frames are split at every byte
of their edges, where lengths, line ends and brackets stand, and at steps in between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.exchange import HttpAnswer
from penstock.wire import family_of, read_request
from penstock.wire.framing.framings import PARSERS, Frame
from penstock.wire.inspect import recorded_answer, recorded_request
from penstock.wire.stream import AnswerStream
from tests.wire.families import destination
from tests.wire.scanners import WordScanner

Line = dict[str, Any]
EDGE_BYTES = 80
STEP_BYTES = 61


@pytest.fixture(scope="module")
def streams(recordings: list[Line]) -> list[tuple[Line, HttpAnswer, Any]]:
    """Recording, answer (decoded) and framing of everything that streams."""
    found = []
    for line in recordings:
        asked, answer = recorded_request(line["request"]), recorded_answer(line["response"])
        exchange = read_request(asked, destination(asked.host))
        framing = family_of(exchange.api).framing(exchange, answer, answer.body[:1024])
        if framing != "none" and answer.body:
            found.append((line, answer, framing))
    assert len(found) >= 80
    return found


def frames(framing: Any, *chunks: bytes) -> list[Frame]:
    parser = PARSERS[framing]()
    return [frame for chunk in chunks for frame in parser.feed(chunk)] + parser.end()


def told(found: list[Frame]) -> list[tuple[str | None, bytes | None]]:
    return [(frame.name, frame.data) for frame in found if frame.data is not None or frame.name]


def places(size: int, middle: int) -> Iterator[int]:
    """Where to split ``size`` bytes whose two frames meet at ``middle``."""
    for at in range(1, size):
        near = min(at, abs(at - middle), size - at) <= EDGE_BYTES
        if near or at % STEP_BYTES == 0:
            yield at


@pytest.mark.slow
def test_no_split_changes_what_is_read(streams: list[tuple[Line, HttpAnswer, Any]]) -> None:
    splits = 0
    for line, answer, framing in streams:
        whole = frames(framing, answer.body)
        assert b"".join(frame.raw for frame in whole) == answer.body, line["id"]
        raws = [frame.raw for frame in whole]
        if framing == "json_array":  # elements stand in an array: the split is of the whole
            raws = [answer.body, b""]
        for first, second in zip(raws, [*raws[1:], b""], strict=True):
            both = first + second
            wanted = told(frames(framing, both))
            for at in places(len(both), len(first)):
                assert told(frames(framing, both[:at], both[at:])) == wanted, (line["id"], at)
                splits += 1
    assert splits > 100_000


def test_byte_by_byte_every_stream_leaves_as_it_came(
    streams: list[tuple[Line, HttpAnswer, Any]],
) -> None:
    """Under rules that find nothing, and read to the same end as in one piece."""
    for line, answer, framing in streams:
        read = []
        for size in (1, len(answer.body)):
            asked = recorded_request(line["request"])
            exchange = read_request(asked, destination(asked.host))
            family = family_of(exchange.api)
            stream = AnswerStream(exchange, family, framing, lambda _: WordScanner("\0never"))
            pieces = (answer.body[at : at + size] for at in range(0, len(answer.body), size))
            sent = b"".join([out for piece in pieces for out in stream.feed(piece)] + stream.end())
            assert sent == answer.body and stream.problem is None, line["id"]
            read.append(exchange.answer)
        assert read[0] == read[1], line["id"]
