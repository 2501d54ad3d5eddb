"""A text as hashed n-grams: what the injection model sees, in training and at work.

Character 3- and 5-grams, word 1- to 3-grams, and the order of words with a meaning (see
``Concepts``), each hashed to a bucket and standing at a place in the text. Everything is
one numpy pass over the code points; nothing is kept of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Buckets of the hash: 2^18 int8 weights are 256 KB and stay in a processor's cache.
BUCKET_BITS = 18
BUCKETS = 1 << BUCKET_BITS
# Letters of a word that its hash tells apart; what follows is folded into the last.
WORD_LETTERS = 24
STEM_LETTERS = 5
# Words with a meaning count as neighbours up to this many words apart.
CONCEPT_REACH = 8
# Runs of characters that count: three are a stem or an ending, five a word. Four add nothing
# that could be measured.
CHARACTER_RUNS = (3, 5)
# A meaning counts as that many n-grams: it is what carries over between languages.
MEANING_WEIGHT = 3

Integers = NDArray[np.uint32]
Places = NDArray[np.intp]

_MULTIPLIER = np.uint32(0x9E3779B1)
_MIX = np.uint32(0x85EBCA6B)
_LOW_HALF = np.uint32(0xFFFF)
_SPACE = ord(" ")
_SIGMA = "\u03a3"
# The first character that is a word of its own (Thai).
_SINGLE_MIN = 0x0E00


def _ascii_table() -> bytes:
    """Lower case; every digit is 0; control characters are spaces."""
    table = bytearray(range(256))
    for code in range(128):
        char = chr(code)
        table[code] = ord("0") if char.isdigit() else ord(char.lower())
        if code < 33 or code == 127:
            table[code] = _SPACE
    return bytes(table)


_ASCII = _ascii_table()
_IN_WORDS = bytes(chr(code).isalnum() for code in range(128)).ljust(256)
_POWERS = np.array([pow(0x9E3779B1, n + 1, 1 << 32) | 1 for n in range(WORD_LETTERS)], np.uint32)


@dataclass(slots=True, frozen=True)
class Concepts:
    """Words with a meaning: sorted hashes and the number of each one's meaning (from 1)."""

    keys: Integers
    meanings: NDArray[np.uint8]
    # Which low halves of a hash the keys have: most words have another one and need no search.
    low_halves: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        low_halves = np.zeros(1 << 16, np.bool_)
        low_halves[self.keys & _LOW_HALF] = True
        object.__setattr__(self, "low_halves", low_halves)

    def of(self, hashes: Integers) -> NDArray[np.uint8]:
        """The meaning of each hash, 0 for none."""
        meanings = np.zeros(len(hashes), np.uint8)
        likely = self.low_halves.take(hashes & _LOW_HALF).nonzero()[0]
        if len(likely):
            wanted = hashes[likely]
            at = self.keys.searchsorted(wanted)
            at[at == len(self.keys)] = 0
            meanings[likely] = np.where(self.keys[at] == wanted, self.meanings[at], np.uint8(0))
        return meanings


@dataclass(slots=True, frozen=True)
class Grams:
    """The features of a text. ``buckets`` holds them kind after kind, each in the order of the
    text; ``kinds`` says how many there are of each and where in the text they stand: at the
    first of places that ascend, or (None) at the running index.

    Of the kinds the first ``single`` count once, the others ``MEANING_WEIGHT`` times.
    ``length``: code points.
    """

    length: int
    buckets: Integers
    kinds: list[tuple[int, Places | None]]
    single: int

    @property
    def groups(self) -> list[tuple[Places | None, Integers]]:
        """(places, buckets) of each kind, as often as it counts."""
        groups = []
        at = 0
        for count, places in self.kinds:
            stands = None if places is None else places[:count]
            groups.append((stands, self.buckets[at : at + count]))
            at += count
        return groups[: self.single] + groups[self.single :] * MEANING_WEIGHT


def codes_of(text: str) -> Integers:
    """Folded code points, one per character of ``text``."""
    return _folded(text)[0]


def _folded(text: str) -> tuple[Integers, NDArray[np.bool_]]:
    """Folded code points, one per character of ``text``, and which are part of a word."""
    folded = text.encode("ascii", "replace").translate(_ASCII)
    codes = np.frombuffer(folded, np.uint8).astype(np.uint32)
    inside = np.frombuffer(folded.translate(_IN_WORDS), np.bool_)
    if text.isascii():
        return codes, inside
    written = _written(text)
    beyond = (written > 127).nonzero()[0]
    inside = inside.copy()
    inside[beyond] = True
    codes[beyond] = _lower(text, written, beyond)
    return codes, inside


def _lower(text: str, written: Integers, beyond: Places) -> Integers:
    """The characters beyond ASCII in lower case, where that is one character for each."""
    letters = written[beyond].tobytes().decode("utf-32-le", "surrogatepass")
    lower = letters.lower()
    if len(lower) != len(letters):
        return written[beyond]  # places must stay
    if _SIGMA not in letters:
        return _written(lower)
    return _written(text.lower())[beyond]  # which small letter it gets, its neighbours say


def _written(text: str) -> Integers:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def grams(text: str, concepts: Concepts | None) -> Grams:
    """The features of ``text`` with their places; without concepts no words' meanings."""
    codes, inside = _folded(text)
    hashes: list[Integers] = []
    salts: list[int] = []
    kinds: list[tuple[int, Places | None]] = []

    def add(found: Integers, salt: int, places: Places | None) -> None:
        hashes.append(found)
        salts.append(salt)
        kinds.append((len(found), places))

    run = codes * _MULTIPLIER
    for size in range(2, CHARACTER_RUNS[-1] + 1):
        if len(codes) < size:
            break
        run = run[:-1] + codes[size - 1 :]
        run *= _MULTIPLIER
        if size in CHARACTER_RUNS:
            add(run, size, None)
    places, words, stems = _words(codes, inside)
    if len(words):
        add(words, 11, places)
    run = words
    for size in (2, 3):
        if len(words) >= size:
            run = run[:-1] * _MULTIPLIER
            run += words[size - 1 :]
            add(run, 11 + size, places)
    single = len(kinds)
    meanings = [] if concepts is None else _meanings(places, words, stems, concepts)
    for number, (told, order) in enumerate(meanings):
        add(order, 32 + number if number else 31, told)
    return Grams(len(codes), _buckets(hashes, salts), kinds, single)


def grams_of_many(texts: Sequence[str], concepts: Concepts | None) -> tuple[Integers, Places, int]:
    """The features of several texts of ASCII in one pass: their buckets, the number of the text
    that each belongs to, and how many of them count once. They are those of each text alone."""
    codes, inside = _folded("\n".join(texts))
    lengths = [len(text) + 1 for text in texts]
    owner = np.arange(len(texts)).repeat(lengths)[:-1]
    last = np.zeros(len(codes), np.bool_)  # the line feeds between them
    last[np.cumsum(lengths[:-1], dtype=np.intp) - 1] = True
    owner[last] = -1
    hashes: list[Integers] = []
    owners = [np.zeros(0, np.intp)]
    salts: list[int] = []

    def add(found: Integers, salt: int, first: Places, final: Places) -> None:
        whole = (first == final) & (first >= 0)
        hashes.append(found[whole])
        owners.append(first[whole])
        salts.append(salt)

    run = codes * _MULTIPLIER
    for size in range(2, CHARACTER_RUNS[-1] + 1):
        if len(codes) < size:
            break
        run = run[:-1] + codes[size - 1 :]
        run *= _MULTIPLIER
        if size in CHARACTER_RUNS:
            add(run, size, owner[: 1 - size], owner[size - 1 :])
    places, words, stems = _words(codes, inside)
    of_words = owner[places]
    run = words
    for size in (1, 2, 3):
        if len(words) < size:
            break
        if size > 1:
            run = run[:-1] * _MULTIPLIER
            run += words[size - 1 :]
        add(run, 11 + size if size > 1 else 11, of_words[: len(run)], of_words[size - 1 :])
    single = sum(map(len, hashes))
    if concepts is not None:
        for number, (told, order) in enumerate(_meanings(places, words, stems, concepts, of_words)):
            add(order, 32 + number if number else 31, owner[told], owner[told])
    return _buckets(hashes, salts), np.concatenate(owners), single


def _buckets(hashes: list[Integers], salts: list[int]) -> Integers:
    """The bucket of each hash; a kind of feature has its own salt."""
    if not hashes:
        return np.zeros(0, np.uint32)
    mixed = np.concatenate(hashes)
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX
    salted = np.array([salt * 0x27D4EB2F & 0xFFFFFFFF for salt in salts], np.uint32)
    mixed += salted.repeat([len(found) for found in hashes])
    mixed ^= mixed >> np.uint32(13)
    mixed *= _MULTIPLIER
    mixed >>= np.uint32(32 - BUCKET_BITS)
    return mixed


def _words(codes: Integers, inside: NDArray[np.bool_]) -> tuple[Places, Integers, Integers]:
    """Where words begin, their hashes, and the hashes of their first letters.

    Chinese, Japanese and Thai are written without spaces: there each character is a word.
    """
    begins = inside.copy()
    if codes.max(initial=0) < _SINGLE_MIN:
        begins[1:] &= ~inside[:-1]
    else:
        thai = (codes >= _SINGLE_MIN) & (codes < 0x0E80)
        single = ((codes >= 0x3040) & (codes < 0xA000)) | thai
        begins[1:] &= ~inside[:-1] | single[1:] | single[:-1]
    starts = begins.nonzero()[0]
    if not len(starts):
        empty = np.zeros(0, np.uint32)
        return starts, empty, empty
    widths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=widths[:-1])
    widths[-1] = len(codes) - starts[-1]
    widths[0] += starts[0]  # what stands before the first word; nothing of it counts
    within = np.arange(len(codes)) - np.repeat(starts, widths)
    spread = codes + np.uint32(7)
    spread *= _POWERS.take(within, mode="clip")
    spread ^= spread >> np.uint32(11)
    spread *= inside
    words = np.add.reduceat(spread, starts, dtype=np.uint32)
    spread *= within < STEM_LETTERS
    return starts, words, np.add.reduceat(spread, starts, dtype=np.uint32)


def _meanings(
    places: Places,
    words: Integers,
    stems: Integers,
    concepts: Concepts,
    owners: Places | None = None,
) -> list[tuple[Places, Integers]]:
    """(places, hashes): which meanings occur, and in which order two and three of them do.

    ``owners``: to which of several texts each word belongs.
    """
    count = len(words)
    pairs = words[:-1] * _MULTIPLIER
    pairs += words[1:]
    pairs ^= np.uint32(0x1B873593)
    found = concepts.of(np.concatenate((words, stems ^ np.uint32(0x5BD1E995), pairs)))
    meaning, by_stem, by_pair = found[:count], found[count : 2 * count], found[2 * count :]
    if owners is not None:
        by_pair[owners[:-1] != owners[1:]] = 0
    np.copyto(meaning, by_stem, where=meaning == 0)
    np.copyto(meaning[:-1], by_pair, where=meaning[:-1] == 0)
    told = meaning.nonzero()[0]
    if not len(told):
        return []
    here = meaning[told].astype(np.uint32)
    groups = [(places[told], here)]
    order = here
    for size in (2, 3):
        if len(told) < size:
            break
        near = told[size - 1 :] - told[: 1 - size] <= CONCEPT_REACH * (size - 1)
        if owners is not None:
            near &= owners[told[size - 1 :]] == owners[told[: 1 - size]]
        order = order[:-1] * np.uint32(64) + here[size - 1 :]
        groups.append((places[told[: 1 - size]][near], order[near]))
    return groups


def concepts_from(entries: Mapping[str, list[str]]) -> Concepts:
    """The concepts of a word list: five letters or more stand for all that begin so."""
    known: dict[int, int] = {}
    for number, words in enumerate(entries.values(), 1):
        for word in words:
            _, hashes, stems = _words(*_folded(word))
            if len(hashes) >= 2 and len(word) <= 3:  # a pair of characters
                pair = (hashes[:1] * _MULTIPLIER + hashes[1:2]) ^ np.uint32(0x1B873593)
                known.setdefault(int(pair[0]), number)
            elif len(word) >= STEM_LETTERS:
                known.setdefault(int(stems[0] ^ np.uint32(0x5BD1E995)), number)
            else:
                known.setdefault(int(hashes[0]), number)
    keys = np.array(sorted(known), np.uint32)
    return Concepts(keys, np.array([known[int(key)] for key in keys], np.uint8))
