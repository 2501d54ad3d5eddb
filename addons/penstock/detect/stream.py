"""Find and replace in a text that grows piece by piece, without ever letting a part out.

A piece of text is held back only while some pattern could still complete at its end;
``live`` says from where. So plain text passes at once, a long token is held whole however
long it is, and nothing is held when nothing is live. There is no fixed window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from penstock.detect import SELECTIONS_MAX, Detectors
from penstock.detect.disguises.growing import (
    known_until,
    live_undisguised,
    may_be_disguised,
    unbroken_from,
)
from penstock.detect.disguises.normalise import PIECE_ENDS
from penstock.detect.injection.hidden import construct_around
from penstock.detect.live import LivePattern
from penstock.detect.probe import Probe
from penstock.detect.secrets.overlong import Rest, goes_on
from penstock.exchange import UNSCANNABLE, Finding, Zone
from penstock.wire.channel_text import Replacement, ScanStep

# Text before the held part that detectors read as context (names, vendor words, phones).
CONTEXT_CHARACTERS = 256
# The longest text held back: a 16384-bit RSA key in PEM is 13 KB, a JSON web token rarely
# more than 8 KB. What is still live then is judged as it stands: of what is found the rest is
# taken out as it comes, and what waits for its end without one counts as not judged.
HELD_CHARACTERS_MAX = 32 * 1024
# The beginning of such a finding, which is kept in mind to see it end.
FOLDED_CHARACTERS = 2048
# A run of base64 is let go of in whole units (four characters, hexadecimal two), so that the
# rest of it can be read.
_RUN_AT_END = re.compile(r"[0-9A-Za-z+/_-]{24,}\Z")
RUN_UNIT = 4

# A model scores the context again when that much has been added to it, and at the text's end.
SCORED_CHARACTERS = 128
# Where names are looked for, text waits until its sentence is over and the next has begun; a
# sentence without an end, until so much of it has come. Then the words at its end still wait.
SENTENCE_CHARACTERS_MAX = 600
NEXT_CHARACTERS = 32
_BREAK = re.compile(f"[{PIECE_ENDS}]")
# Of a piece that is live only without its disguise so much more comes before it is read again
# (an eighth of it): so all of its reading takes what its length takes.
READ_AGAIN_SHARE = 8
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s|\n|[。！？]")

Replace = Callable[[Finding, str], str]


class Whole(str):
    """Stands in place of the construct that a finding stands in: its comment, its image."""

    __slots__ = ()


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


def whole_units(text: str) -> int:
    """Up to where a text can be read though more comes: no escape is cut, no unit of a run."""
    end = known_until(text)
    run = _RUN_AT_END.search(text, 0, end)
    return end if run is None else end - (end - run.start()) % RUN_UNIT


class Scanner:
    """One growing text. Feed pieces; replacements refer to the original text's offsets."""

    __slots__ = (
        "_begun", "_context", "_detectors", "_folded", "_held", "_let_go", "_live", "_offset",
        "_read_until", "_replace", "_rest", "_scored", "_zone",
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
        self._folded = False  # the context is the beginning of what goes on, its middle left out
        self._rest: Rest | None = None  # inside a secret longer than what may be held
        self._begun = ""  # what stands for that rest
        self._read_until = 0  # absolute offset up to which a disguised piece just waits

    def feed(self, text: str) -> ScanStep:
        """Take the next piece; say what to replace and up to where text may leave."""
        if not text:
            return ScanStep([], self._offset)
        self._held += text
        replacements: list[Replacement] = []
        if self._rest is not None:
            replacements = self._taken(self._rest)
            if self._rest is not None:
                return ScanStep(replacements, self._offset)
        before = len(self._context)
        if len(self._held) > HELD_CHARACTERS_MAX:
            self._let_go = True
            return self._overflow(replacements)
        if self._offset + len(self._held) < self._read_until:
            return ScanStep(replacements, self._offset)
        if self._let_go:
            live = self._live.start(self._context + self._held) - before
            self._let_go = live < 0
        else:  # what has left was not live, and never is again
            live = self._live.start(self._held)
        if live > 0 and may_be_disguised(self._held):
            live = min(live, self._undisguised())
        if self._detectors.by_sentence:
            live = min(live, sentences_end(self._held))
        if live <= 0:
            return ScanStep(replacements, self._offset)
        whole = self._context + self._held
        return self._settle(whole, before + live, replacements)

    def _undisguised(self) -> int:
        """From where what is held is live once its disguises are taken off."""
        whole, before = self._context + self._held, len(self._context)
        live = live_undisguised(whole, self._live.start)
        if live < len(whole):
            end = self._offset + len(self._held)
            self._read_until = end + (len(whole) - live) // READ_AGAIN_SHARE
        return max(0, live - before)

    def finish(self) -> ScanStep:
        """No more text comes: judge what is held as it stands, and let it go."""
        replacements = self._taken(self._rest, last=True) if self._rest is not None else []
        whole = self._context + self._held
        return self._settle(whole, len(whole), replacements, last=True)

    def _settle(
        self, whole: str, limit: int, replacements: list[Replacement], last: bool = False
    ) -> ScanStep:
        before = len(self._context)
        scored = last or self._offset + limit - before - self._scored >= SCORED_CHARACTERS
        if limit <= before and not (last and self._scored < self._offset):
            return ScanStep(replacements, self._offset)
        findings = self._findings(whole, scored)
        waiting = next((f for f in findings if f.start >= limit and not is_verdict(f)), None)
        if waiting is not None and not _BREAK.search(whole, limit, waiting.start):
            # What stands before it says what it is: the beginning of an address, of a token.
            limit = max(before, unbroken_from(whole, limit))
        for finding in reversed(findings):
            if finding.start < limit < finding.end and not is_verdict(finding):
                limit = max(before, finding.start)  # it reaches into what is still live
        replacements += self._replaced(findings, whole, limit)
        if limit > before or last:
            self._leave(whole, limit, max(0, limit - CONTEXT_CHARACTERS))
            self._folded = False
        if scored:
            self._scored = self._offset
        return ScanStep(replacements, self._offset)

    def _findings(self, whole: str, scored: bool) -> list[Finding]:
        findings = self._detectors.scan(whole, self._zone, scored)
        if scored:
            self._report(findings, whole)
        return findings

    def _replaced(self, findings: list[Finding], whole: str, limit: int) -> list[Replacement]:
        """The findings up to ``limit``; the rest of one that began in the context is taken out."""
        before = len(self._context)
        base = self._offset - before
        replacements: list[Replacement] = []
        for finding in findings:
            end = min(finding.end, limit) if is_verdict(finding) else finding.end
            start = max(finding.start, before)
            if start < end <= limit:
                text = self._replace(finding, whole[finding.start : end])
                if finding.start < before and self._folded:
                    text = rest_of(text)
                if isinstance(text, Whole):
                    low, high = construct_around(whole, finding.start, finding.end)
                    start, end = max(low, before), min(high, limit)
                    if replacements and base + start < replacements[-1].end:
                        taken = replacements.pop()  # the construct holds both
                        start, end = taken.start - base, max(end, taken.end - base)
                replacements.append(Replacement(base + start, base + end, text))
        return replacements

    def _leave(self, whole: str, limit: int, context: int) -> None:
        """Everything up to ``limit`` has left; the text from ``context`` on is kept in mind."""
        self._offset += limit - len(self._context)
        self._context = whole[context:limit]
        self._held = whole[limit:]

    def _overflow(self, replacements: list[Replacement]) -> ScanStep:
        """More is live than may be held: judge it as it stands, and remember what goes on."""
        text = self._context + self._held
        whole = text[: whole_units(text)]
        end = len(whole)
        found = self._findings(whole, True)
        verdicts = [one for one in found if is_verdict(one)]
        findings = [one for one in found if not is_verdict(one)]
        done = findings[-1].end if findings else 0
        start = self._live.unending(whole)
        if done > len(self._context) and goes_on(whole, findings[-1]):
            findings[-1] = replace(findings[-1], end=end)
        elif len(self._context) < done <= start:
            end = done  # what stands behind the last that was found has not been held for long
            self._let_go = False
        elif start < end:
            findings = [one for one in findings if one.end <= start]
            findings.append(Finding(UNSCANNABLE, start, end, 1.0, UNSCANNABLE))
        last = findings[-1] if self._let_go and findings and findings[-1].end == end else None
        values = self._replaced(findings, whole, end)
        replacements += sorted([*values, *self._replaced(verdicts, whole, end)], key=_start)
        self._scored = self._offset + end - len(self._context)
        if last is None:
            self._leave(text, end, max(0, end - CONTEXT_CHARACTERS))
        elif last.type.startswith("secret."):
            self._rest = Rest(whole, last)
            self._begun = rest_of(values[-1].text)
            self._leave(text, end, end)
        else:
            # Its beginning stands for all of it: what comes is read as if it followed.
            head = whole[max(0, last.start - CONTEXT_CHARACTERS) : last.start + FOLDED_CHARACTERS]
            self._leave(text, end, end)
            self._context, self._folded = head, True
        return ScanStep(replacements, self._offset)

    def _report(self, findings: list[Finding], whole: str) -> None:
        """Say what models found in text that has left since they were asked last: it is
        reported, not cut out."""
        before = len(self._context)
        seen = self._scored - self._offset + before
        for finding in findings:
            if seen < finding.end <= before and finding.detector in self._detectors.models:
                self._replace(finding, whole[finding.start : finding.end])

    def _taken(self, rest: Rest, last: bool = False) -> list[Replacement]:
        """Take out what comes of a secret whose beginning has left."""
        cut, ended = rest.take(self._held, last)
        if ended:
            self._rest = None
            self._let_go = False
        if not cut:
            return []
        taken = Replacement(self._offset, self._offset + cut, self._begun)
        self._leave(self._held, cut, cut)
        return [taken]


def _start(replacement: Replacement) -> int:
    return replacement.start


def is_verdict(finding: Finding) -> bool:
    """True for what a model says of a stretch of text: it has no end of its own to wait for."""
    return finding.type.endswith(".model")


def rest_of(text: str) -> str:
    """What stands for the rest of something that ``text`` stands for: nothing. A text of a
    class of its own is no text but what shall be done, and holds for all of it."""
    return "" if type(text) is str else text
