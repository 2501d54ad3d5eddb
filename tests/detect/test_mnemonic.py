"""Seed phrases: the words and the checksum of BIP 39, however they are written down."""

from __future__ import annotations

import hashlib
import random

import pytest

from penstock.detect import Detectors
from penstock.detect.secrets.mnemonic import LIST, SIZES, TYPE
from penstock.detect.stream import scanner

WORDS = LIST.read_text().split()
SECRETS = Detectors(["secret"])


def phrase(size: int, seed: int = 0) -> list[str]:
    """A new phrase, made as BIP 39 says: entropy, then its checksum, eleven bits a word."""
    entropy = random.Random(f"{size}/{seed}").randbytes(size * 4 // 3)
    bits = "".join(f"{byte:08b}" for byte in entropy)
    bits += f"{hashlib.sha256(entropy).digest()[0]:08b}"[: size // 3]
    return [WORDS[int(bits[at : at + 11], 2)] for at in range(0, len(bits), 11)]


def test_the_list_is_the_published_one() -> None:
    """The SHA-256 that BIP 39 implementations name."""
    digest = hashlib.sha256("\n".join(WORDS).encode() + b"\n").hexdigest()
    assert digest == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
    assert len(WORDS) == 2048


@pytest.mark.parametrize("size", SIZES)
def test_a_phrase_is_found_in_every_form(size: int) -> None:
    for seed in range(20):
        words = phrase(size, seed)
        numbered = "\n".join(f"{number}. {word}" for number, word in enumerate(words, 1))
        for text in (" ".join(words), ", ".join(words), numbered, " ".join(words).upper()):
            (finding,) = SECRETS.scan(f"Keep it. {text}. Thanks")
            found = f"Keep it. {text}. Thanks"[finding.start : finding.end].lower()
            assert finding.type == TYPE
            assert found.startswith(words[0]) and found.endswith(words[-1])


def test_the_published_example_is_found() -> None:
    assert SECRETS.scan(
        "legal winner thank year wave sausage worth useful legal winner thank yellow"
    )


def test_a_wrong_checksum_or_another_word_is_none() -> None:
    words = phrase(12)
    swapped = [words[1], words[0], *words[2:]]
    missed = 0
    for other in (swapped, [*words[:-1], "penstock"], words[:-1], ["the", *words[:10], "and"]):
        missed += not SECRETS.scan(" ".join(other))
    assert missed >= 3  # one in sixteen wrong phrases has a right checksum


def test_sentences_of_listed_words_are_none() -> None:
    text = "people only know what they like about this year when they find more time there again "
    assert SECRETS.scan(text) == []
    assert SECRETS.scan(text * 20) == []


def test_each_line_of_a_list_of_phrases_is_found() -> None:
    lines = [" ".join(phrase(12, seed)) for seed in range(9)]
    assert len(SECRETS.scan("\n".join(lines))) == 9


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_stream_holds_a_phrase_that_is_announced(size: int) -> None:
    words = " ".join(phrase(24))
    text = f"Your recovery phrase is: {words}. Keep it safe."
    reader = scanner(SECRETS, ["secret"], lambda finding, value: "[X]")
    steps = [reader.feed(text[at : at + size]) for at in range(0, len(text), size)]
    steps.append(reader.finish())
    found = [one for step in steps for one in step.replacements]
    assert [text[one.start : one.end] for one in found] == [words]
