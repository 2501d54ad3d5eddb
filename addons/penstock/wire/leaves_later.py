"""The strings of an answer, listed when somebody looks: nobody does where no rule reads answers.

Listing them costs as much as parsing the body. A document is not changed once it is read,
so the list is the same whenever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from penstock.exchange import Leaf


class LeavesLater(Sequence[Leaf]):
    """A list of leaves that ``make`` makes at the first look."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], list[Leaf]]) -> None:
        self._make = make
        self._made: list[Leaf] | None = None

    def _leaves(self) -> list[Leaf]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __len__(self) -> int:
        return len(self._leaves())

    def __iter__(self) -> Iterator[Leaf]:
        return iter(self._leaves())

    @overload
    def __getitem__(self, index: int) -> Leaf: ...
    @overload
    def __getitem__(self, index: slice) -> list[Leaf]: ...
    def __getitem__(self, index: int | slice) -> Leaf | list[Leaf]:
        return self._leaves()[index]
