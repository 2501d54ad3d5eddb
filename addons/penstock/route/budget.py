"""The retry budget: further attempts are at most a tenth of the calls, so they cannot storm.

When everything fails, retrying everything doubles the load on what is left. A budget over all
calls of the process stops that; the first few are free, so that a quiet proxy can fail over.
"""

from __future__ import annotations

from dataclasses import dataclass

RATIO = 0.1
# What a proxy that was just started, or is hardly used, may retry.
START = 10.0
# Savings of quiet times are not spent in one storm.
SAVED_MAX = 100.0


@dataclass(slots=True)
class RetryBudget:
    """``spent`` is at most START + RATIO * calls, whatever happens."""

    left: float = START
    calls: int = 0
    spent: int = 0
    refused: int = 0

    def call(self) -> None:
        """A call that could be retried begins."""
        self.calls += 1
        self.left = min(self.left + RATIO, SAVED_MAX)

    def take(self) -> bool:
        """Whether one more attempt may be made; it is counted when it may."""
        if self.left < 1.0:
            self.refused += 1
            return False
        self.left -= 1.0
        self.spent += 1
        return True
