"""Whatever a text is made of, and however it is cut: what is found in it does not leave."""

from __future__ import annotations

import gzip
import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from penstock.detect import Detectors
from penstock.detect.stream import HELD_CHARACTERS_MAX, scanner
from penstock.exchange import UNSCANNABLE
from tests.detect.long_values import PLACES

DETECTORS = Detectors(["secret"])
# So many characters of a value in one piece are a leak.
PIECE = 12
SIZE_MAX = 100_000
FED_MAX = 400  # pieces of one text: enough, and quick

LONG_TOKEN, EVERY = "signed token with a long header", "every character escaped"
WORDS = (
    "Hello there. ",
    "and so on, ",
    "see it: ",
    "\n",
    "50% of it \\ is ",
    "a\u200bb ",
    "c:\\users\\x ",
)


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" if byte in b".-_/+=\"'" else chr(byte) for byte in text.encode())


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" if char in ".-_/+=\"'\n" else char for char in text)


def _hidden(text: str) -> str:
    return "\u200b".join(text[at : at + 60] for at in range(0, len(text), 60))


DISGUISES: dict[str, Callable[[str], str]] = {
    "none": str,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64url": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "gzip": lambda text: b64encode(gzip.compress(text.encode(), mtime=0)).decode(),
    "percent": _percent,
    "every byte percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "escapes": _escaped,
    "every character escaped": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "percent in escapes": lambda text: _escaped(_percent(text)),
    "invisible characters": _hidden,
    "full width": lambda text: "".join(
        chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text
    ),
    "letter by letter": " ".join,
}


class Secret(NamedTuple):
    place: str
    size: int
    disguise: str

    def written(self) -> str:
        return DISGUISES[self.disguise]("".join(PLACES[self.place](self.size)))


sizes = st.one_of(
    st.integers(8, 400), st.integers(8, 400), st.integers(400, 4000), st.integers(4000, SIZE_MAX)
)
secrets = st.builds(
    Secret, st.sampled_from(sorted(PLACES)), sizes, st.sampled_from(sorted(DISGUISES))
)
texts = st.lists(st.one_of(st.sampled_from(WORDS), secrets), min_size=1, max_size=3)


def leaving(text: str, pieces: list[str]) -> str:
    """What leaves of a text that comes in these pieces."""
    reader = scanner(DETECTORS, ["secret"], lambda finding, value: "[X]")
    out, done = [], 0
    for step in (*(reader.feed(piece) for piece in pieces), reader.finish()):
        for one in step.replacements:
            out += [text[done : one.start], one.text]
            done = one.end
        out.append(text[done : step.settled])
        done = max(done, step.settled)
    return "".join(out)


def pieces_of(text: str, source: random.Random) -> list[str]:
    longest = max(1, 2 * len(text) // FED_MAX)
    cuts, at = [], 0
    while at < len(text):
        size = source.randint(1, longest)
        cuts.append(text[at : at + size])
        at += size
    return cuts


def grams(text: str) -> set[str]:
    return {text[at : at + PIECE] for at in range(len(text) - PIECE + 1)}


def let_out(text: str, pieces: list[str]) -> list[tuple[str, int]]:
    """Findings of which a piece left that stands nowhere else in the text."""
    left = grams(leaving(text, pieces))
    found = DETECTORS.scan(text)
    outside, done = set(), 0
    for one in found:
        outside |= grams(text[done : one.start])
        done = one.end
    outside |= grams(text[done:])
    # What counts as not judged holds more than what is found: its rest may be anything.
    return [
        (one.type, one.end - one.start)
        for one in found
        if one.type != UNSCANNABLE and (grams(text[one.start : one.end]) - outside) & left
    ]


def may_be_held(part: str | Secret) -> bool:
    """False for what is longer than may be held and shows only in its disguise what it is: where
    it ends is then told by the first sign that may end it."""
    written = part if isinstance(part, str) else part.written()
    return not written.startswith(("\\u", "%")) or len(written) <= HELD_CHARACTERS_MAX


@given(texts, st.integers(0, 1000))
@settings(max_examples=40, deadline=None, derandomize=True)
@example([Secret(LONG_TOKEN, 3433, EVERY), Secret(LONG_TOKEN, 347, EVERY)], 0)
def test_no_piece_of_what_is_found_leaves(parts: list[str | Secret], seed: int) -> None:
    assume(all(may_be_held(part) for part in parts))
    text = "".join(part if isinstance(part, str) else f"{part.written()} " for part in parts)
    assert let_out(text, pieces_of(text, random.Random(seed))) == []
