"""The AWS event stream: frames in and out, both checksums."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.framing.eventstream import MAX_FRAME_BYTES, FrameParser, encode, encode_headers

HEADERS = {":event-type": "contentBlockDelta", ":message-type": "event"}


@given(st.lists(st.binary(max_size=30), max_size=4), st.lists(st.integers(0, 400), max_size=8))
def test_frames_survive_every_split(payloads: list[bytes], cuts: list[int]) -> None:
    body = b"".join(encode(encode_headers(HEADERS), payload) for payload in payloads)
    edges = sorted(min(cut, len(body)) for cut in cuts)
    parser = FrameParser()
    frames = []
    for start, end in zip([0, *edges], [*edges, len(body)], strict=True):
        frames += parser.feed(body[start:end])
    frames += parser.end()
    assert [frame.data for frame in frames] == payloads
    assert {frame.name for frame in frames} <= {"contentBlockDelta"}
    assert b"".join(frame.raw for frame in frames) == body


def test_a_changed_payload_gets_new_lengths_and_checksums() -> None:
    frame = FrameParser().feed(encode(encode_headers(HEADERS), b"old"))[0]
    changed = frame.rebuild(b"something longer")
    again = FrameParser().feed(changed)[0]
    assert (again.data, again.headers) == (b"something longer", HEADERS)
    assert frame.rebuild(b"old") == frame.raw


def test_an_exception_frame_is_named_by_its_type() -> None:
    headers = {":message-type": "exception", ":exception-type": "throttlingException"}
    assert (
        FrameParser().feed(encode(encode_headers(headers), b"{}"))[0].name
        == headers[":exception-type"]
    )


def test_headers_of_other_types_are_passed_over() -> None:
    block = (
        b"\x01a\x00" + b"\x01b\x04\0\0\0\x07" + b"\x01c\x06\0\x02zz" + b"\x01d\x08" + b"\0" * 8
        + encode_headers({":event-type": "x"})
    )  # fmt: skip
    assert FrameParser().feed(encode(block, b""))[0].name == "x"
    assert FrameParser().feed(encode(b"\x05ab", b""))[0].headers == {}


def _with(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize("at", [0, 5, 9, 15, -5, -1])
def test_a_flipped_bit_is_noticed(at: int) -> None:
    raw = encode(encode_headers(HEADERS), b"payload")
    parser = FrameParser()
    assert parser.feed(_with(raw, at % len(raw))) == []
    assert parser.problem is not None


@pytest.mark.parametrize("total", [0, 15, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_an_absurd_length_is_a_problem(total: int) -> None:
    prelude = struct.pack(">II", total, 0)
    parser = FrameParser()
    parser.feed(prelude + struct.pack(">I", zlib.crc32(prelude)))
    assert parser.problem is not None


def test_headers_longer_than_the_frame_are_a_problem() -> None:
    prelude = struct.pack(">II", 16, 99)
    body = prelude + struct.pack(">I", zlib.crc32(prelude))
    parser = FrameParser()
    parser.feed(body + struct.pack(">I", zlib.crc32(body)))
    assert parser.problem is not None
