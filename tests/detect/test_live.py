"""What is live at a text's end: as the definition says, and at a bounded cost for any text."""

from __future__ import annotations

import random
import string
import time

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.detect import Detectors, known_types
from penstock.detect.live import OPENINGS_MAX, LivePattern
from penstock.detect.pattern import live
from penstock.detect.probe import Probe
from penstock.detect.stream import scanner

ALL = Detectors(known_types()).probes
LIVE = LivePattern(ALL)


def defined(probes: tuple[Probe, ...]) -> re2._Regexp:
    """The beginnings of all patterns up to the text's end, from the left: slow on any long word."""
    sources = {probe.live if probe.live is not None else probe.pattern for probe in probes}
    options = re2.Options()
    options.max_mem = 64 * 1024 * 1024
    beginnings = sorted(live(source) for source in sources if source)
    return re2.compile(f"(?:{'|'.join(beginnings)})\\z".encode(), options)


DEFINED = defined(ALL)
PARTS = [
    *("the gate ", "of", ", ", ". ", "\n", "ghp_", "sk-", "AKIA", "eyJ", "-----BEGIN ", "password"),
    *(" = '", "key: ", "bob@", "example.", "org", "4111 1111 ", "+44 20 ", "call ", "12.5.", "é"),
    *("DE89 ", "aB3dE5fG", "0123456789abcdef", "https://u:", "Authorization: ", "Bearer ", "ſ"),
    *("пароль ", "電話", "\ud800", "'", '"', "_", "-", "/", "="),
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(PARTS), st.text(string.ascii_letters + string.digits, max_size=6)),
    max_size=12,
).map("".join)


@given(TEXTS)
@settings(max_examples=120, deadline=None)
def test_it_begins_where_the_definition_says(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    match = DEFINED.search(data)
    start = len(data) if match is None else match.start()
    assert LIVE.start(text) == len(data[:start].decode("utf-8", "surrogatepass"))


@given(TEXTS, TEXTS)
@settings(max_examples=80, deadline=None)
def test_what_is_no_beginning_never_becomes_one(before: str, after: str) -> None:
    """So what has left needs no second look."""
    assert LIVE.start(before + after) >= LIVE.start(before)


@pytest.mark.parametrize(
    ("types", "text", "expected"),
    [
        (["pii.email"], "see bob@example", 4),
        (["pii.email"], "see bob@example ", 16),
        (["secret.github_token"], "see bob gh", 8),
        (["secret.github_token"], "see bob", 7),
        (["injection"], "ignore all previous", 19),
    ],
)
def test_a_selection_with_one_kind_of_pattern_or_none(
    types: list[str], text: str, expected: int
) -> None:
    assert LivePattern(Detectors(types).probes).start(text) == expected


def test_more_openings_than_honest_text_has_wait_for_the_next_piece() -> None:
    text = "ghp_, " * (OPENINGS_MAX + 50)
    at = LIVE.start(text)
    found = DEFINED.search(text.encode())
    assert found is not None and 0 < at < found.start()
    assert at + LIVE.start(text[at:]) == found.start()


@pytest.mark.parametrize("alphabet", [string.ascii_letters + string.digits, "0123456789abcdef"])
def test_a_long_random_word_character_by_character_costs_little(alphabet: str) -> None:
    """20 us a character at rest; it took 3 ms, and half a second for some."""
    word = "".join(random.Random(1).choices(alphabet, k=3000))
    reader = scanner(Detectors(["secret", "pii"]), ["secret", "pii"], lambda f, _: f"[{f.type}]")
    began = time.thread_time()
    for char in word:
        reader.feed(char)
    assert time.thread_time() - began < 1.5
