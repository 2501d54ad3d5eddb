"""Streams: the same findings over any split, nothing out too early, nothing held for long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.detect import Detectors
from penstock.detect import stream as module
from penstock.detect.stream import Scanner, prepare, scanner
from penstock.exchange import Finding

TYPES = ["secret", "pii"]
DETECTORS = Detectors(TYPES)
TOKEN = "ghp_" + "a1B2c3" * 6
KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDn" + c * 12 for c in "aBcDeF")
    + "\n-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIx" + "MjM0NTY3ODkw" * 40 + "." + "c2lnbmF0dXJl" * 4
TEXT = (
    f"Hello, the token is {TOKEN} and the mail bob@example.org, call 650-636-4884,\n"
    f"pay 4111 1111 1111 1111 now; password = 'IhqSb1Gg#x', key\n{KEY}\nand {JWT} as well. Bye."
)


def mark(finding: Finding, text: str) -> str:
    return f"[{finding.type}]"


def start(types: list[str] = TYPES) -> Scanner:
    return scanner(DETECTORS, types, mark, nested=False)


def run(text: str, pieces: list[str], types: list[str] = TYPES) -> tuple[str, int]:
    """What leaves, and the most that was held; checks that what left was never taken back."""
    reader = start(types)
    fed, settled, held, replacements = 0, 0, 0, []
    for piece in pieces:
        step = reader.feed(piece)
        fed += len(piece)
        assert settled <= step.settled <= fed
        assert all(settled <= r.start < r.end <= step.settled for r in step.replacements)
        settled = step.settled
        held = max(held, fed - settled)
        replacements += step.replacements
    replacements += (last := reader.finish()).replacements
    assert last.settled == len(text)
    out, done = "", 0
    for replacement in replacements:
        out += text[done : replacement.start] + replacement.text
        done = replacement.end
    return out + text[done:], held


WHOLE = run(TEXT, [TEXT])[0]


def test_all_at_once_equals_the_plain_scan() -> None:
    out, done = "", 0
    for finding in DETECTORS.scan(TEXT):
        out += TEXT[done : finding.start] + mark(finding, "")
        done = finding.end
    assert out + TEXT[done:] == WHOLE
    for secret in (TOKEN, "bob@", "4884", "4111", "IhqSb1Gg", "MIIE", "eyJ"):
        assert secret not in WHOLE


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 61])
def test_pieces_of_any_size_give_the_same_text(size: int) -> None:
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert run(TEXT, pieces)[0] == WHOLE


def test_a_cut_anywhere_gives_the_same_text() -> None:
    for cut in range(0, len(TEXT), 3):
        assert run(TEXT, [TEXT[:cut], TEXT[cut:]])[0] == WHOLE


@given(
    st.lists(
        st.sampled_from(
            [
                TOKEN,
                "bob@example.org",
                " ",
                "\n",
                "é",
                "sk-",
                "key = '",
                "'",
                "eyJ",
                "4111 1111 1111 1111",
                "and so on",
                "-----BEGIN",
                "password: ",
                "IhqSb1Gg#",
                "https://u:",
                "s3cr3tPw@h.example",
                ".",
            ]
        ),
        max_size=14,
    ),
    st.integers(1, 9),
)
@settings(max_examples=150, deadline=None)
def test_nothing_that_left_was_part_of_a_later_finding(parts: list[str], size: int) -> None:
    """Feeding piece by piece never lets out a character of a value the whole scan replaces."""
    text = "".join(parts)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    out, _ = run(text, pieces)
    for value in (TOKEN, "4111 1111 1111 1111"):
        if value not in run(text, [text])[0]:
            assert value not in out


def test_plain_text_passes_word_by_word() -> None:
    """Only the last word may still become something (a mail address)."""
    text = "The quick brown fox jumps over the lazy dog and runs away from it. " * 5
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    assert run(text, pieces)[1] <= len("jumps over")


def test_nothing_is_held_when_nothing_is_live() -> None:
    reader = start(["secret.github_token"])
    assert reader.feed("no token in sight").settled == 17
    assert reader.feed(", gh").settled == 19
    assert reader.feed("ost").settled == 24


def test_a_secret_longer_than_may_be_held_is_still_kept_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HELD_CHARACTERS_MAX", 600)
    long = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi" + "aB3dE5fG" * 400
    text = f"see {long} end"
    out, held = run(text, [text[at : at + 10] for at in range(0, len(text), 10)], ["secret"])
    assert "aB3dE5fG" not in out and out.endswith(" end")
    assert held <= 620


def test_prepared_types_cost_a_first_stream_nothing() -> None:
    prepare(DETECTORS, ["secret.stripe_key"])
    before = module._live_pattern.cache_info().misses
    start(["secret.stripe_key"]).feed("text")
    assert module._live_pattern.cache_info().misses == before


def test_types_narrow_what_is_found_and_held() -> None:
    assert "bob@example.org" in run(TEXT, [TEXT], ["secret"])[0]
    assert TOKEN in run(TEXT, [TEXT], ["pii"])[0]
