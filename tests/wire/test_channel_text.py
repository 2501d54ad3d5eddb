"""One channel's text: what is settled, what is replaced, and escapes cut anywhere."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.channel_text import MAX_KEPT_CHARACTERS, ChannelText
from tests.wire.scanners import WordScanner

ESCAPED = st.lists(
    st.sampled_from(
        ["S", "EC", "SEC", "\\n", "\\u0053", "\\ud83d\\ude00", "\\\\", '\\"', "é", "n"]
    ),
    max_size=10,
).map("".join)


@given(ESCAPED, st.lists(st.integers(0, 80), max_size=10))
def test_nested_text_is_scanned_unescaped_and_replaced_whole(written: str, cuts: list[int]) -> None:
    """Whatever the split, taking the replacements gives what replacing in the value gives."""
    text = ChannelText(WordScanner("SEC", 'a"\n'), nested=True)
    edges = sorted(min(cut, len(written)) for cut in cuts)
    pieces = []
    for start, end in zip([0, *edges], [*edges, len(written)], strict=True):
        begin = text.raw_length
        text.feed(written[start:end])
        pieces.append((begin, text.raw_length, written[start:end]))
    text.finish()
    assert text.settled == len(written)
    out = ""
    for begin, end, piece in pieces:
        at = 0
        for first, last, new in text.replaced(begin, end):
            out += piece[at:first] + new
            at = last
        out += piece[at:]
    value: str = json.loads(f'"{written}"')
    assert json.loads(f'"{out}"') == value.replace("SEC", 'a"\n')


def test_text_before_a_dead_candidate_is_settled_at_once() -> None:
    text = ChannelText(WordScanner("SECRET"), nested=False)
    for piece, settled in (("abc", 3), ("SEC", 3), ("R", 3), ("x", 8), ("S", 8)):
        text.feed(piece)
        assert text.settled == settled


def test_a_cut_escape_is_not_settled() -> None:
    text = ChannelText(WordScanner("SECRET"), nested=True)
    text.feed("ab\\u00")
    assert text.settled == 2
    text.feed("e9")
    assert text.settled == 8


def test_a_copy_is_told_from_another_text_and_only_so_long() -> None:
    text = ChannelText(WordScanner("SECRET"), nested=False)
    text.feed("one ")
    text.feed("two")
    assert text.repeats("one two") and text.repeats("one") and not text.repeats("two")
    text.feed("x" * MAX_KEPT_CHARACTERS)
    assert not text.repeats("one")


def test_half_a_character_never_reaches_a_scanner() -> None:
    """A lone surrogate would break every UTF-8 library behind it."""
    scanner = WordScanner("SECRET")
    ChannelText(scanner, nested=False).feed("a\ud83d")
    assert scanner.text == "a\ufffd"
