"""Scanners for tests of streams: as exact as a detector promises to be."""

from __future__ import annotations

from penstock.wire.family import Refusal
from penstock.wire.stream import Replacement, ScanStep


class WordScanner:
    """Replaces a word; holds text back only while the word may still become whole."""

    def __init__(self, word: str, replacement: str = "<X>") -> None:
        self.word = word
        self.replacement = replacement
        self.text = ""
        self.seen = 0

    def feed(self, text: str) -> ScanStep:
        self.text += text
        found: list[Replacement] = []
        while (start := self.text.find(self.word, self.seen)) >= 0:
            self.seen = start + len(self.word)
            found.append(Replacement(start, self.seen, self.replacement))
        return ScanStep(found, len(self.text) - self._candidate())

    def finish(self) -> ScanStep:
        return ScanStep([], len(self.text))

    def _candidate(self) -> int:
        longest = min(len(self.word) - 1, len(self.text) - self.seen)
        sizes = range(longest, 0, -1)
        return next((n for n in sizes if self.text.endswith(self.word[:n])), 0)


class StoppingScanner(WordScanner):
    """Ends the stream when the word is whole."""

    refusal = Refusal(403, "policy_denied", "Not this.", "rule", "01J")

    def feed(self, text: str) -> ScanStep:
        step = super().feed(text)
        stop = self.refusal if step.replacements else None
        return ScanStep([], 0 if stop else step.settled, stop)
