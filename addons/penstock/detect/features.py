"""A text as hashed n-grams: what the injection model sees, in training and at work.

Character 3- to 5-grams, word 1- to 3-grams, and the order of words with a meaning (see
``Concepts``), each hashed to a bucket and standing at a place in the text. Everything is
one numpy pass over the code points; nothing is kept of the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
# A meaning counts as that many n-grams: it is what carries over between languages.
MEANING_WEIGHT = 3

Integers = NDArray[np.uint32]
Places = NDArray[np.intp]

_MULTIPLIER = np.uint32(0x9E3779B1)
_MIX = np.uint32(0x85EBCA6B)
_SPACE = ord(" ")


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
_ASCII_CODES = np.frombuffer(_ASCII, dtype=np.uint8).astype(np.uint32)
_IS_WORD = np.array([code > 127 or chr(code).isalnum() for code in range(256)])
_POWERS = np.array([pow(0x9E3779B1, n + 1, 1 << 32) | 1 for n in range(WORD_LETTERS)], np.uint32)


@dataclass(slots=True, frozen=True)
class Concepts:
    """Words with a meaning: sorted hashes and the number of each one's meaning (from 1)."""

    keys: Integers
    meanings: NDArray[np.uint8]

    def of(self, hashes: Integers) -> NDArray[np.uint8]:
        """The meaning of each hash, 0 for none."""
        if not len(self.keys):
            return np.zeros(len(hashes), np.uint8)
        at = np.searchsorted(self.keys, hashes)
        at[at == len(self.keys)] = 0
        return np.where(self.keys[at] == hashes, self.meanings[at], np.uint8(0))


@dataclass(slots=True, frozen=True)
class Grams:
    """``groups``: (places, buckets) per kind of feature; ``length``: code points."""

    groups: list[tuple[Places | None, Integers]]
    length: int


def codes_of(text: str) -> Integers:
    """Folded code points, one per character of ``text``."""
    if text.isascii():
        return np.frombuffer(text.encode().translate(_ASCII), np.uint8).astype(np.uint32)
    lower = text.lower()
    if len(lower) != len(text):
        lower = text  # a letter that has no lower case of its own: places must stay
    codes = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    small = codes < 128
    codes[small] = _ASCII_CODES[codes[small]]
    return codes


def grams(text: str, concepts: Concepts) -> Grams:
    """The features of ``text`` with their places; a place of None is the running index."""
    codes = codes_of(text)
    groups: list[tuple[Places | None, Integers]] = []
    rolling = codes * _MULTIPLIER
    for size in range(2, 6):
        if len(codes) < size:
            break
        rolling = (rolling[:-1] + codes[size - 1 :]) * _MULTIPLIER
        if size >= 3:
            groups.append((None, _bucket(rolling, size)))
    places, words, stems = _words(codes)
    if len(words):
        groups.append((places, _bucket(words, 11)))
        for size in (2, 3):
            if len(words) >= size:
                pair = words[: len(words) - size + 1].copy()
                for step in range(1, size):
                    pair = pair * _MULTIPLIER + words[step : len(words) - size + 1 + step]
                groups.append((places[: len(pair)], _bucket(pair, 11 + size)))
        groups += _meanings(places, words, stems, concepts) * MEANING_WEIGHT
    return Grams(groups, len(codes))


def _bucket(hashes: Integers, salt: int) -> Integers:
    mixed = (hashes ^ (hashes >> np.uint32(15))) * _MIX + np.uint32(salt * 0x27D4EB2F & 0xFFFFFFFF)
    mixed ^= mixed >> np.uint32(13)
    return (mixed * _MULTIPLIER) >> np.uint32(32 - BUCKET_BITS)


def _words(codes: Integers) -> tuple[Places, Integers, Integers]:
    """Where words begin, their hashes, and the hashes of their first letters.

    Chinese, Japanese and Thai are written without spaces: there each character is a word.
    """
    inside = _IS_WORD[np.minimum(codes, 255)]
    single = ((codes >= 0x3040) & (codes < 0xA000)) | ((codes >= 0x0E00) & (codes < 0x0E80))
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | single[1:] | single[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        empty = np.zeros(0, np.uint32)
        return starts, empty, empty
    number = np.cumsum(begins) - 1
    within = np.arange(len(codes)) - starts[np.maximum(number, 0)]
    spread = (codes + np.uint32(7)) * _POWERS[np.clip(within, 0, WORD_LETTERS - 1)]
    spread ^= spread >> np.uint32(11)
    spread[~inside] = 0
    words = np.add.reduceat(spread, starts).astype(np.uint32)
    spread[within >= STEM_LETTERS] = 0
    stems = np.add.reduceat(spread, starts).astype(np.uint32)
    return starts, words, stems


def _meanings(
    places: Places, words: Integers, stems: Integers, concepts: Concepts
) -> list[tuple[Places | None, Integers]]:
    """Which meanings occur, and in which order near each other."""
    meaning = concepts.of(words)
    by_stem = concepts.of(stems ^ np.uint32(0x5BD1E995))
    meaning = np.where(meaning > 0, meaning, by_stem)
    if len(words) > 1:
        paired = concepts.of((words[:-1] * _MULTIPLIER + words[1:]) ^ np.uint32(0x1B873593))
        meaning[:-1] = np.where(meaning[:-1] > 0, meaning[:-1], paired)
    told = np.flatnonzero(meaning)
    if not len(told):
        return []
    here = meaning[told].astype(np.uint32)
    groups: list[tuple[Places | None, Integers]] = [(places[told], _bucket(here, 31))]
    for size in (2, 3):
        if len(told) < size:
            break
        near = told[size - 1 :] - told[: 1 - size] <= CONCEPT_REACH * (size - 1)
        order = here[: 1 - size].copy()
        for step in range(1, size):
            order = order * np.uint32(64) + here[step : len(here) - size + 1 + step]
        groups.append((places[told[: 1 - size]][near], _bucket(order[near], 31 + size)))
    return groups


def concepts_from(entries: Mapping[str, list[str]]) -> Concepts:
    """The concepts of a word list: five letters or more stand for all that begin so."""
    known: dict[int, int] = {}
    for number, words in enumerate(entries.values(), 1):
        for word in words:
            _, hashes, stems = _words(codes_of(word))
            if len(hashes) >= 2 and len(word) <= 3:  # a pair of characters
                pair = (hashes[:1] * _MULTIPLIER + hashes[1:2]) ^ np.uint32(0x1B873593)
                known.setdefault(int(pair[0]), number)
            elif len(word) >= STEM_LETTERS:
                known.setdefault(int(stems[0] ^ np.uint32(0x5BD1E995)), number)
            else:
                known.setdefault(int(hashes[0]), number)
    keys = np.array(sorted(known), np.uint32)
    return Concepts(keys, np.array([known[int(key)] for key in keys], np.uint8))
