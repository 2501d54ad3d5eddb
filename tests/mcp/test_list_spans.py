"""Removing array elements: the quick way and the general way give the same bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.mcp.list_spans import replace_beside, without_elements
from penstock.mcp.tools import filter_list_answer
from penstock.wire.json_leaves import parse
from penstock.wire.json_spans import remove_elements, replace_value

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


SPACES = st.sampled_from(["", "", "", " ", "\n\t", "\r\n "])
SCALARS = st.sampled_from(
    [
        "1",
        "-0.5e3",
        "1.0",
        "true",
        "null",
        '"tools"',
        '"x\\"tools"',
        '"\\u0074ools"',
        '"[{\\"tools\\":["',
    ]
)
KEYS = st.sampled_from(
    [
        "tools",
        "result",
        "name",
        "to\\u006fls",
        'x\\"tools',
        "\\u0072esult",
        "id",
        "t\u00f6\u00f6ls",
        "tools ",
    ]
)


def spelled(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays and objects as somebody hostile may write them: keys twice, escaped, odd spaces."""
    pairs = st.tuples(SPACES, KEYS, SPACES, inner, SPACES)
    members = st.lists(pairs, max_size=4)
    return st.lists(st.tuples(SPACES, inner), max_size=3).map(
        lambda items: "[" + ",".join(space + item + space for space, item in items) + "]"
    ) | members.map(
        lambda found: (
            "{" + ",".join(f'{a}"{key}"{b}:{c}{value}' for a, key, b, value, c in found) + "}"
        )
    )


TEXTS = st.recursive(SCALARS, spelled, max_leaves=12)


@given(
    tools=st.lists(st.tuples(SPACES, TEXTS), min_size=1, max_size=4),
    before=st.lists(st.tuples(KEYS, TEXTS), max_size=3),
    inside=st.lists(st.tuples(KEYS, TEXTS), max_size=3),
    key=st.sampled_from(["tools", "to\\u006fls"]),
    chosen=st.integers(1, 15),
)
def test_hostile_spellings_are_filtered_alike_or_withheld(
    tools: list[Any], before: list[Any], inside: list[Any], key: str, chosen: int
) -> None:
    """Decoys, escapes, words that look like keys: the quick way gives what the slow way gives."""
    array = "[" + ",".join(space + text + space for space, text in tools) + "]"
    result = ",".join([f'"{key}":{array}', *(f'"{name}": {text}' for name, text in inside)])
    outer = [*(f'"{name}":{text}' for name, text in before), f'"result": {{{result}}}']
    body = ("{" + ",".join(outer) + "}").encode()
    reading = parse(body)
    listed = reading.value["result"]["tools"]
    hiding = [bool(chosen >> index & 1) for index in range(len(tools))]
    asked = iter(hiding)
    filtered = filter_list_answer(body, lambda _: next(asked))
    if reading.problem is not None:
        assert b"withheld" in filtered or not isinstance(listed, list)
        return
    removed = [index for index, hides in enumerate(hiding) if hides]
    assert filtered == (remove_elements(body, PATH, removed) if removed else body)
    kept = [tool for tool, hides in zip(listed, hiding, strict=True) if not hides]
    assert json.loads(filtered)["result"]["tools"] == kept


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


@given(
    tools=st.lists(st.tuples(SPACES, TEXTS), max_size=4),
    before=st.lists(st.tuples(KEYS, TEXTS), max_size=3),
    first=st.booleans(),
)
def test_values_beside_a_list_are_replaced_as_the_slow_way_does(
    tools: list[Any], before: list[Any], first: bool
) -> None:
    """Before the array or behind it, whatever looks like one of them inside."""
    array = "[" + ",".join(space + text + space for space, text in tools) + "]"
    caching = ['"cacheScope": "public"', '"ttlMs":99999999']
    members = [*(caching if first else []), f'"tools":{array}', *([] if first else caching)]
    outer = [*(f'"{name}":{text}' for name, text in before), f'"result":{{{",".join(members)}}}']
    body = ("{" + ",".join(outer) + "}").encode()
    reading = parse(body)
    if reading.problem is not None:
        return
    values = {("result", "cacheScope"): b'"private"', ("result", "ttlMs"): b"60000"}
    slowly = body
    for path, value in values.items():
        slowly = replace_value(slowly, path, value)
    assert replace_beside(body, PATH, reading.value["result"]["tools"], values) == slowly
