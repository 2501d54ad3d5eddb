"""Break a JSON document in one to three places, as a hostile or broken peer would."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

HOSTILE: list[Any] = [None, True, -1, 10**30, 1.5, "", "x" * 50, [], [[]], [None], {}, {"type": 7}]


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


def mutated(data: st.DataObject, document: Any) -> Any:
    """``document`` (a fresh copy, changed in place) with hostile values at drawn places."""
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(document)[1:] or [()]))
        if not place:
            return deepcopy(data.draw(st.sampled_from(HOSTILE)))
        parent = document
        for step in place[:-1]:
            parent = parent[step]
        parent[place[-1]] = deepcopy(data.draw(st.sampled_from(HOSTILE)))
    return document
