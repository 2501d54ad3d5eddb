"""Patterns: what they match, what they cost."""

from __future__ import annotations

import time

import pytest

from penstock.policy.globs import Globs, covers


@pytest.mark.parametrize(
    ("patterns", "text", "expected"),
    [
        (("gpt-*",), "gpt-5", True),
        (("gpt-*",), "GPT-5", True),
        (("gpt-*",), "my-gpt-5", False),
        (("gpt-?",), "gpt-5", True),
        (("gpt-[45]",), "gpt-6", False),
        (("a.b",), "aXb", False),
        (("a", "b"), "b", True),
        (("*",), "", True),
        ((), "", False),
        (("a*",), "a\nb", True),
        (("a",), "a\n", False),
    ],
)
def test_globs_match_whole_texts(patterns: tuple[str, ...], text: str, expected: bool) -> None:
    """A pattern covers the whole text or nothing; an empty list matches nothing."""
    assert Globs(patterns).match(text) is expected


def test_tool_names_keep_their_case() -> None:
    """MCP tool names are compared exactly."""
    assert not Globs(("get_*",), fold=False).match("Get_x")


def test_hostile_text_costs_linear_time() -> None:
    """Many stars and a long text that almost matches do not hang."""
    globs = Globs(("*a*a*a*a*a*a*a*a*b",))
    began = time.process_time()
    assert not globs.match("a" * 100_000)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("wider", "narrower", "expected"),
    [
        (("*",), "x", True),
        (("get_*",), "get_issue*", True),
        (("get_a",), "get_a", True),
        (("get_*",), "put_*", False),
        (("g?t_*",), "get_x", False),
        ((), "x", False),
    ],
)
def test_covers_is_sound(wider: tuple[str, ...], narrower: str, expected: bool) -> None:
    """True only where every match of one is a match of the others."""
    assert covers(wider, narrower) is expected
