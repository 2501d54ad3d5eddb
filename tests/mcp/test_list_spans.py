"""Removing array elements: the quick way and the general way give the same bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mcp.list_spans import without_elements
from penstock.wire.json_spans import remove_elements

PATH = ("result", "tools")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    tools=st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), max_size=6),
    chosen=st.sets(st.integers(0, 5)),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    compact=st.booleans(),
)
def test_quick_and_general_removal_agree(
    tools: list[Any], chosen: set[int], indent: int | None, ascii_only: bool, compact: bool
) -> None:
    """Whatever the formatting, the kept elements and all other bytes are the same."""
    separators = (",", ":") if compact else None
    document = {"id": 1, "result": {"tools": tools, "next": "x"}}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators)
    body = text.encode("utf-8", "surrogatepass")
    removed = {index for index in chosen if index < len(tools)}
    quick = without_elements(body, PATH, tools, removed)
    assert quick == remove_elements(body, PATH, removed)
    kept = [tool for index, tool in enumerate(tools) if index not in removed]
    assert json.loads(quick) == {"id": 1, "result": {"tools": kept, "next": "x"}}


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":{"tools":[{"name":"a"},{"name":"b"}]},"result":{"to\\u006fls":[{"name":"a"},{"name":"b"}]}}',
        b'{"x":"tools","result":{"tools":[{"name":"a"},{"name":"b"}]}}',
        b'{"tools":[{"name":"a"}],"result":{"tools":[{"name":"a"},{"name":"b"}]}}',
        b'{"result":{"tools":[{"name":"a"},{"na\\u006de":"b"}]}}',
    ],
)
def test_a_decoy_array_does_not_keep_a_tool(body: bytes) -> None:
    """An equal-looking array elsewhere is not mistaken for the list the client reads."""
    listed = json.loads(body)["result"]["tools"]
    shorter = json.loads(without_elements(body, PATH, listed, [1]))
    assert shorter["result"]["tools"] == [{"name": "a"}]
