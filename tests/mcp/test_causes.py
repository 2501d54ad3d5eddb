"""From the model's wish to the tool call and back into the prompt: one cause, one trace."""

from __future__ import annotations

from penstock.mcp.causes import ASKED_SECONDS, Causes, traced

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_wish_is_used_once_and_expires() -> None:
    """One wish allows one call, by its caller, for a quarter of an hour."""
    clock = Clock()
    causes = Causes(clock)
    causes.model_asks("app", [("mcp__shop__search", None)], None)
    assert causes.wish("other", "search") is None and causes.wish("app", "earch") is None
    assert causes.wish("app", "search") and causes.wish("app", "search", take=True)
    assert causes.wish("app", "search") is None
    causes.model_asks("app", [("search", None)], None)
    clock.now += ASKED_SECONDS + 1
    assert causes.wish("app", "search") is None


def test_wishes_are_taken_in_the_order_they_came() -> None:
    causes = Causes()
    for call_id in ("one", "two"):
        causes.model_asks("app", [("search", call_id)], traced(call_id, None, None))
    taken = [causes.wish("app", "search", take=True) for _ in range(3)]
    assert [one and one.use_id for one in taken] == ["one", "two", None]


def test_a_result_is_of_the_call_that_was_made_last() -> None:
    causes = Causes()
    asked = traced("model-1", PARENT, None)
    causes.model_asks("app", [("search", "use-1"), ("look", "use-2")], asked)
    made = traced("tool-1", None, asked)
    causes.came_from("app", "use-1", made)
    assert causes.of_results("app", ["use-1"]) == made
    assert causes.of_results("app", ["use-2"]) == asked  # made where nobody here saw it
    assert causes.of_results("other", ["use-1"]) is None
    assert causes.of_results("app", ["use-9"]) is None


def test_a_trace_is_the_applications_else_the_causes_else_its_own() -> None:
    first = traced("a", None, None)
    assert len(first.trace_id) == 32 and first.trace_parent is None
    assert traced("b", None, first).trace_id == first.trace_id
    named = traced("c", PARENT, first)
    assert named.trace_id == PARENT[3:35] and named.trace_parent == PARENT
    assert traced("d", None, named).trace_parent == PARENT
    for odd in ("", "x", PARENT.upper(), PARENT + "\n", "00-" + "0" * 5000):
        assert traced("e", odd, None).trace_parent is None


def test_what_is_remembered_is_bounded() -> None:
    causes = Causes()
    cause = traced("a", None, None)
    for number in range(12_000):
        causes.model_asks(f"app{number % 50}", [(f"t{number}", f"u{number}")], cause)
    assert sum(len(waiting) for waiting in causes._asked.values()) == causes._count == 10_000
    assert len(causes._results) == 10_000
