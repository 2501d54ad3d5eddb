"""Seed phrases of wallets (BIP 39): 12 to 24 words of one list, the last with a checksum.

Whoever has the words has the money. English words of the list are frequent in prose, so a
phrase counts only whole: so many in a row, nothing else between them, and the checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from penstock.detect.probe import Probe
from penstock.detect.rules import DATA
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding

TYPE = "secret.seed_phrase"
# The English list of BIP 39, one word a line, sorted (MIT licence).
LIST = DATA / "bip39_english.txt"
# Words of a phrase; a twelfth less one bits each, a thirty-third of all is the checksum.
SIZES = (24, 21, 18, 15, 12)
WORD_BITS = 11
# Words beside it that are in the list by chance ("phrase", "this"). A longer row is prose: among
# its many parts one has the right checksum.
SURPLUS_WORDS_MAX = 3
# Words stand behind each other, in a list with commas, or numbered on lines.
_GAP = r"[ \t\r\n,;]{1,4}(?:[0-9]{1,2}[.):]?[ \t]{1,2})?"
_WORD = r"[A-Za-z]{3,8}"
# In one case: twelve words without a name or the beginning of a sentence are rare in prose.
_PHRASE = r"\b(?:{0}(?:{2}{0}){{11,}}|{1}(?:{2}{1}){{11,}})\b".format(
    "[a-z]{3,8}", "[A-Z]{3,8}", _GAP
)
# A stream is held where something says that a phrase follows. Any text could begin one.
_LIVE = (
    r"(?i:seed|mnemonic|recovery|secret|backup|wallet|bip-?39)"
    r"(?i:[ -](?:phrase|words?|is|are|the|your|for|wallet|recovery|key)){0,6}"
    r"[:=\s\"'`*]{1,6}(?:[0-9]{1,2}[.):]?[ \t]{1,2})?"
    rf"(?:{_WORD}{_GAP}){{0,23}}[A-Za-z]{{0,8}}"
)
_word = re.compile(_WORD)
_line_end = re.compile(r"\n")
_Row = list[tuple[int, int, int]]  # number, start and end of each word


def mnemonic_probes() -> list[Probe]:
    """Seed phrases."""
    pattern = Pattern(_PHRASE)

    def find(view: View) -> Iterator[Finding]:
        for start, end, _, _ in view.spans(pattern):
            if not _may_hold(_word.findall(view.text, start, end)):
                continue
            for low, high in _phrases(view.text, start, end):
                yield Finding(TYPE, low, high, 1.0, TYPE)

    return [Probe(TYPE, (TYPE,), _PHRASE, find, "prose", trigger=_PHRASE, live=_LIVE)]


def _may_hold(words: list[str]) -> bool:
    """Whether twelve words of the list stand in a row: one of them is every twelfth of the run,
    so in prose few words are looked up."""
    numbers = _numbers()
    for at in range(SIZES[-1] - 1, len(words), SIZES[-1]):
        low = high = at
        while low >= 0 and words[low].lower() in numbers:
            low -= 1
        while high < len(words) and words[high].lower() in numbers:
            high += 1
        if high - low > SIZES[-1]:
            return True
    return False


def _phrases(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The phrases in a run of words; of a long run those that fill a line."""
    whole = list(_rows(text, start, end))
    if all(len(row) <= SIZES[0] + SURPLUS_WORDS_MAX for row in whole):
        lines = whole
    else:
        ends = [start, *(m.end() for m in _line_end.finditer(text, start, end)), end]
        lines = [row for low, high in pairwise(ends) for row in _rows(text, low, high)]
    for row in lines:
        yield from _in_row(row)


def _rows(text: str, start: int, end: int) -> Iterator[_Row]:
    """The words of the list that stand in a row, twelve or more."""
    numbers = _numbers()
    row: _Row = []
    for match in _word.finditer(text, start, end):
        number = numbers.get(match[0].lower())
        if number is not None:
            row.append((number, match.start(), match.end()))
            continue
        if len(row) >= SIZES[-1]:
            yield row
        row = []
    if len(row) >= SIZES[-1]:
        yield row


def _in_row(row: _Row) -> Iterator[tuple[int, int]]:
    for size in SIZES:
        for at in range(len(row) - size + 1):
            if len(row) - size <= SURPLUS_WORDS_MAX and _sums_up(row[at : at + size]):
                yield row[at][1], row[at + size - 1][2]
                return


def _sums_up(places: _Row) -> bool:
    """The checksum: the first bits of the entropy's SHA-256."""
    value = 0
    for number, _, _ in places:
        value = value << WORD_BITS | number
    check_bits = len(places) * WORD_BITS // 33
    entropy = (value >> check_bits).to_bytes(check_bits * 4)
    digest = hashlib.sha256(entropy).digest()[0]
    return value & ((1 << check_bits) - 1) == digest >> (8 - check_bits)


@cache
def _numbers() -> dict[str, int]:
    words = LIST.read_text(encoding="ascii").split()
    return {word: number for number, word in enumerate(words)}
