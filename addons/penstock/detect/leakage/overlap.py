"""Whether a text repeats a large part of another: runs of the same words, any punctuation.

Made for system prompts in answers. A run is a stretch in which every four words in a row
also stand in a row in the prompt; it counts when it is as long as a quarter of the prompt,
at least 12 words and at most 100. Case, punctuation and layout do not matter; a paraphrase
or a translation is not found. Time and memory are linear in the texts.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import blake2b

from penstock.wire.channel_text import Replacement, ScanStep

# Words in a row that are compared: three are idiom, five miss a changed word too often.
SHINGLE_WORDS = 4
# Part of a prompt that counts as a large one, and what that is at least and at most.
PROMPT_SHARE = 0.25
RUN_WORDS_MIN, RUN_WORDS_MAX = 12, 100
# Words of a prompt that are looked at: 25 KB of English. Behind them stands reference material.
PROMPT_WORDS_MAX = 4000
# Prompts whose words are kept: one per agent that shares a proxy, and their changes.
PROMPTS_MAX = 64
# A longer word is cut: nobody writes one, and a text without a space must not be held whole.
WORD_CHARACTERS_MAX = 64

# Scripts without spaces: every character is a word.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_]){{1,{WORD_CHARACTERS_MAX}}}")


class Prompt:
    """The words of one system prompt: every start of every four in a row, as hashes."""

    __slots__ = ("beginnings", "needed", "shingles")

    def __init__(self, text: str) -> None:
        words: list[str] = []
        for match in _WORD.finditer(text):
            words.append(match[0].casefold())
            if len(words) >= PROMPT_WORDS_MAX:
                break
        self.needed = max(RUN_WORDS_MIN, min(RUN_WORDS_MAX, int(len(words) * PROMPT_SHARE)))
        rows = range(len(words) - SHINGLE_WORDS + 1)
        self.shingles = frozenset(hash(tuple(words[n : n + SHINGLE_WORDS])) for n in rows)
        self.beginnings = frozenset(
            hash(tuple(words[n : n + length])) for length in range(1, SHINGLE_WORDS) for n in rows
        )

    @property
    def is_short(self) -> bool:
        """True when nothing could repeat enough of it."""
        return len(self.shingles) + SHINGLE_WORDS - 1 < self.needed


_prompts: OrderedDict[bytes, Prompt] = OrderedDict()
_lock = threading.Lock()  # large answers are judged in worker threads


def prompt_of(text: str) -> Prompt:
    """The words of a prompt; remembered by the text's hash, as prompts come again and again."""
    key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    with _lock:
        known = _prompts.get(key)
        if known is not None:
            _prompts.move_to_end(key)
            return known
    made = Prompt(text)
    with _lock:
        _prompts[key] = made
        while len(_prompts) > PROMPTS_MAX:
            _prompts.popitem(last=False)
    return made


class OverlapScanner:
    """Finds runs in one growing text; holds back only what may become part of one.

    ``replace`` gets the place of a run that counts and answers what stands there instead, or
    None where it stays. What follows of the run goes the same way.
    """

    __slots__ = (
        "_done", "_end", "_last", "_offset", "_open", "_prompt", "_recent", "_replace", "_start",
        "_stays", "_words",
    )  # fmt: skip

    def __init__(self, prompt: Prompt, replace: Callable[[int, int], str | None]) -> None:
        self._prompt = prompt
        self._replace = replace
        self._recent: deque[tuple[str, int]] = deque(maxlen=SHINGLE_WORDS)
        self._open = ""  # the end of the text: a word that may still grow
        self._offset = 0  # absolute offset of its first character
        self._words = 0  # of the run under way; 0: none
        self._start = self._end = 0  # where the run stands
        self._done = -1  # up to where it was replaced; -1: it does not count yet
        self._stays = False  # nothing of the run under way is taken out
        self._last = 0  # what may have left

    def feed(self, text: str) -> ScanStep:
        self._open += text
        return self._step(whole=False)

    def finish(self) -> ScanStep:
        return self._step(whole=True)

    def _step(self, whole: bool) -> ScanStep:
        replacements: list[Replacement] = []
        text, base = self._open, self._offset
        read = len(text)
        for match in _WORD.finditer(text):
            start, end = match.span()
            if end == len(text) and not whole and end - start < WORD_CHARACTERS_MAX:
                read = start  # it may still grow
                break
            self._word(match[0].casefold(), base + start, base + end, replacements)
        self._open, self._offset = text[read:], base + read
        self._last = max(self._last, self._offset if whole else self._settled())
        return ScanStep(replacements, self._last)

    def _word(self, word: str, start: int, end: int, out: list[Replacement]) -> None:
        self._recent.append((word, start))
        row = tuple(known for known, _ in self._recent)
        if len(row) < SHINGLE_WORDS or hash(row) not in self._prompt.shingles:
            self._words, self._done = 0, -1
            return
        if not self._words:
            self._start, self._words = self._recent[0][1], SHINGLE_WORDS - 1
        self._words += 1
        self._end = end
        if self._words < self._prompt.needed:
            return
        if self._done < 0:
            text = self._replace(self._start, end)
            self._stays = text is None
            if text is not None:
                out.append(Replacement(self._start, end, text))
        elif not self._stays:
            out.append(Replacement(self._done, end, ""))
        self._done = end

    def _settled(self) -> int:
        """Up to where no run can reach back."""
        if self._words:
            return self._done if self._done >= 0 else self._start
        row = list(self._recent)
        for at in range(max(0, len(row) - SHINGLE_WORDS + 1), len(row)):
            if hash(tuple(word for word, _ in row[at:])) in self._prompt.beginnings:
                return row[at][1]
        return self._offset


def repeated(prompt: Prompt, text: str) -> list[tuple[int, int]]:
    """The runs of a whole text that count: (start, end)."""
    scanner = OverlapScanner(prompt, lambda start, end: "")
    found: list[tuple[int, int]] = []
    for one in (*scanner.feed(text).replacements, *scanner.finish().replacements):
        if found and one.start == found[-1][1]:
            found[-1] = (found[-1][0], one.end)
        else:
            found.append((one.start, one.end))
    return found
