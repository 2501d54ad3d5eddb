"""A reading of a text: what one of its disguises hides, and the way back to the original."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

# Longer runs are read piece by piece.
RUN_CHARACTERS_MAX = 64 * 1024
# Readable runs and pieces looked into per text, 50 us each; behind them the text counts as
# not judged.
RUNS_MAX = 1_000


class Places(Sequence[int]):
    """Where each character of a reading stands in the original, kept by stretches that stand
    there as they do in the reading: a list of millions would hold other threads up."""

    __slots__ = ("_length", "_originals", "_starts")

    def __init__(self) -> None:
        self._starts = array("q")
        self._originals = array("q")
        self._length = 0

    def add(self, original: int, count: int = 1) -> None:
        """The next ``count`` characters stand at ``original`` and behind."""
        here = self._length
        if not self._starts or original - self._originals[-1] != here - self._starts[-1]:
            self._starts.append(here)
            self._originals.append(original)
        self._length += count

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[int]: ...
    def __getitem__(self, at: int | slice) -> int | Sequence[int]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._length))]
        if not -self._length <= at < self._length:
            raise IndexError(at)
        at %= self._length
        stretch = bisect_right(self._starts, at) - 1
        return self._originals[stretch] + at - self._starts[stretch]


@dataclass(slots=True, frozen=True)
class Decoded:
    """A hidden reading. ``origin[i]`` is the original index of the reading's character i
    (one more entry for the end); None when the reading stands for ``span`` as a whole.
    ``unmasked``: no character of it hides another."""

    text: str
    span: tuple[int, int]
    origin: Sequence[int] | None = None
    unmasked: bool = False

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the reading's [start, end) stands."""
        if self.origin is None:
            return self.span
        return self.origin[start], self.origin[end - 1] + self._width(end - 1)

    def _width(self, at: int) -> int:
        assert self.origin is not None
        return max(1, self.origin[at + 1] - self.origin[at])
