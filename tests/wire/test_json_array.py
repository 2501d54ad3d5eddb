"""A growing JSON array: each element leaves when it is whole."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.framing.json_array import MAX_ELEMENT_BYTES, ArrayParser

TEXT = st.text(st.sampled_from('a"\\[]{},é'), max_size=6)
ITEM = st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=3), max_size=3)


@given(st.lists(ITEM, max_size=5), st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_elements_and_bytes_survive_every_split(
    items: list[Any], cuts: list[int], wide: bool
) -> None:
    body = (json.dumps(items, indent=2 if wide else None) + "\r\n").encode()
    edges = sorted(min(cut, len(body)) for cut in cuts)
    parser = ArrayParser()
    found = []
    for start, end in zip([0, *edges], [*edges, len(body)], strict=True):
        found += parser.feed(body[start:end])
    found += parser.end()
    assert b"".join(element.raw for element in found) == body
    assert [json.loads(element.data) for element in found if element.data] == items


def test_an_element_leaves_with_its_last_byte_and_is_changed_in_place() -> None:
    parser = ArrayParser()
    assert parser.feed(b'[{"a":1') == []
    element = parser.feed(b'}\n,\n{"b"')[0]
    assert element.rebuild(b'{"a":2}') == b'[{"a":2}'


def test_a_cut_element_is_told_from_the_closing_bracket() -> None:
    parser = ArrayParser()
    parser.feed(b'[{"a":1},{"secret":')
    assert parser.end()[0].data == b'{"secret":'
    whole = ArrayParser()
    whole.feed(b"[{}\n]")
    assert whole.end()[0].data is None


def test_an_endless_element_is_a_problem() -> None:
    parser = ArrayParser()
    parser.feed(b'[{"a":"' + b"x" * MAX_ELEMENT_BYTES)
    assert parser.problem is not None
