"""Pieces are joined once, into the part they belong to."""

from __future__ import annotations

from penstock.exchange import Message, Part
from penstock.wire.growing import (
    KEPT_CHARACTERS_MAX,
    KEPT_PARTS_MAX,
    Growing,
    parsed_arguments,
)


def test_pieces_of_one_kind_grow_one_part() -> None:
    growing, message = Growing(), Message("assistant")
    for kind, piece in (("reasoning", "a"), ("reasoning", "b"), ("text", "c"), ("text", "d")):
        growing.say(message, kind, piece)  # type: ignore[arg-type]  # literals out of a tuple
    growing.settle()
    assert [(part.kind, part.text) for part in message.parts] == [
        ("reasoning", "ab"),
        ("text", "cd"),
    ]


def test_settling_twice_changes_nothing() -> None:
    growing, part = Growing(), Part("text", text="It ")
    growing.add(part, "costs")
    growing.settle()
    growing.settle()
    assert part.text == "It costs"


def test_arguments_are_parsed_where_they_are_json() -> None:
    growing = Growing()
    whole, cut, none = Part("tool_call"), Part("tool_call"), Part("tool_call", arguments={})
    growing.add(whole, '{"id"')
    growing.add(whole, ": 7}")
    growing.add(cut, '{"id": ')
    growing.add(none, " ")
    growing.settle()
    assert (whole.arguments, cut.arguments, none.arguments) == ({"id": 7}, '{"id": ', {})


def test_arguments_nested_without_end_stay_text() -> None:
    assert parsed_arguments("[" * 200_000) == "[" * 200_000


def test_an_endless_answer_is_kept_up_to_the_limits() -> None:
    growing, message = Growing(), Message("assistant")
    for _ in range(KEPT_CHARACTERS_MAX // 65_536 + 5):
        growing.say(message, "text", "x" * 65_536)
    growing.settle()
    assert len(message.text()) == KEPT_CHARACTERS_MAX
    growing.take(message, [Part("tool_call") for _ in range(KEPT_PARTS_MAX + 5)])
    assert len(message.parts) == KEPT_PARTS_MAX
    growing.say(message, "reasoning", "past the limit")
    assert len(message.parts) == KEPT_PARTS_MAX
