"""Content codings come off whole or byte by byte, and a bomb stays small."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard

from penstock.wire.content_coding import ContentCodingError, Decoder, decode

TEXT = b"data: hello world\n\n" * 500
LIMIT = 1024 * 1024


def _raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


CODED = [
    ("gzip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", _raw_deflate(TEXT)),
    ("br", brotli.compress(TEXT)),
    ("zstd", zstandard.compress(TEXT)),
    ("gzip, br", brotli.compress(gzip.compress(TEXT))),
    ("identity", TEXT),
    ("", TEXT),
]


@pytest.mark.parametrize(("coding", "body"), CODED)
def test_each_coding_decodes_whole_and_byte_by_byte(coding: str, body: bytes) -> None:
    assert decode(body, coding, LIMIT) == TEXT
    decoder = Decoder(coding, LIMIT)
    assert b"".join(decoder.feed(body[i : i + 1]) for i in range(len(body))) == TEXT


@pytest.mark.parametrize(("coding", "body"), CODED[:5])
def test_a_cut_body_is_noticed(coding: str, body: bytes) -> None:
    with pytest.raises(ContentCodingError):
        decode(body[:-9], coding, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_is_stopped_by_size_and_by_ratio(coding: str) -> None:
    blank = b"\0" * 20_000_000
    code = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress}
    bomb = zstandard.compress(blank) if coding == "zstd" else code[coding](blank)
    with pytest.raises(ContentCodingError):
        decode(bomb, coding, 4 * LIMIT)
    with pytest.raises(ContentCodingError, match="times"):
        decode(bomb, coding, 100 * LIMIT, ratio=10)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_so_coded_is_refused(coding: str) -> None:
    with pytest.raises(ContentCodingError):
        decode(b"plain text, no coding at all" * 40, coding, LIMIT)


def test_an_unknown_coding_is_refused_and_an_empty_body_is_not() -> None:
    with pytest.raises(ContentCodingError, match="unknown"):
        decode(b"x", "compress", LIMIT)
    assert decode(b"", "gzip", LIMIT) == b""


@pytest.mark.parametrize("size", range(256 * 1024, 256 * 1024 + 300, 7))
def test_output_that_waits_inside_the_decoder_is_taken_out(size: int) -> None:
    """A step that is exactly full can leave the end of a copy behind, with no input left."""
    assert decode(_raw_deflate(b"0" * size), "deflate", LIMIT) == b"0" * size


def test_a_zstd_body_that_is_cut_anywhere_is_an_error() -> None:
    coded = zstandard.compress(b"the same words again " * 500)
    for cut in range(1, len(coded)):
        with pytest.raises(ContentCodingError):
            decode(coded[:-cut], "zstd", LIMIT)


def test_zstd_frames_may_follow_one_another() -> None:
    coded = zstandard.compress(b"one ") + zstandard.compress(b"two")
    assert decode(coded, "zstd", LIMIT) == b"one two"
