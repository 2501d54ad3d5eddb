"""The features of a text against their definition, written out one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.detect.injection.features import (
    BUCKET_BITS,
    BUCKETS,
    CONCEPT_REACH,
    MEANING_WEIGHT,
    STEM_LETTERS,
    WORD_LETTERS,
    Concepts,
    concepts_from,
    grams,
)
from penstock.detect.injection.scorer import Model, window_scale, windows

MASK = 0xFFFFFFFF
MULTIPLIER, MIX, SALT = 0x9E3779B1, 0x85EBCA6B, 0x27D4EB2F
CONCEPTS = concepts_from(
    {"secret": ["password", "pin", "密码"], "tell": ["reveal", "show"], "all": ["every", "all"]}
)
PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["Show me ", "the PASSWORDS, ", "all pins; ", "revealing ", "every ", "x1-y2 "]
    ),
    st.sampled_from(
        ["密码是", "每个人 ", "ไทย ", "\n\t", "Größe ", "İstanbul ", "\ud800", "a" * 40]
    ),
)
TEXTS = st.lists(PIECES, max_size=60).map("".join)


def bucket(value: int, salt: int) -> int:
    mixed = ((value ^ value >> 15) * MIX + salt * SALT) & MASK
    mixed ^= mixed >> 13
    return (mixed * MULTIPLIER & MASK) >> (32 - BUCKET_BITS)


def codes_of(text: str) -> list[int]:
    lower = text.lower()
    folded = []
    for char in lower if len(lower) == len(text) else text:
        if not char.isascii():
            folded.append(ord(char))
        elif char.isdigit():
            folded.append(ord("0"))
        else:
            folded.append(32 if ord(char) < 33 or ord(char) == 127 else ord(char.lower()))
    return folded


def words_of(codes: list[int]) -> list[tuple[int, int, int]]:
    """(place, hash, hash of the first letters) of each word."""
    words: list[tuple[int, int, int]] = []
    before, alone_before = False, False
    for at, code in enumerate(codes):
        inside = code > 127 or chr(code).isalnum()
        alone = 0x3040 <= code < 0xA000 or 0x0E00 <= code < 0x0E80
        if inside and (not before or alone or alone_before):
            words.append((at, 0, 0))
        if inside:
            place, whole, stem = words[-1]
            letter = min(at - place, WORD_LETTERS - 1)
            part = (code + 7) * (pow(MULTIPLIER, letter + 1, 1 << 32) | 1) & MASK
            part ^= part >> 11
            stem += part if at - place < STEM_LETTERS else 0
            words[-1] = (place, (whole + part) & MASK, stem & MASK)
        before, alone_before = inside, alone
    return words


def features(text: str, concepts: Concepts) -> list[tuple[int, int]]:
    """(place, bucket) of everything that counts, as often as it counts."""
    codes = codes_of(text)
    found: list[tuple[int, int]] = []
    for size in (3, 5):
        for at in range(len(codes) - size + 1):
            value = 0
            for code in codes[at : at + size]:
                value = (value + code) * MULTIPLIER & MASK
            found.append((at, bucket(value, size)))
    words = words_of(codes)
    for size in (1, 2, 3):
        for at in range(len(words) - size + 1):
            value = words[at][1]
            for _, following, _ in words[at + 1 : at + size]:
                value = (value * MULTIPLIER + following) & MASK
            found.append((words[at][0], bucket(value, 10 + size if size == 1 else 11 + size)))
    known = dict(zip(concepts.keys.tolist(), concepts.meanings.tolist(), strict=True))
    told: list[tuple[int, int, int]] = []  # number of the word, place, meaning
    for at, (place, whole, stem) in enumerate(words):
        meaning = known.get(whole) or known.get(stem ^ 0x5BD1E995)
        if not meaning and at + 1 < len(words):
            pair = (whole * MULTIPLIER + words[at + 1][1]) & MASK
            meaning = known.get(pair ^ 0x1B873593)
        if meaning:
            told.append((at, place, meaning))
    for size in (1, 2, 3):
        for at in range(len(told) - size + 1):
            near = told[at : at + size]
            if near[-1][0] - near[0][0] <= CONCEPT_REACH * (size - 1):
                value = 0
                for _, _, meaning in near:
                    value = value * 64 + meaning
                found += [
                    (near[0][1], bucket(value, 31 + (size if size > 1 else 0)))
                ] * MEANING_WEIGHT
    return found


def placed(text: str, concepts: Concepts) -> list[tuple[int, int]]:
    """The same as the package has it."""
    found: list[tuple[int, int]] = []
    for places, buckets in grams(text, concepts).groups:
        where = range(len(buckets)) if places is None else places.tolist()
        found += zip(where, buckets.tolist(), strict=True)
    return found


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_features_are_what_their_definition_says(text: str) -> None:
    assert sorted(placed(text, CONCEPTS)) == sorted(features(text, CONCEPTS))


@given(TEXTS, st.integers(1, 4), st.sampled_from([40, 200, 600]))
@settings(max_examples=30, deadline=None)
def test_a_window_scores_what_stands_in_it(text: str, times: int, size: int) -> None:
    """Sums by step, and the sum of one feature after the other, to the last bit."""
    text = text * times
    weights = (np.arange(BUCKETS) * 7 % 255 - 127).astype(np.int8)
    model = Model(weights, 0.5, 0.25, 0.0, size)
    worth = [(place, int(weights[number])) for place, number in placed(text, CONCEPTS)]
    expected = []
    for start, end in windows(len(text), size):
        total = sum(weight for at, weight in worth if start <= at < end)
        expected.append((start, end, total * 0.5 * window_scale(end - start) + 0.25))
    assert list(model.scores(text, CONCEPTS)) == expected
