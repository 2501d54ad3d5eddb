"""Edits change the characters they name and no other byte."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.exchange import Leaf
from penstock.wire import edits, json_leaves
from penstock.wire.edits import BASE64, Cut, Edit
from penstock.wire.json_spans import unescape
from penstock.wire.openai.family import ZONES

# Each character with a way a sender may have written it inside JSON.
WRITTEN = st.lists(
    st.sampled_from(
        [("a", "a"), ("A", "\\u0041"), ("\n", "\\n"), ("😀", "\\ud83d\\ude00"), ("😀", "😀"),
         ("é", "é"), ("\\", "\\\\"), ('"', '\\"'), ("/", "\\/"), ("/", "/"), ("\x01", "\\u0001")]
    ),
    max_size=12,
)  # fmt: skip
REPLACEMENT = st.text(st.sampled_from('x"\\\né😀'), max_size=4)


@given(WRITTEN, st.data(), REPLACEMENT)
def test_only_the_named_characters_change(
    written: list[tuple[str, str]], data: st.DataObject, new: str
) -> None:
    before, after = b'{ "x" : [1, "', b'" ],\r\n "y":"\\u0041" }'
    start = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(start, len(written)))
    body = before + "".join(form for _, form in written).encode() + after
    text = "".join(character for character, _ in written)
    changed = edits.apply(body, [Edit(Leaf(("x", 1), text), start, end, new)])
    head = "".join(form for _, form in written[:start]).encode()
    tail = "".join(form for _, form in written[end:]).encode()
    assert changed.startswith(before + head) and changed.endswith(tail + after)
    assert json.loads(changed)["x"][1] == text[:start] + new + text[end:]


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=8), min_size=1), st.data())
def test_text_put_into_nested_json_is_escaped_twice(
    arguments: dict[str, str], data: st.DataObject
) -> None:
    inner = json.dumps(arguments)
    body = json.dumps({"messages": [{"tool_calls": [{"function": {"arguments": inner}}]}]})
    leaves = json_leaves.read(body.encode(), ZONES).leaves
    leaf = next(leaf for leaf in leaves if leaf.nested)
    assert leaf.text == unescape(inner)
    key = data.draw(st.sampled_from(sorted(arguments)))
    spot = unescape(json.dumps(key)[:-1]) + '": "'
    start = leaf.text.index(spot) + len(spot)
    new = 'a "quoted"\n\\ thing'
    changed = json.loads(edits.apply(body.encode(), [Edit(leaf, start, start, new)]))
    got = changed["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert new in json.loads(got).values() or any(new in v for v in json.loads(got).values())


def test_several_leaves_and_a_key_change_at_once() -> None:
    body = b'{"a": "one two", "k1": 2, "b": ["x"]}'
    changed = edits.apply(
        body,
        [
            Edit(Leaf(("b", 0), "x"), 0, 1, "y"),
            Edit(Leaf(("a",), "one two"), 4, 7, "2"),
            Edit(Leaf(("a",), "one two"), 0, 3, "1"),
            Edit(Leaf(("k1",), "k1", is_key=True), 1, 2, "9"),
        ],
    )
    assert changed == b'{"a": "1 2", "k9": 2, "b": ["y"]}'


def test_of_overlapping_edits_everything_covered_is_gone() -> None:
    leaf = Leaf(("a",), "0123456789")
    changed = edits.apply(b'{"a":"0123456789"}', [Edit(leaf, 4, 8, "B"), Edit(leaf, 2, 6, "A")])
    assert changed == b'{"a":"01A89"}'


def test_what_repeats_the_text_in_another_form_becomes_null() -> None:
    body = b'{"text": "secret", "logprobs": {"content": [{"token": "sec"}]}}'
    leaf = Leaf(("text",), "secret", shadows=(("logprobs",),))
    assert edits.apply(body, [Edit(leaf, 0, 6, "x")]) == b'{"text": "x", "logprobs": null}'


def test_json_inside_base64_is_edited_in_place() -> None:
    inner = base64.b64encode(b'{"t": "a secret"}').decode()
    body = json.dumps({"bytes": inner, "p": "abc"}).encode()
    changed = json.loads(edits.cut_strings(body, [Cut(("bytes", BASE64, "t"), 2, 8, "thing")]))
    assert base64.b64decode(changed["bytes"]) == b'{"t": "a thing"}'
    assert changed["p"] == "abc"


def test_text_bodies_and_form_fields_are_edited_by_character() -> None:
    assert (
        edits.apply("é secret".encode(), [Edit(Leaf((), "é secret"), 2, 8, "x")]) == "é x".encode()
    )
    field = Leaf((), "é!", span=(3, 6))
    assert edits.apply("== é! ==".encode(), [Edit(field, 1, 2, "?")]) == "== é? ==".encode()


@pytest.mark.parametrize(
    ("body", "leaf"),
    [
        (b'{"a": "x"}', Leaf(("b",), "x")),
        (b'{"a": 1}', Leaf(("a",), "x")),
        (b'{"a": "x', Leaf(("a",), "x")),
        (b'{"a": "x"}', Leaf(("a",), "x", editable=False)),
        (b'{"a": "!!"}', Leaf(("a", BASE64, "t"), "x")),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(body: bytes, leaf: Leaf) -> None:
    """Sending on the unedited body would let through what a rule wanted gone."""
    with pytest.raises(ValueError, match=r"."):
        edits.apply(body, [Edit(leaf, 0, 1, "y")])
