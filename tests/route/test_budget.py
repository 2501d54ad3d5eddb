"""The retry budget's promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.route.budget import RATIO, START, RetryBudget


@given(st.lists(st.booleans(), max_size=3000))
def test_retries_never_pass_a_tenth(steps: list[bool]) -> None:
    """Calls and wishes to retry in any order: at most START plus a tenth of the calls."""
    budget = RetryBudget()
    for call in steps:
        if call:
            budget.call()
        else:
            budget.take()
        assert budget.spent <= START + RATIO * budget.calls + 1e-6


def test_a_quiet_proxy_can_fail_over() -> None:
    """The first call of all may be retried."""
    budget = RetryBudget()
    budget.call()
    assert budget.take()


def test_a_storm_ends() -> None:
    """A thousand calls that all fail: hardly more than a hundred further attempts."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.call()
        budget.take()
    assert budget.spent <= 110 and budget.refused >= 890
