"""The toxicity model: a weak signal, only where it is named, bounded on any text."""

from __future__ import annotations

import pytest

from penstock.cli.scan import DEFAULT_TYPES
from penstock.detect import Detectors
from penstock.detect.answers.toxicity import TOXICITY, model

HOSTILE = "All of these people are disgusting scum and I hate them, they should be wiped out."
TOXIC = Detectors(["toxicity"])


def test_hostile_words_are_found_and_plain_ones_are_not() -> None:
    (found,) = TOXIC.scan(HOSTILE, "assistant")
    assert found.type == TOXICITY and found.start == 0 and 0.5 <= found.score <= 1
    for text in ("The train leaves at nine.", "Kill the process and wipe the build folder.", "Hi"):
        assert TOXIC.scan(text, "assistant") == []


def test_the_place_in_a_long_text() -> None:
    calm = "Rivers flow from the mountains to the sea, and towns grow on their banks. " * 30
    (found,) = TOXIC.scan(f"{calm}{' '.join([HOSTILE] * 8)} {calm}", "assistant")
    assert len(calm) - 700 < found.start and found.end < len(calm) + 1500


def test_nobody_gets_it_unasked() -> None:
    assert "toxicity" not in DEFAULT_TYPES
    assert Detectors(["injection", "leakage", "unsafe", "hidden"]).scan(HOSTILE, "assistant") == []


@pytest.mark.timeout(20)
def test_any_length_is_bounded_in_findings() -> None:
    assert len(TOXIC.scan((HOSTILE + " ok " * 400) * 300, "assistant")) <= 17
    assert model()[0].weights.nbytes <= 1 << 18
