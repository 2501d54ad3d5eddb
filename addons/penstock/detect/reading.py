"""A reading of a text: what one of its disguises hides, and the way back to the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Longer runs are files, which only their beginning betrays.
RUN_CHARACTERS_MAX = 64 * 1024
# Readable runs and pieces looked into per text, 50 us each; behind them the text counts as
# not judged.
RUNS_MAX = 1_000


@dataclass(slots=True, frozen=True)
class Decoded:
    """A hidden reading. ``origin[i]`` is the original index of the reading's character i
    (one more entry for the end); None when the reading stands for ``span`` as a whole."""

    text: str
    span: tuple[int, int]
    origin: Sequence[int] | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the reading's [start, end) stands."""
        if self.origin is None:
            return self.span
        return self.origin[start], self.origin[end - 1] + self._width(end - 1)

    def _width(self, at: int) -> int:
        assert self.origin is not None
        return max(1, self.origin[at + 1] - self.origin[at])
