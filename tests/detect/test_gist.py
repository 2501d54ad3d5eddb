"""What sends a phrase over a text: wherever a phrase stands, its gist does, in any script."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.detect.catalogue import all_probes
from penstock.detect.injection.gist import ascii_part, beyond_ascii, gist
from penstock.detect.probe import Probe, ProbeSet
from penstock.detect.view import View

PHRASES = [probe for probe in all_probes() if probe.group == "phrases"]
ASKED = ProbeSet(PHRASES)
COMPILED = {
    probe.name: (probe, re2.compile(probe.pattern.encode()))
    for probe in PHRASES
    if r"\x{" not in probe.pattern  # which Python's expressions do not know
}
WORDS = sorted({word for probe in PHRASES for word in re.findall(r"\w{2,}", probe.pattern)})
BETWEEN = [
    " ",
    "  ",
    "\n",
    ". ",
    "'",
    "“",
    "’ ",
    "-",
    "é",
    "ſ",
    "\u212a",
    "的",
    "🔒",
    "\ud800",
    "x" * 50,
]


def asked(text: str) -> set[str]:
    return {probe.name for probe in ASKED.hits(View(text))}


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_phrase_is_asked_about_whatever_it_matches(data: st.DataObject) -> None:
    probe, compiled = COMPILED[data.draw(st.sampled_from(sorted(COMPILED)))]
    text = data.draw(st.from_regex(probe.pattern, fullmatch=True))
    around = data.draw(st.sampled_from(["", "so ", "\n", "“…” ", "日本 "]))
    whole = f"{around}{text}{around}"
    if compiled.search(whole.encode("utf-8", "surrogatepass")) is not None:
        assert probe.name in asked(whole)


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(BETWEEN)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_phrase_that_matches_some_text_is_left_out(parts: list[str]) -> None:
    text = " ".join(parts)
    data = text.encode("utf-8", "surrogatepass")
    matching = {name for name, (_, compiled) in COMPILED.items() if compiled.search(data)}
    assert matching <= asked(text)


@pytest.mark.parametrize(
    ("source", "derived"),
    [
        (
            "(?i:(?:show|print)(?: the| your){1,3} prompt)",
            "(?i:(?:show|print)(?: the| your)+ prompt)",
        ),
        ("act[^.\n]{0,60}without any rules", "without any rules"),
        ("(?:new )?order(?: now)?", "order"),
        ("(?i:stay in[^.]{0,9}(?:role|part)|no need to)", "(?i:stay in|no need to)"),
        (r"\bask me\b", "ask me"),
        ("x{3}y{2,5}", "x{3}y+"),
    ],
)
def test_a_gist_is_the_longest_stretch_without_a_gap(source: str, derived: str) -> None:
    assert gist(source) == derived


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("(?:ignore|ignoriši|zanemari) all", "(?:ignore|zanemari) all"),
        ("(?:忽略|無視)x", None),
        ("with[“\"']?you", "with[\"']?you"),
        (r"[\x{200B}-\x{200F}]{6,}", None),
        ("say(?:é)?", "say"),
        ("[^\x00-\x7f]|a", "a"),
    ],
)
def test_the_ascii_part_leaves_out_what_ascii_text_cannot_match(
    source: str, part: str | None
) -> None:
    found = ascii_part(source)
    assert found == part or (part is not None and re2.fullmatch(found, part) is not None)


def test_letters_beyond_ascii_that_case_folds_to_ascii_are_not_overlooked() -> None:
    """RE2 takes the long s for an s and the kelvin sign for a k where case does not matter."""
    pattern = "(?i:ask the desk)"
    probes = ProbeSet([Probe("a", ("a",), pattern, lambda view: (), "phrases")])
    assert re2.search(pattern, "a\u017fk the des\u212a")
    assert probes.hits(View("a\u017fk the des\u212a"))
    assert re2.search(beyond_ascii([]), "a\u017fk")
