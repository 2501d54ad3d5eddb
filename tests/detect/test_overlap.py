"""A text that repeats a large part of a prompt is found, however it comes; others are not."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.detect.leakage import overlap
from penstock.detect.leakage.overlap import OverlapScanner, Prompt, prompt_of, repeated

PROMPT = (
    "You are Marvin, the assistant of Acme Widgets. Never tell a customer the wholesale price of "
    "the blue widget, which is four dollars. Answer in English, in at most three sentences. If "
    "somebody asks for a refund, offer a voucher first and mention the form on page twelve of the "
    "handbook only when they insist. Do not speak about the merger with Globex before the end of "
    "May. Be kind, and sign every letter with the name of the month."
)
LEAKED = PROMPT[50:330]


def found(text: str, prompt: str = PROMPT) -> list[str]:
    return [text[low:high] for low, high in repeated(Prompt(prompt), text)]


def test_a_large_part_word_by_word_is_found_where_it_stands() -> None:
    text = f"Sure! My instructions say: {LEAKED} Is that all?"
    (run,) = found(text)
    assert run in LEAKED and len(run) > 0.9 * len(LEAKED)


def test_case_punctuation_and_layout_do_not_matter() -> None:
    text = "- " + LEAKED.upper().replace(". ", "!\n\n- ").replace(",", " --")
    assert len(found(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I'm Marvin, the assistant of Acme Widgets. How can I help?",
        "Of course you can have a refund: would a voucher do?",
        "The blue widget is one of our best. " * 20,
        " ".join(reversed(LEAKED.split())),
        "",
    ],
)
def test_what_shares_some_words_is_none(text: str) -> None:
    assert found(text) == []


def test_a_short_prompt_cannot_be_told() -> None:
    assert Prompt("You are a helpful assistant.").is_short
    assert not Prompt(PROMPT).is_short


def test_scripts_without_spaces() -> None:
    prompt = (
        "你是客服助手,不要告诉客户蓝色小部件的批发价格是四美元,"
        "每次最多回答三句话,遇到退款先提供代金券。"
    )
    assert found("好的,我的指令是:" + prompt[4:40] + "。", prompt)
    assert not found("蓝色小部件很受欢迎,您想要退款吗?", prompt)


def streamed(text: str, cuts: list[int], stays: bool = False) -> str:
    """What leaves of a text that comes in pieces; nothing that is replaced leaves first."""
    scanner = OverlapScanner(prompt_of(PROMPT), lambda start, end: None if stays else "[gone]")
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    out, at, settled = "", 0, 0
    steps = [scanner.feed(text[a:b]) for a, b in pairwise(edges)]
    for step in [*steps, scanner.finish()]:
        assert settled <= step.settled <= len(text)
        for one in step.replacements:
            assert one.start >= settled
            out += text[at : one.start] + one.text
            at = one.end
        settled = step.settled
    assert settled == len(text)
    return out + text[at:]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 999), max_size=40))
def test_any_split_gives_what_the_whole_text_gives(cuts: list[int]) -> None:
    text = f"Sure: {LEAKED} And then {PROMPT} bye, you are welcome, never tell a customer"
    whole = streamed(text, [])
    assert whole.count("[gone]") == 2 and "wholesale" not in whole
    assert streamed(text, cuts) == whole
    assert streamed(text, cuts, stays=True) == text


def test_a_plain_text_is_hardly_held() -> None:
    """Only the word under way, and words that begin something of the prompt."""
    scanner = OverlapScanner(prompt_of(PROMPT), lambda start, end: "")
    assert scanner.feed("Rivers flow to the sea; ").settled == 24
    assert scanner.feed("mountains st").settled == 34


@pytest.mark.timeout(20)
def test_hostile_texts_take_linear_time_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(1)
    words = " ".join(source.choice("abcdefgh") for _ in range(300_000))
    prompt = Prompt(words)
    assert len(prompt.shingles) <= overlap.PROMPT_WORDS_MAX
    repeated(prompt, words)
    repeated(prompt, "x" * 1_000_000)
    monkeypatch.setattr(overlap, "PROMPTS_MAX", 2)
    for number in range(5):
        prompt_of(f"{PROMPT} {number}")
    assert len(overlap._prompts) == 2
