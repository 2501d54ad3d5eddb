"""Health: who is out and when it is tried again, whatever happens in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.route import health
from penstock.route.health import FAILURES, OUT_SECONDS, PROBE_SECONDS, Board

NAME, MODEL = "llm.example", "m"


def failing(board: Board, now: float, times: int = FAILURES) -> None:
    for _ in range(times):
        board.begin(NAME, now)
        board.answered(NAME, now, "failed")
        board.over(NAME)


def test_one_failure_is_chance() -> None:
    """Two failures, a success, two failures: nobody is out."""
    board = Board()
    failing(board, 0, FAILURES - 1)
    board.answered(NAME, 1, "well", 0.1)
    failing(board, 2, FAILURES - 1)
    assert board.wait(NAME, MODEL, 2) == 0


def test_a_failing_target_is_out_then_probed_by_one_call() -> None:
    """After its time one call may try; the others wait for what becomes of it."""
    board = Board()
    failing(board, 100)
    assert board.wait(NAME, MODEL, 100) == OUT_SECONDS
    back = 100 + OUT_SECONDS
    assert board.wait(NAME, MODEL, back) == 0
    board.begin(NAME, back)
    assert board.wait(NAME, MODEL, back) == PROBE_SECONDS
    board.answered(NAME, back + 1, "well", 1.0)
    assert board.wait(NAME, MODEL, back + 1) == 0


def test_a_failed_probe_doubles_the_time_out_up_to_a_bound() -> None:
    """5 s, 10 s, 20 s … and never more than five minutes."""
    board, now, waits = Board(), 0.0, []
    failing(board, now)
    for _ in range(10):
        waits.append(board.wait(NAME, MODEL, now))
        now += waits[-1]
        failing(board, now, 1)
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == health.OUT_SECONDS_MAX


def test_late_failures_of_old_calls_do_not_count_again() -> None:
    """Fifty calls that were under way fail together: that is one failure of the target."""
    board = Board()
    failing(board, 0, 50)
    assert board.wait(NAME, MODEL, 0) == OUT_SECONDS


def test_a_probe_that_says_nothing_does_not_block_for_ever() -> None:
    """The next one goes after PROBE_SECONDS."""
    board = Board()
    failing(board, 0)
    board.begin(NAME, OUT_SECONDS)
    assert board.wait(NAME, MODEL, OUT_SECONDS + PROBE_SECONDS) == 0


def test_room_counts_for_its_model_and_its_tokens() -> None:
    """A limit of one model is none of another, and room for small calls is room for them."""
    board = Board()
    board.limit(NAME, MODEL, 1000, 60, 0)
    assert board.wait(NAME, MODEL, 0, tokens=900) == 0
    assert board.wait(NAME, MODEL, 0, tokens=2000) == 60
    assert board.wait(NAME, "other", 0, tokens=2000) == 0
    assert board.wait(NAME, MODEL, 60, tokens=2000) == 0


def test_an_absurd_wait_is_bounded() -> None:
    """A provider that says "in a year" is asked again within the hour."""
    board = Board()
    board.limit(NAME, MODEL, 0, 1e12, 0)
    assert board.wait(NAME, MODEL, 0) == health.WAIT_SECONDS_MAX


def test_memory_is_bounded() -> None:
    """Models are partly the callers' choice: they cannot fill the memory."""
    board = Board()
    for number in range(health.ROOMS_MAX + 50):
        board.limit(NAME, f"m{number}", 0, 60, 0)
    assert len(board.rooms) == health.ROOMS_MAX
    for number in range(health.STANDINGS_MAX + 50):
        board.begin(f"t{number}", 0)
        board.over(f"t{number}")
    assert len(board.standings) <= health.STANDINGS_MAX + 1


def test_latency_rises_at_once_and_sinks_slowly() -> None:
    """One slow answer is seen by the next call; one fast answer does not hide it."""
    board = Board()
    board.begin(NAME, 0)
    board.answered(NAME, 0, "well", 0.1)
    board.answered(NAME, 1, "well", 2.0)
    slow = board.load(NAME)
    board.answered(NAME, 2, "well", 0.1)
    assert board.load(NAME) == pytest.approx(slow, rel=0.15)
    board.answered(NAME, 60, "well", 0.1)
    assert board.load(NAME) < 0.3 * slow


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "well", "limited", "failed", "over", "limit"]),
        st.floats(0, 50),
    ),
    max_size=80,
)


@given(STEPS)
def test_in_any_order_a_target_comes_back(steps: list[tuple[str, float]]) -> None:
    """Nothing is ever out for longer than its bound, and no count goes below zero."""
    board, now = Board(), 0.0
    for what, passes in steps:
        now += passes
        if what == "begin":
            board.begin(NAME, now)
        elif what == "over":
            board.over(NAME)
        elif what == "limit":
            board.limit(NAME, MODEL, 0, now + passes * 1000, now)
        else:
            board.answered(NAME, now, what, passes)  # type: ignore[arg-type] # one of the words
        assert board.outstanding(NAME) >= 0
        wait = board.wait(NAME, MODEL, now)
        longest = max(health.OUT_SECONDS_MAX, health.WAIT_SECONDS_MAX)
        assert 0 <= wait <= longest + 1e-6  # a difference of two times of day
        assert board.wait(NAME, MODEL, now + wait + PROBE_SECONDS) == 0
