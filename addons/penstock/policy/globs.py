"""Patterns with ``*``, ``?`` and ``[abc]``, compiled once for a whole list.

Matching time is linear in the text for each star: ``fnmatch.translate`` writes atomic
groups, which never step back.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class Globs:
    """A list of patterns, any of which may match. An empty list matches nothing.

    ``fold`` compares without regard to case (hosts, models, providers); names of MCP tools
    are compared exactly.
    """

    patterns: tuple[str, ...]
    fold: bool = True
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        joined = "|".join(fnmatch.translate(pattern) for pattern in self.patterns) or r"(?!)"
        compiled = re.compile(joined, re.IGNORECASE if self.fold else 0)
        object.__setattr__(self, "_pattern", compiled)

    def match(self, text: str) -> bool:
        """True when one of the patterns covers the whole of ``text``."""
        return self._pattern.match(text) is not None

    def __str__(self) -> str:
        return ", ".join(self.patterns)


def covers(wider: Iterable[str], narrower: str) -> bool:
    """True when one of ``wider`` matches everything that ``narrower`` matches.

    Sound, not complete: equal patterns, ``*``, and a trailing star over a longer beginning.
    """
    for pattern in wider:
        if pattern in ("*", narrower):
            return True
        head = pattern.removesuffix("*")
        if head != pattern and not set(head) & set("*?[") and narrower.startswith(head):
            return True
    return False
