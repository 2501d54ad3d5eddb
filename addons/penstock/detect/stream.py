"""Find and replace in a text that grows piece by piece, without ever letting a part out.

A piece of text is held back only while some pattern could still complete at its end;
``live`` says from where. So plain text passes at once, a long token is held whole however
long it is, and nothing is held when nothing is live. There is no fixed window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from penstock.detect import SELECTIONS_MAX, Detectors
from penstock.detect.live import LivePattern
from penstock.detect.probe import Probe
from penstock.exchange import Finding, Zone
from penstock.wire.channel_text import Replacement, ScanStep

# Text before the held part that detectors read as context (names, vendor words, phones).
CONTEXT_CHARACTERS = 256
# The longest text held back: a 16384-bit RSA key in PEM is 13 KB, a JSON web token rarely
# more than 8 KB. What is still live then is judged as it stands, and if it is a secret,
# the rest of it is swallowed.
HELD_CHARACTERS_MAX = 32 * 1024

# A model scores the context again when that much has been added to it, and at the text's end.
SCORED_CHARACTERS = 128
# Where names are looked for, text waits until its sentence is over and the next has begun; a
# sentence without an end, until so much of it has come. Then the words at its end still wait.
SENTENCE_CHARACTERS_MAX = 600
NEXT_CHARACTERS = 32
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s|\n|[。！？]")

Replace = Callable[[Finding, str], str]


@lru_cache(maxsize=SELECTIONS_MAX)
def _live_pattern(probes: tuple[Probe, ...]) -> LivePattern:
    return LivePattern(probes)


def _live_of(detectors: Detectors) -> LivePattern:
    """Equal selections share one; telling that they are equal takes longer than to look here."""
    if detectors.live is None:
        detectors.live = _live_pattern(detectors.probes)
    return detectors.live


def prepare(detectors: Detectors, types: Sequence[str]) -> None:
    """Build what scanners of ``types`` need (0.1 s), so that no first stream has to wait."""
    _live_of(detectors.only(types))


def scanner(
    detectors: Detectors,
    types: Sequence[str],
    replace: Replace,
    nested: bool = False,
    zone: Zone = "assistant",
) -> Scanner:
    """A scanner for one channel of a streamed answer.

    ``types`` are the finding types to look for: only they hold text back. ``replace`` gets
    a finding and the text it covers, and answers the plain text to put in its place.
    ``nested`` (JSON inside JSON) changes nothing here: the stream editor shows the scanner
    the inner text unescaped and escapes what is put in.
    """
    del nested
    return Scanner(detectors.only(types), replace, zone)


def sentences_end(text: str) -> int:
    """Up to where ``text`` is whole sentences, and something follows; 0 when it is none."""
    ready = len(text) - NEXT_CHARACTERS
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, max(0, ready))]
    if ends:
        return ends[-1]
    if len(text) <= SENTENCE_CHARACTERS_MAX:
        return 0
    space = max(text.rfind(" ", 0, ready), text.rfind("\t", 0, ready))
    return space + 1 if space > 0 else ready


class Scanner:
    """One growing text. Feed pieces; replacements refer to the original text's offsets."""

    __slots__ = (
        "_context", "_detectors", "_held", "_let_go", "_live", "_offset", "_replace", "_scored",
        "_swallow", "_zone",
    )  # fmt: skip

    def __init__(self, detectors: Detectors, replace: Replace, zone: Zone) -> None:
        self._detectors = detectors
        self._live = _live_of(detectors)
        self._replace = replace
        self._zone = zone
        self._context = ""  # settled text, as it was, that detectors may still look at
        self._held = ""  # text that has not left yet
        self._offset = 0  # absolute offset of the first held character
        self._scored = 0  # absolute offset up to which the models have seen the text
        self._let_go = False  # what left last was still live: too long to be held
        self._swallow = False  # inside a secret longer than what may be held

    def feed(self, text: str) -> ScanStep:
        """Take the next piece; say what to replace and up to where text may leave."""
        if not text:
            return ScanStep([], self._offset)
        self._held += text
        replacements: list[Replacement] = []
        if self._swallow:
            replacements = self._swallowed()
        before = len(self._context)
        if len(self._held) > HELD_CHARACTERS_MAX:
            self._let_go = True
            whole = self._context + self._held
            return self._settle(whole, before, len(whole), replacements, True)
        if self._let_go:
            live = self._live.start(self._context + self._held) - before
            self._let_go = live < 0
        else:  # what has left was not live, and never is again
            live = self._live.start(self._held)
        if self._detectors.by_sentence:
            live = min(live, sentences_end(self._held))
        if live <= 0:
            return ScanStep(replacements, self._offset)
        whole = self._context + self._held
        return self._settle(whole, before, before + live, replacements, False)

    def finish(self) -> ScanStep:
        """No more text comes: judge what is held as it stands, and let it go."""
        replacements = self._swallowed() if self._swallow else []
        whole = self._context + self._held
        return self._settle(whole, len(self._context), len(whole), replacements, False, True)

    def _settle(
        self,
        whole: str,
        before: int,
        limit: int,
        replacements: list[Replacement],
        full: bool,
        last: bool = False,
    ) -> ScanStep:
        scored = last or self._offset + limit - before - self._scored >= SCORED_CHARACTERS
        if limit <= before and not (last and self._scored < self._offset):
            return ScanStep(replacements, self._offset)
        findings = self._detectors.scan(whole, self._zone, scored)
        if scored:
            self._report(findings, whole, before)
        for finding in reversed(findings):
            if finding.start < limit < finding.end and not is_verdict(finding):
                limit = max(before, finding.start)  # it reaches into what is still live
        base = self._offset - before
        for finding in findings:
            end = min(finding.end, limit) if is_verdict(finding) else finding.end
            start = max(finding.start, before)
            if start < end <= limit:
                text = self._replace(finding, whole[finding.start : end])
                replacements.append(Replacement(base + start, base + end, text))
        self._swallow = full and bool(findings) and findings[-1].end == len(whole)
        self._context = whole[max(0, limit - CONTEXT_CHARACTERS) : limit]
        self._held = whole[limit:]
        self._offset = base + limit
        if scored:
            self._scored = self._offset
        return ScanStep(replacements, self._offset)

    def _report(self, findings: list[Finding], whole: str, before: int) -> None:
        """Say what models found in text that has left since they were asked last: it is
        reported, not cut out."""
        seen = self._scored - self._offset + before
        for finding in findings:
            if seen < finding.end <= before and finding.detector in self._detectors.models:
                self._replace(finding, whole[finding.start : finding.end])

    def _swallowed(self) -> list[Replacement]:
        """Take the rest of an overlong secret out: up to white space that ends it, or a dash
        line that ends a key."""
        stop = next((at for at, char in enumerate(self._held) if char in " \t\"'<>{}"), None)
        cut = len(self._held) if stop is None else stop
        self._swallow = stop is None
        if not cut:
            return []
        taken = Replacement(self._offset, self._offset + cut, "")
        self._context = ""
        self._held = self._held[cut:]
        self._offset += cut
        return [taken]


def is_verdict(finding: Finding) -> bool:
    """True for what a model says of a stretch of text: it has no end of its own to wait for."""
    return finding.type.endswith(".model")
