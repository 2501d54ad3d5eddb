"""Spans: where a value stands, and changes that move nothing else."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import json_spans

TEXT = st.text(st.sampled_from('ab"\\\n é😀]}:,'), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def paths(value: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [here]
    if isinstance(value, dict):
        for key, child in value.items():
            found += paths(child, (*here, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += paths(child, (*here, index))
    return found


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_value_and_key_is_found_where_it_stands(
    value: Any, indent: Any, ascii_only: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    wanted = paths(value)
    keys = [path for path in wanted if path and isinstance(path[-1], str)]
    values, names = json_spans.locate(body, wanted, keys)
    for path in wanted:
        start, end = values[path]
        assert json.loads(body[start:end]) == at(value, path)
    for path in keys:
        start, end = names[path]
        assert json.loads(body[start:end]) == path[-1]


@given(st.binary(max_size=40))
def test_hostile_bytes_never_raise(body: bytes) -> None:
    json_spans.locate(body, [("a", 0), ()], [("a",)])
    json_spans.remove_elements(body, ("a",), [0])
    json_spans.insert_member(body, (), "a", b"1")


def test_what_is_cut_off_is_not_found() -> None:
    assert json_spans.locate(b'{"a": "x', [("a",)])[0] == {}
    assert json_spans.locate(b'{"a" 1}', [("a",)])[0] == {}
    assert json_spans.locate(b'{"a": [1, {"b": 2', [("a", 1, "b"), ("a",)])[0].keys() == {
        ("a", 1, "b")
    }


@given(st.lists(JSON, max_size=6), st.sets(st.integers(0, 7)), st.sampled_from([None, 2]))
def test_removed_elements_are_gone_and_the_rest_is_valid(
    items: list[Any], removed: set[int], indent: Any
) -> None:
    body = json.dumps({"tools": items, "z": 1}, indent=indent).encode()
    left = json.loads(json_spans.remove_elements(body, ("tools",), removed))
    kept = [item for index, item in enumerate(items) if index not in removed]
    assert left == {"tools": kept, "z": 1}


def test_a_member_is_put_first_and_nothing_else_moves() -> None:
    assert json_spans.insert_member(b'{ "a":1}', (), "b", b"2") == b'{"b":2, "a":1}'
    assert json_spans.insert_member(b'{"o":{ }}', ("o",), "b", b"2") == b'{"o":{"b":2 }}'
    assert json_spans.insert_member(b'{"o":1}', ("o",), "b", b"2") == b'{"o":1}'


def test_a_value_is_replaced_in_place() -> None:
    assert json_spans.replace_value(b'{"a": [1, 2 ]}', ("a", 1), b'"x"') == b'{"a": [1, "x" ]}'
    assert json_spans.replace_value(b'{"a": 1}', ("b",), b"0") == b'{"a": 1}'


def test_half_a_character_in_a_key_is_found_as_the_reader_reads_it() -> None:
    """Readers put U+FFFD in its place, so paths hold that."""
    body = b'{"\\ud800a": {"\\ud83d\\ude00": 1}}'
    path = ("\ufffda", "\U0001f600")
    assert json_spans.replace_value(body, path, b"2") == body.replace(b"1", b"2")


def test_of_a_duplicate_key_the_last_is_meant() -> None:
    assert json_spans.replace_value(b'{"a":1,"a":2}', ("a",), b"3") == b'{"a":1,"a":3}'


@given(st.text(max_size=20))
def test_unescape_undoes_escape(text: str) -> None:
    assert json_spans.unescape(json_spans.escape(text)) == text


@given(st.lists(st.sampled_from(["a", "\\n", "\\u0041", "\\ud83d\\ude00", "\\\\", '\\"', "é"])))
def test_offsets_point_at_the_written_form_of_each_character(written: list[str]) -> None:
    text = "".join(written)
    offsets = json_spans.escaped_offsets(text, range(len(written) + 1))
    assert [text[a:b] for a, b in itertools.pairwise(offsets)] == written
