"""Marks: every string a leaf, the zone inherited, media and sealed fields left alone."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.json_leaves import MAX_DEPTH
from penstock.wire.zones import MEDIA, Mark, Marks, blob, leaves, strings
from tests.wire import families

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_every_string_is_a_leaf_where_its_path_says(document: Any) -> None:
    found, problem = leaves(document, {})
    assert problem is None
    values = [leaf for leaf in found if not leaf.is_key]
    assert [leaf.text for leaf in values] == families.strings(document)
    assert all(families.at_path(document, leaf.path) == leaf.text for leaf in values)


def test_a_mark_holds_for_all_below_until_the_next() -> None:
    document = {"a": {"b": ["x", {"c": "y"}]}, "d": "z"}
    marks: Marks = {("a",): Mark("user"), ("a", "b", 1): Mark("tool_result", editable=False)}
    found = {leaf.text: (leaf.zone, leaf.editable) for leaf in leaves(document, marks)[0]}
    assert found == {"x": ("user", True), "y": ("tool_result", False), "z": ("other", True)}


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ada@example.org", "two words", "1a"])
def test_a_key_that_may_carry_data_is_a_leaf(key: str) -> None:
    [found] = [leaf for leaf in leaves({key: 1}, {})[0] if leaf.is_key]
    assert (found.text, found.path) == (key, (key,))


@pytest.mark.parametrize("key", ["role", "input_schema", "md5", "cache_creation_input_tokens"])
def test_a_plain_name_is_no_leaf(key: str) -> None:
    assert leaves({key: 1}, {})[0] == []


def test_sealed_fields_cannot_be_edited_but_a_tools_own_field_can() -> None:
    document = {"thoughtSignature": "abc", "args": {"signature": "Ada Lovelace"}}
    found, _ = leaves(document, {("args",): Mark("tool_arguments")})
    assert {leaf.text: leaf.editable for leaf in found} == {"abc": False, "Ada Lovelace": True}


def test_depth_past_the_limit_is_a_problem_and_not_silence() -> None:
    document: Any = "deep"
    for _ in range(MAX_DEPTH + 2):
        document = [document]
    found, problem = leaves(document, {})
    assert (found, problem is not None) == ([], True)


def test_a_blob_is_sized_and_marked() -> None:
    marks: Marks = {}
    data = base64.b64encode(bytes(range(10))).decode()
    part = blob(data, "image/png", ("x",), marks, "user")
    assert (part.size_bytes, part.mime_type) == (10, "image/png")
    assert marks == {("x",): MEDIA}


def test_what_only_claims_to_be_base64_is_read_as_text() -> None:
    marks: Marks = {}
    blob("my password is hunter2!", "image/png", ("x",), marks, "user")
    [leaf] = leaves({"x": "my password is hunter2!"}, marks)[0]
    assert (leaf.zone, leaf.blob, leaf.editable) == ("user", False, True)


def test_base64_of_a_text_type_is_shown_decoded() -> None:
    marks: Marks = {}
    data = base64.urlsafe_b64encode(b"a secret??>").decode().rstrip("=")
    blob(data, "text/plain", ("x",), marks, "user")
    [leaf] = leaves({"x": data}, marks)[0]
    assert (leaf.text, leaf.editable, leaf.zone) == ("a secret??>", False, "user")


def test_strings_are_listed_in_order_up_to_the_limit() -> None:
    document = {"a": ["1", {"b": "2"}], "type": "t", "c": "3"}
    assert strings(document) == ["1", "2", "t", "3"]
    assert strings(document, without=frozenset({"type"})) == ["1", "2", "3"]
    assert strings(["x"] * 5000, limit=10) == ["x"] * 10
