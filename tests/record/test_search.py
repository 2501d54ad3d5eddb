"""Strings of Records are searched once, and a secret is found whenever it comes."""

from __future__ import annotations

from penstock.exchange import Finding
from penstock.record.recorder import Recorder
from penstock.record.search import STRINGS_MAX, Search


class Scanning:
    """A scan that finds ``needle`` and remembers what it was asked."""

    def __init__(self, needle: str = "secret") -> None:
        self.needle = needle
        self.asked: list[str] = []

    def __call__(self, text: str) -> list[Finding]:
        self.asked.append(text)
        start = text.find(self.needle)
        return [Finding("t", start, start + len(self.needle), 1, "t")] if start >= 0 else []


def test_a_string_is_searched_once():
    scan = Scanning()
    search = Search(scan)
    assert not search.any_in(["one", "other"])
    assert not search.any_in(["other", "one", "third"])
    assert not search.any_in(["one"])
    assert [set(text.split("\n")) for text in scan.asked] == [{"one", "other"}, {"third"}]


def test_a_secret_is_found_every_time():
    search = Search(Scanning())
    for _ in range(3):
        assert search.any_in(["one", "a secret"])
    assert not search.any_in(["one"])


def test_when_more_is_looked_for_known_strings_are_searched_again():
    scan = Scanning()
    search = Search(scan)
    assert not search.any_in(["one"])
    scan.needle = "one"
    search.forget()
    assert search.any_in(["one"])


def test_what_is_remembered_is_bounded():
    search = Search(Scanning())
    for number in range(3 * STRINGS_MAX):
        search.any_in(["always the same", f"id-{number}"])
    assert len(search._without) <= STRINGS_MAX


def test_a_changed_policy_changes_what_the_recorder_masks(record):
    """The recorder is told to forget; the same model name is then masked."""
    kept = []

    class Kept:
        name = "kept"

        def record(self, one):
            kept.append(one.model)

    scan = Scanning()
    recorder = Recorder([Kept()], scan)
    recorder.record(record(model="of-ours"))
    scan.needle = "ours"
    recorder.forget()
    recorder.record(record(model="of-ours"))
    assert kept == ["of-ours", "of-[t]"]
