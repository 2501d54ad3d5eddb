"""The way between a text's bytes and its characters, in any order of questions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.detect.view import LOCKED_BYTES_MAX, MARK_BYTES, View, utf8

TEXTS = st.text(st.sampled_from("a -é漢😀\ud800"), min_size=1, max_size=60)


@given(TEXTS, st.integers(1, MARK_BYTES), st.lists(st.integers(0), min_size=1, max_size=20))
def test_byte_offsets_become_string_indices(piece: str, times: int, places: list[int]) -> None:
    text = (piece * times)[: 3 * MARK_BYTES]
    view = View(text)
    for place in places:
        index = place % (len(text) + 1)
        assert view.index(len(utf8(text[:index]))) == index


@pytest.mark.parametrize("filler", ["a b\n", "é " * 9, "x" * 23 + " "])
@pytest.mark.parametrize("size", [40, 5_000, LOCKED_BYTES_MAX + 9])
def test_runs_are_found_where_they_begin(filler: str, size: int) -> None:
    run = "Ab0+/_-" * 4
    text = (filler * size)[:size] + f" {run}. " + (filler * 9) + f"{run}x"
    view, at, begins = View(text), 0, []
    while (at := view.run_from(at, 24)) >= 0:
        begins.append(at)
        at += len(run)
    assert begins == [match.start() for match in re.finditer(rb"[\w+/-]{24,}", view.data)]
    assert view.has_run(24) and not View(filler * 3).has_run(24)
