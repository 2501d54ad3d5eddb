"""Answers' strings are listed once, when somebody looks, and are the same as if listed at once."""

from __future__ import annotations

import json

from penstock.exchange import Exchange, HttpAnswer, Leaf
from penstock.wire import family_of
from penstock.wire.leaves_later import LeavesLater


def test_nothing_is_listed_before_somebody_looks_and_only_once():
    made: list[int] = []

    def make() -> list[Leaf]:
        made.append(1)
        return [Leaf(("a",), "x"), Leaf(("b",), "y")]

    leaves = LeavesLater(make)
    assert not made
    assert [leaf.text for leaf in leaves] == ["x", "y"]
    assert (len(leaves), leaves[1].text, [leaf.text for leaf in leaves[:1]]) == (2, "y", ["x"])
    assert made == [1]


def test_log_probabilities_are_told_at_the_first_look():
    """What an edit has to take along is known however late the strings are listed."""
    family = family_of("openai.chat_completions")
    answer = {
        "choices": [
            {"message": {"content": "hello"}, "logprobs": {"content": [{"token": "hello"}]}},
            {"message": {"content": "there"}, "logprobs": None},
        ]
    }
    body = json.dumps(answer).encode()
    exchange = Exchange("openai.chat_completions")
    leaves = family.read_answer(exchange, HttpAnswer(200, {}, body))
    shadows = {leaf.path: leaf.shadows for leaf in leaves if leaf.path[-1] == "content"}
    assert shadows[("choices", 0, "message", "content")] == (("choices", 0, "logprobs"),)
    assert shadows[("choices", 1, "message", "content")] == ()
