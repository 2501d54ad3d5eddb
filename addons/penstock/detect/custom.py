"""Detectors that a policy's author writes: a pattern, words that must be near, a check.

An example that must match comes with each: a detector that finds nothing is an error when
the policy is loaded, not a surprise later. Patterns are RE2 (linear time); ``regex`` adds
look-around and back references and has a time limit per text. A text that runs into it is
reported as not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import re2

from penstock.detect.nearby import word_near
from penstock.detect.personal.check_digits import luhn
from penstock.detect.probe import Find, Probe
from penstock.detect.secrets.randomness import entropy
from penstock.detect.view import Pattern, View
from penstock.exchange import UNSCANNABLE, Finding

# What a pattern of the regex engine may take per text (seconds): a hundred times an honest one.
REGEX_SECONDS = 0.05
PATTERN_CHARACTERS_MAX = 2000
# Bits per character below which a value is no random one (``check: entropy``).
ENTROPY_MIN = 3.0

Engine = Literal["re2", "regex"]
CHECKS: dict[str, Callable[[str], bool]] = {
    "luhn": lambda value: luhn("".join(char for char in value if char.isdigit())),
    "entropy": lambda value: entropy(value) >= ENTROPY_MIN,
}


@dataclass(slots=True, frozen=True)
class Custom:
    """One detector as the policy has it; its findings are of type ``custom.<id>``."""

    id: str
    pattern: str
    example: str
    engine: Engine = "re2"
    keywords: tuple[str, ...] = ()
    check: str | None = None

    @property
    def type(self) -> str:
        return f"custom.{self.id}"


def problem_of(custom: Custom) -> str | None:
    """Why the detector cannot be used; None when it can."""
    if len(custom.pattern) > PATTERN_CHARACTERS_MAX:
        return f"a pattern has at most {PATTERN_CHARACTERS_MAX} characters"
    try:
        probe = custom_probe(custom)
    except (ValueError, re2.error) as error:
        return f"no valid {custom.engine} pattern: {error}"
    if _matches_nothing(custom):
        return "the pattern matches the empty text, so it would match everywhere"
    found = [f for f in probe.find(View(custom.example)) if f.type == custom.type]
    return None if found else "its example is not found: see pattern, keywords and check"


def custom_probe(custom: Custom) -> Probe:
    """The probe of a detector. Raises ValueError or re2.error for a wrong pattern."""
    if custom.engine == "regex":
        return Probe(custom.type, (custom.type, UNSCANNABLE), "", _by_regex(custom), live="")
    re2.compile(custom.pattern.encode())
    pattern = Pattern(custom.pattern)

    def find(view: View) -> Iterator[Finding]:
        for start, end, low, high in view.spans(pattern):
            if high > low and _holds(custom, view.text, start, end, view.text[low:high]):
                yield Finding(custom.type, low, high, 0.9, custom.type)

    return Probe(custom.type, (custom.type,), custom.pattern, find)


def _by_regex(custom: Custom) -> Find:
    import regex  # only for policies that ask for it

    try:
        pattern = regex.compile(custom.pattern)
    except regex.error as error:
        raise ValueError(str(error)) from None

    def find(view: View) -> Iterator[Finding]:
        done = 0
        try:
            for match in pattern.finditer(view.text, timeout=REGEX_SECONDS):
                low, high = match.span(1 if pattern.groups else 0)
                done = match.end()
                if high > low and _holds(custom, view.text, *match.span(), view.text[low:high]):
                    yield Finding(custom.type, low, high, 0.9, custom.type)
        except TimeoutError:
            view.leave(done)

    return find


def _holds(custom: Custom, text: str, start: int, end: int, value: str) -> bool:
    if custom.keywords and not word_near(text, start, end, custom.keywords):
        return False
    return custom.check is None or CHECKS[custom.check](value)


def _matches_nothing(custom: Custom) -> bool:
    if custom.engine == "regex":
        import regex

        return regex.fullmatch(custom.pattern, "", timeout=REGEX_SECONDS) is not None
    return re2.fullmatch(custom.pattern.encode(), b"") is not None
