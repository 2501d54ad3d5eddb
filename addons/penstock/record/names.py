"""Label values that others choose, kept to a bounded number.

A model name comes from the request body, a tool name from a server: whoever controls them
could make a metrics store grow without end. The first ``limit`` values that prove real are
kept, all later ones are counted under OTHER. What is real the caller of ``label`` says, for
instance by a provider having answered for that model, so nobody fills the table by asking.
"""

from __future__ import annotations

OTHER = "_other"
NONE = "none"  # no value at all: a call without a model

# Longer values are not names. Prometheus has no limit of its own.
CHARACTERS_MAX = 100


class Names:
    """A table of at most ``limit`` values. ``refused`` counts values shown as OTHER."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self.refused = 0

    def label(self, value: str | None, real: bool = True) -> str:
        """The value if it is known, or new, ``real`` and there is room; else OTHER."""
        if not value:
            return NONE
        if value in self._known:
            return value
        if real and len(self._known) < self._limit and len(value) <= CHARACTERS_MAX:
            self._known.add(value)
            return value
        self.refused += 1
        return OTHER
