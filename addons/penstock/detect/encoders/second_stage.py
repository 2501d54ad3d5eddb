"""The second stage: an encoder asked about texts the linear model is unsure of.

What the linear model says alone stands where it is sure. In between, and in what tools return
and say of themselves always, an encoder reads the same windows and the two are added up: where
the encoder is sure it decides, where it is not the linear model tips the balance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.detect.encoders.encoder import Clock, EncoderTimeoutError
from penstock.detect.injection.model import FOUND, has_words, joined, scored_windows
from penstock.detect.view import View
from penstock.exchange import Finding, Zone

if TYPE_CHECKING:
    from penstock.detect.encoders.named import NamedEncoder

HOSTILE = "injection"
# Texts from outside: an order there is an anomaly, so the encoder reads all of them.
STRICT: frozenset[Zone] = frozenset(("tool_result", "tool_definition"))
# How far from its threshold the linear model is unsure: inside the margin it was trained for.
UNSURE_MARGIN = 1.0
# An encoder's certainty in the linear model's measure: logarithms of odds, cut where more of
# them says no more. At its surest it outweighs what the linear model ever says (about 2).
ODDS_MAX = 4.0
ODDS_WEIGHT = 0.75
# Windows read of one text, those that score highest first: 10 KB of a page or a document. The
# others stay the linear model's alone.
WINDOWS_READ_MAX = 32
_USUAL = ("INJECTION", "PROMPTINJECTION", "JAILBREAK", "MALICIOUS", "UNSAFE", "ATTACK", "HARMFUL")

Window = tuple[int, int, float]


def usual_hostile(label: str) -> str | None:
    """What a label of a text usually stands for."""
    plain = "".join(char for char in label.upper() if char.isalpha())
    return HOSTILE if plain in _USUAL else None


def find_hostile(
    readers: Sequence[NamedEncoder], zones: frozenset[Zone], name: str, view: View
) -> Iterator[Finding]:
    """The probe that stands in place of the linear model's of the same name."""
    if FOUND.get(view.zone) != name or not has_words(view):
        return
    windows = list(scored_windows(view))
    for reader in readers if view.zone in zones else ():
        windows = read_again(reader, view, windows)
    over = ((start, end, margin) for start, end, margin in windows if margin >= 0)
    yield from joined(over, name)


def read_again(reader: NamedEncoder, view: View, windows: Sequence[Window]) -> list[Window]:
    """The windows with the encoder's word added to those it was asked about."""
    chosen = sorted(
        (at for at, window in enumerate(windows) if is_asked(reader, view.zone, window[2])),
        key=lambda at: -windows[at][2],
    )[:WINDOWS_READ_MAX]
    if not chosen:
        return list(windows)
    left = reader.spec.seconds - view.root.spent_seconds
    if left <= 0:
        raise EncoderTimeoutError("the text's time is used up")
    judged = list(windows)
    with Clock(left) as clock:
        try:
            for at in chosen:
                start, end, margin = windows[at]
                odds = hostile_odds(reader, view.text[start:end], clock)
                judged[at] = start, end, margin + ODDS_WEIGHT * odds
        finally:
            view.root.spent_seconds += left - clock.left
    return judged


def is_asked(reader: NamedEncoder, zone: Zone, margin: float) -> bool:
    """True for a window the encoder reads."""
    return zone in STRICT or reader.spec.ask == "always" or abs(margin) <= UNSURE_MARGIN


def hostile_odds(reader: NamedEncoder, text: str, clock: Clock) -> float:
    """How much surer than its threshold the encoder is that there is an order in ``text``."""
    best = 0.0
    for piece in reader.encoder.read(text, clock):
        hostile = [
            float(score)
            for score, meaning in zip(piece.scores, reader.meanings, strict=True)
            if meaning is not None
        ]
        best = max(best, max(hostile) if reader.encoder.independent else sum(hostile))
    surer = log_odds(best) - log_odds(reader.spec.threshold)
    return min(ODDS_MAX, max(-ODDS_MAX, surer))


def log_odds(probability: float) -> float:
    """The logarithm of the odds, finite for 0 and 1 too."""
    probability = min(1 - 1e-6, max(1e-6, probability))
    return math.log(probability / (1 - probability))
