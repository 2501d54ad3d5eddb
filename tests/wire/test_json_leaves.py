"""A body as its strings: which zone each is in, and what makes a body doubtful."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire import json_leaves
from penstock.wire.json_leaves import ZoneMap
from penstock.wire.openai.family import ZONES

TEXT = st.text(st.sampled_from('ab"\\\n é😀/{[:,'), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_no_body_without_a_duplicate_key_is_doubted(value: object, ascii_only: bool) -> None:
    assert json_leaves.parse(json.dumps(value, ensure_ascii=ascii_only).encode()).problem is None


@given(JSON, JSON, TEXT)
def test_a_duplicate_key_is_noticed_wherever_it_stands(a: object, b: object, key: str) -> None:
    name, first, second = json.dumps(key), json.dumps(a), json.dumps(b)
    body = f'[1, {{"x": "y\\u0022", {name}: {first}, {name}: {second}}}]'.encode()
    assert json_leaves.parse(body).problem == "duplicate key in a JSON object"


def test_a_quote_written_as_an_escape_counts_once() -> None:
    body = b'{"a": "\\u0022", "b": "\\\\u0022", "c": "\\""}'
    assert json_leaves.parse(body).problem is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        (b'{"a": NaN}', "not strict JSON"),
        (b'["\\ud800"]', "not strict JSON"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b'{"a": ', "not JSON"),
        (b"[" * 200 + b"]" * 200, "nested deeper than 128"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b"[" * 100_000, "nested"),
    ],
)
def test_what_parsers_could_read_differently_is_a_problem(body: bytes, problem: str) -> None:
    found = json_leaves.read(body).problem
    assert found is not None and problem in found


def test_a_body_that_is_no_json_is_still_one_text() -> None:
    reading = json_leaves.read(b"mail me at a@b.example {")
    assert [leaf.text for leaf in reading.leaves] == ["mail me at a@b.example {"]
    assert not json_leaves.read(b"\xff\xfe").leaves[0].editable


def test_more_strings_than_the_limit_are_a_problem() -> None:
    body = json.dumps([["x"]] * (json_leaves.MAX_LEAVES + 2)).encode()
    assert "strings" in (json_leaves.read(body).problem or "")


def test_zones_follow_roles_types_and_fields_and_cannot_be_claimed_inside_a_tool() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "U"}]},
            {
                "role": "assistant",
                "content": "A",
                "reasoning_content": "R",
                "tool_calls": [{"function": {"name": "f", "arguments": '{"a": "x\\ny"}'}}],
            },
            {"role": "tool", "content": [{"role": "system", "text": "T"}]},
        ],
        "tools": [{"function": {"description": "D", "parameters": {"role": "system"}}}],
        "metadata": {"note": "N"},
    }
    leaves = json_leaves.read(json.dumps(body).encode(), ZONES).leaves
    zones = {leaf.text: leaf.zone for leaf in leaves}
    assert {name: zones[name] for name in "SUARTDN"} == {
        "S": "system",
        "U": "user",
        "A": "assistant",
        "R": "reasoning",
        "T": "tool_result",
        "D": "tool_definition",
        "N": "other",
    }
    nested = next(leaf for leaf in leaves if leaf.nested)
    assert nested.text == '{"a": "x\ny"}', "nested JSON is shown unescaped"
    assert nested.zone == "tool_arguments"


def test_keys_that_may_carry_data_are_leaves_and_field_names_are_not() -> None:
    leaves = json_leaves.read(b'{"max_tokens": 1, "AKIA1234": 2, "a@b.example": {"c": 3}}').leaves
    assert [leaf.text for leaf in leaves if leaf.is_key] == ["AKIA1234", "a@b.example"]


def test_sealed_fields_are_not_editable_but_a_tools_argument_of_that_name_is() -> None:
    zones = ZoneMap(fields={"tools": "tool_definition"}, sealed=frozenset({"signature"}))
    body = b'{"signature": "abc", "tools": [{"signature": "def"}]}'
    editable = {leaf.text: leaf.editable for leaf in json_leaves.read(body, zones).leaves}
    assert editable == {"abc": False, "def": True}


def test_encoded_bytes_are_blobs_only_where_bytes_belong() -> None:
    """A key of ten thousand letters is text: nobody hides it by writing no blank."""
    long = "sk-" + "Ab0_" * 3000
    leaves = json_leaves.read(json.dumps({"content": long, "image_url": {"url": long}}).encode())
    assert [leaf.blob for leaf in leaves.leaves] == [False, True]


def test_a_text_document_in_a_data_url_is_read_and_not_editable() -> None:
    url = "data:text/plain;charset=utf-8;base64," + base64.b64encode(b"my SECRET").decode()
    (leaf,) = json_leaves.read(json.dumps({"file_data": url}).encode()).leaves
    assert (leaf.text, leaf.editable) == ("my SECRET", False)
    broken = json_leaves.read(b'{"file_data": "data:text/plain;base64,@"}').leaves[0]
    assert broken.text == "data:text/plain;base64,@"


def test_encoded_bytes_are_marked_and_prose_is_not() -> None:
    assert json_leaves.is_blob("data:image/png;base64," + "iVBORw0K" * 200 + "==")
    assert json_leaves.is_blob("QUJD" * 300)
    assert not json_leaves.is_blob("QUJD" * 10), "a short token is text"
    assert not json_leaves.is_blob("lorem ipsum " * 200)
