"""What is wrong with a policy: every problem with its place, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(slots=True, frozen=True, order=True)
class Problem:
    """One thing wrong in a policy file. ``line`` counts from 1; ``path`` is ``rules[2].deny``."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: "
        return f"{place}{self.path}: {self.message}" if self.path else place + self.message


class ConfigError(ValueError):
    """A policy that cannot be used; ``problems`` holds every reason, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'email'`` when one of ``allowed`` is close to ``name``, else nothing."""
    close = get_close_matches(name.lower(), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'" if close else ""


def allowed_list(allowed: Iterable[str], shown_max: int = 20) -> str:
    """``allowed: a, b, c``, cut after ``shown_max`` names."""
    names = list(allowed)
    more = f" and {len(names) - shown_max} more" if len(names) > shown_max else ""
    return "allowed: " + ", ".join(names[:shown_max]) + more
