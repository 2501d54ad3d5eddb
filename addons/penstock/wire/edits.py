"""Change one string leaf of a body and move no other byte. (Contract; see the functions.)"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.exchange import Leaf


@dataclass(slots=True, frozen=True)
class Edit:
    """Replace ``leaf.text[start:end]`` (string indices) by ``replacement`` (plain text)."""

    leaf: Leaf
    start: int
    end: int
    replacement: str
