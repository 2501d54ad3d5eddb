"""Loose reading: the wanted type or nothing, never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, at, total

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_every_value_has_a_reading_of_every_type(value: object) -> None:
    assert isinstance(as_dict(value), dict)
    assert isinstance(as_list(value), list)
    assert all(isinstance(element, dict) for element in as_dicts(value))
    assert as_text(value) is None or as_text(value) == value
    count = as_count(value)
    assert count is None or 0 <= count <= 2**53


@pytest.mark.parametrize("value", [True, -1, 1.5, 10**400, float("nan"), float("inf"), "7", None])
def test_what_is_not_a_count_is_not_counted(value: object) -> None:
    assert as_count(value) is None


def test_a_whole_float_is_a_count_because_some_providers_write_them() -> None:
    assert as_count(12.0) == 12


@given(JSON, st.lists(st.text() | st.integers()))
def test_a_broken_path_leads_to_none(value: object, path: list[str | int]) -> None:
    at(value, *path)
    assert at(value, "no such key", 3) is None


def test_a_path_is_followed_through_objects_and_arrays() -> None:
    assert at({"a": [{"b": "found"}]}, "a", 0, "b") == "found"
    assert at({"a": []}, "a", 0) is None


def test_the_total_of_nothing_known_is_unknown() -> None:
    assert total(None, None) is None
    assert total(2, None, 3) == 5
