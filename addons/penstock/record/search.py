"""Looks for secrets in the strings of Records, and in each string once.

A caller's models, paths and names are the same call after call, and searching them costs
more than all else that makes a Record fit to be kept. Only strings without a secret are
remembered, and only until what is looked for changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from penstock.exchange import Finding

Scan = Callable[[str], Sequence[Finding]]

# Strings remembered: names are few; ids, which never come again, are forgotten with the rest.
STRINGS_MAX = 4096


class Search:
    """Finds secrets in texts with ``scan`` (``Detectors(["secret"]).scan``)."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._without: set[str] = set()

    def any_in(self, texts: Iterable[str]) -> bool:
        """True when there may be a secret in one of them."""
        new = set(texts) - self._without
        if not new:
            return False
        if self.scan("\n".join(new)):
            return True
        if len(self._without) + len(new) > STRINGS_MAX:
            self._without.clear()
        self._without |= new
        return False

    def forget(self) -> None:
        """What ``scan`` finds has changed."""
        self._without.clear()
