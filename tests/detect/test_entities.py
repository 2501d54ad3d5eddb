"""Names and addresses: exact places, words whole, pieces put together, streams without a leak."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("onnxruntime", reason="needs penstock[ner]")
pytest.importorskip("onnx", reason="builds its models with onnx")

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from penstock.detect import Detectors
from penstock.detect.encoders.entities import tag, usual_entity
from penstock.detect.encoders.named import EncoderSpec, NamedEncoder, load, probes
from penstock.detect.stream import NEXT_CHARACTERS, SENTENCE_CHARACTERS_MAX, scanner, sentences_end
from penstock.exchange import Zone
from tests.detect import tiny_models

EVERYWHERE = frozenset(get_args(Zone))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> NamedEncoder:
    folder = tiny_models.tagger(tmp_path_factory.mktemp("tagger"))
    return load(EncoderSpec("tiny", folder, tuple(tiny_models.digests(folder).items())))


@pytest.fixture(scope="module")
def detectors(named: NamedEncoder) -> Detectors:
    return Detectors(["pii.name", "pii.address"], probes([named], lambda _: EVERYWHERE))


def found(detectors: Detectors, text: str) -> list[tuple[str, str]]:
    return [(one.type, text[one.start : one.end]) for one in detectors.scan(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada Lovelace", [("pii.name", "Ada Lovelace")]),
        ("(Ada\nLovelace)", [("pii.name", "Ada\nLovelace")]),
        ("Ada Zoe", [("pii.name", "Ada"), ("pii.name", "Zoe")]),  # each begins a name
        ("ADA, of 12 Elm Street", [("pii.name", "ADA"), ("pii.address", "12 Elm Street")]),
        ("日本語 Ada 😀 Lovelace é", [("pii.name", "Ada")]),
        ("é😀é Ada Lovelace 😀", [("pii.name", "Ada Lovelace")]),
        ("e\u0301\u0301 Ada Lovelace", [("pii.name", "Ada Lovelace")]),  # NFC joins characters
        ("\ud800 Ada \udfff", [("pii.name", "Ada")]),  # lone surrogates
        ("dada and laces", []),
        ("", []),
        ("1234 5678", []),
    ],
)
def test_places_are_exact(detectors: Detectors, text: str, expected: list[tuple[str, str]]) -> None:
    if "😀 Lovelace" in text:
        expected = [*expected, ("pii.name", "Lovelace")]
    assert found(detectors, text) == expected


def test_a_word_is_what_its_first_token_says(tmp_path: Path) -> None:
    """The second token of "adax" is tagged O by this model; the name is the whole word."""
    folder = tiny_models.tagger(tmp_path)
    named = load(EncoderSpec("tiny", folder, tuple(tiny_models.digests(folder).items())))
    detectors = Detectors(["pii.name"], probes([named], lambda _: EVERYWHERE))
    assert found(detectors, "I met adax there") == [("pii.name", "adax")]


@pytest.mark.parametrize("filler", ["word ", "wortmitbuchstaben ", "x", "日", "a, "])
@pytest.mark.parametrize("before", [0, 40, 57, 58, 59, 60, 61, 62, 63, 64, 900, 3840, 3970, 4090])
def test_a_name_is_found_once_wherever_pieces_are_cut(
    detectors: Detectors, filler: str, before: int
) -> None:
    text = f"{(filler * before)[:60_000]} Ada Lovelace. {filler * 50}"
    assert found(detectors, text) == [("pii.name", "Ada Lovelace")]


PARTS = ["▁Ada", "▁Love", "lace", "▁met", "▁", "山田", "太郎", "は", ",", "x", "a"]


def whole_texts(split: bool) -> Tokenizer:
    """As sentencepiece's: pieces know the space before them; unsplit, a text is one word."""
    made = Tokenizer(models.Unigram([("<unk>", 0.0), *((part, -1.0) for part in PARTS)], 0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    return made


def bytes_in_pairs() -> Tokenizer:
    """As GPT's and RoBERTa's: bytes, so that one character may be several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    parts = [*alphabet, "Ad", "Ada"]
    vocabulary = {part: number for number, part in enumerate(parts)}
    made = Tokenizer(models.BPE(vocabulary, [("A", "d"), ("Ad", "a")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    return made


@pytest.mark.parametrize(
    ("tokenizer", "first", "text", "expected"),
    [
        (whole_texts(True), {"▁Ada": "B-PER", "▁Love": "I-PER"}, "x Ada Lovelace, met",
         ["Ada Lovelace"]),
        (whole_texts(False), {"▁Ada": "B-PER", "▁Love": "I-PER"}, "x Ada Lovelace, met",
         ["Ada Lovelace"]),
        (whole_texts(False), {"山田": "B-PER", "太郎": "I-PER"}, "山田太郎は met", ["山田太郎"]),
        (bytes_in_pairs(), {"Ada": "B-PER"}, "é😀 Adaé😀 met Ada", ["Adaé", "Ada"]),
    ],
    ids=["split", "one word", "no spaces", "bytes"],
)  # fmt: skip
def test_tokenizers_of_all_kinds_give_exact_places(
    tmp_path: Path, tokenizer: Tokenizer, first: dict[str, str], text: str, expected: list[str]
) -> None:
    folder = tiny_models.write(
        tmp_path, ["O", "B-PER", "I-PER"], first, by_token=True, made=tokenizer
    )
    named = load(EncoderSpec("tiny", folder, tuple(tiny_models.digests(folder).items())))
    detectors = Detectors(["pii.name"], probes([named], lambda _: EVERYWHERE))
    assert [value for _, value in found(detectors, text)] == expected


def test_nothing_is_looked_for_where_no_rule_looks(named: NamedEncoder) -> None:
    only = Detectors(["pii.name"], probes([named], lambda _: frozenset[Zone]({"user"})))
    assert only.scan("Ada Lovelace", "user") and not only.scan("Ada Lovelace", "system")
    unwanted = Detectors(["secret"], probes([named], lambda _: EVERYWHERE))
    assert not unwanted.slow and not unwanted.scan("Ada Lovelace")


def test_what_is_looked_at_on_the_loop_asks_no_model(detectors: Detectors) -> None:
    assert detectors.slow and detectors.by_sentence
    quick = detectors.quick()
    assert not quick.slow and not quick.scan("Ada Lovelace")


def test_a_name_inside_an_encoding_is_found(detectors: Detectors) -> None:
    from base64 import b64encode

    hidden = b64encode(b"My name is Ada Lovelace, write to me").decode()
    assert [(kind, text) for kind, text in found(detectors, f"see {hidden} there")] == [
        ("pii.name", hidden)
    ]


def test_tags_of_several_schemes() -> None:
    assert tag("B-PER") == (True, "PER") and tag("I-PER") == (False, "PER")
    assert tag("S-LOC") == (True, "LOC") and tag("U-LOC") == (True, "LOC")
    assert tag("PERSON") == (False, "PERSON") and tag("O") == (False, "O")
    assert usual_entity("PERSON") == "pii.name" and usual_entity("GPE") == "pii.place"
    assert usual_entity("STREET_ADDRESS") == "pii.address" and usual_entity("O") is None


# ---------------------------------------------------------------------------- streams


def streamed(detectors: Detectors, pieces: list[str]) -> tuple[str, list[int]]:
    """What leaves of a growing text, and how much of it after each piece."""
    reads = scanner(detectors, ["pii.name", "pii.address"], lambda one, _: f"<{one.type}>")
    text, changes, settled = "", [], []
    for piece in pieces:
        text += piece
        step = reads.feed(piece)
        changes += step.replacements
        settled.append(step.settled)
    step = reads.finish()
    changes += step.replacements
    settled.append(step.settled)
    assert settled == sorted(settled) and settled[-1] == len(text)
    for change in sorted(changes, key=lambda one: -one.start):
        text = text[: change.start] + change.text + text[change.end :]
    return text, settled


words = st.sampled_from(
    ["Ada Lovelace", "Grace Hopper", "12 Elm Street", "plain", "words", "Dr.", "and", ".", "!",
     "\n", "Ada", "日本。", "etc.", "x" * 40]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=60).map(" ".join), st.integers(1, 40))
def test_no_name_leaves_a_stream_however_it_is_cut(
    detectors: Detectors, text: str, size: int
) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    left, _ = streamed(detectors, pieces)
    for part in ("Ada", "Lovelace", "Grace", "Hopper", "Elm"):
        assert part not in left


def test_a_stream_goes_on_sentence_by_sentence(detectors: Detectors) -> None:
    text = "This is the first sentence of it. " * 20
    _, settled = streamed(detectors, [text[at : at + 5] for at in range(0, len(text), 5)])
    behind = [5 * (number + 1) - done for number, done in enumerate(settled[:-1])]
    assert max(behind) <= 34 + NEXT_CHARACTERS + 5


def test_a_sentence_without_an_end_is_not_held_for_ever(detectors: Detectors) -> None:
    text = "and so on and on " * 300
    _, settled = streamed(detectors, [text[at : at + 50] for at in range(0, len(text), 50)])
    behind = [50 * (number + 1) - done for number, done in enumerate(settled[:-1])]
    assert max(behind) <= SENTENCE_CHARACTERS_MAX + 50


def test_where_sentences_end() -> None:
    rest = "x" * NEXT_CHARACTERS
    assert sentences_end("One. Two" + rest) == 5
    assert sentences_end("One. Two.") == 0  # too little follows to know
    assert sentences_end('He said "no." Then' + rest) == 14
    assert sentences_end("3.14 is not" + rest) == 0
    assert sentences_end("終わり。次" + rest) == 4
    assert 0 < sentences_end("y" * 700) <= 700
