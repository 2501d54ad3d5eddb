"""Contact data of nobody: found with little weight, and a person's with much."""

from __future__ import annotations

import pytest

from penstock.detect import Detectors
from penstock.detect.personal.nobody import MADE_UP_SCORE

DETECTORS = Detectors(["pii"])


def score(text: str) -> float:
    (found,) = DETECTORS.scan(text)
    return found.score


@pytest.mark.parametrize(
    "text",
    [
        "write to johndoe@email.com please",
        "write to Jane.Doe@company.com please",
        "write to ana@mail.example.org please",
        "it came from no-reply@shop.lu yesterday",
        "it came from alerts@news.bank.lu yesterday",
        "ping the host 8.8.8.8 again",
        "the host 203.0.113.77 is down",
        "dial 1-800-555-3535 now",
        "Call us at 650-636-7193 or come by",
    ],
)
def test_what_is_nobodys_weighs_little(text: str) -> None:
    assert score(text) == MADE_UP_SCORE


@pytest.mark.parametrize(
    "text",
    [
        "write to johndoe@kirchberg.lu please",
        "write to olga.meyer@email.com please",
        "write to informa.rossi@posta.lu please",
        "write to replyson@posta.lu please",
        "the host 8.8.8.18 is down",
        "Call me at 650-636-7193 tonight",
        "my number is 650-636-7193",
    ],
)
def test_what_may_be_a_persons_weighs_much(text: str) -> None:
    assert score(text) >= 0.6
