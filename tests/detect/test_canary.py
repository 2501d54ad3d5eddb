"""Canaries: known again anywhere by the key alone, and by nobody without it."""

from __future__ import annotations

import base64

import pytest

from penstock.detect import Detectors
from penstock.detect.custom import View
from penstock.detect.leakage.canary import Canaries, planted

CANARIES = Canaries(b"k" * 32)
ONE = CANARIES.of("caller", "api.openai.com")


def test_stable_for_caller_and_destination_and_different_otherwise() -> None:
    assert Canaries(b"k" * 32).of("caller", "API.openai.com") == ONE
    others = {
        CANARIES.of("another", "api.openai.com"),
        CANARIES.of("caller", "api.anthropic.com"),
        Canaries(b"x" * 32).of("caller", "api.openai.com"),
    }
    assert len(others | {ONE}) == 4


def test_every_process_with_the_key_knows_it_and_no_other_does() -> None:
    assert Canaries(b"k" * 32).is_one(ONE) and Canaries(b"k" * 32).is_one(ONE.lower())
    assert not Canaries(b"x" * 32).is_one(ONE)
    assert not CANARIES.is_one(ONE[:-1] + ("A" if ONE[-1] != "A" else "B"))


@pytest.mark.parametrize(
    "text",
    [ONE, f"x{ONE}y", ONE.lower(), planted(ONE), base64.b64encode(ONE.encode()).decode(),
     "\u200b".join(ONE), ONE.encode().hex()],
)  # fmt: skip
def test_found_as_written_and_in_disguise(text: str) -> None:
    detectors = Detectors(["leakage.canary"], (CANARIES.probe(),))
    assert [finding.type for finding in detectors.scan(text, "assistant")] == ["leakage.canary"]


def test_what_only_looks_like_one_is_none() -> None:
    probe = CANARIES.probe()
    assert list(probe.find(View("PSC" + "A7" * 13))) == []


def test_the_key_is_in_no_repr() -> None:
    assert repr(CANARIES) == "<Canaries>"
