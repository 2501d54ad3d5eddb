"""The memo: a text is scanned once, remembered by a keyed hash, within bounds."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from penstock.detect import Detectors, memo
from penstock.detect.memo import Memo
from penstock.exchange import Finding, Zone


class Counting:
    """Detectors that count their scans."""

    def __init__(self) -> None:
        self.scans = 0

    def scan(self, text: str, zone: Zone = "user") -> list[Finding]:
        self.scans += 1
        return Detectors(["pii.email"]).scan(text, zone)

    def scan_all(self, texts: Collection[str], zone: Zone = "user") -> dict[str, list[Finding]]:
        return {text: self.scan(text, zone) for text in texts}


def test_a_resent_text_is_not_scanned_again() -> None:
    detectors = Counting()
    remembered = Memo(detectors, b"key")
    first = remembered.scan("bob@example.org")
    assert remembered.scan("bob@example.org") == first != []
    assert (detectors.scans, remembered.hits, remembered.misses) == (1, 1, 1)


def test_zones_are_told_apart() -> None:
    detectors = Counting()
    remembered = Memo(detectors, b"key")
    remembered.scan("x", "user")
    remembered.scan("x", "tool_result")
    assert detectors.scans == 2


def test_callers_cannot_change_what_is_remembered() -> None:
    remembered = Memo(Counting(), b"key")
    remembered.scan("bob@example.org")
    remembered.scan("bob@example.org").clear()
    assert remembered.scan("bob@example.org")


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "ENTRIES_MAX", 2)
    detectors = Counting()
    remembered = Memo(detectors, b"key")
    for text in ("a", "b", "c", "a"):
        remembered.scan(text)
    assert detectors.scans == 4


def test_no_text_is_kept() -> None:
    remembered = Memo(Counting(), b"key")
    remembered.scan("bob@example.org")
    assert b"bob" not in b"".join(remembered._entries)
    assert "bob" not in repr(remembered)
