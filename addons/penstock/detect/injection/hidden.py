"""What a person who looks at a text does not see and a model reads all the same.

``leakage.hidden_text`` is a message in invisible characters: a run of them that spells
something. ``hidden.*`` are the places where something may be hidden (single invisible
characters, HTML comments, elements that are not shown). Web pages are full of these, so
they are looked for only where a policy names them, as a rule to be stripped.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.detect.probe import Probe
from penstock.detect.view import Pattern, View
from penstock.exchange import Finding, Zone

MESSAGE = "leakage.hidden_text"
INVISIBLE, COMMENT, STYLE = "hidden.invisible", "hidden.comment", "hidden.style"

# What a finding is stripped with. A stream that holds these until they end can take them out.
CONSTRUCTS = (INVISIBLE, COMMENT, STYLE, "leakage.markdown_image")

# Where a model speaks. In what it reads the same characters are injection.hidden_text.
SPOKEN: frozenset[Zone] = frozenset(("assistant", "reasoning", "refusal", "tool_arguments"))
# Tag characters spell ASCII, variation selectors bytes, zero-width characters bits.
_MESSAGE = (
    r"[\x{E0001}-\x{E007F}]{4,}|[\x{E0100}-\x{E01EF}]{3,}|[\x{FE00}-\x{FE0F}]{3,}"
    r"|[\x{200B}-\x{200F}\x{2060}-\x{2064}\x{180E}\x{FEFF}]{6,}"
)
_INVISIBLE = (
    r"[\x{00AD}\x{034F}\x{061C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180E}\x{200B}-\x{200F}"
    r"\x{202A}-\x{202E}\x{2060}-\x{206F}\x{3164}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFA0}"
    r"\x{E0000}-\x{E01EF}]+"
)
_COMMENT = r"(?s:<!--.*?(?:-->|\z))"
_STYLE = (
    r"(?i:<[a-z][^<>]*(?:display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}"
    r"hidden|font-size\s{0,3}:\s{0,3}0(?:px|pt|em|%)?[;\"' ]|opacity\s{0,3}:\s{0,3}0(?:\.0)?[;\"' ]"
    r"|color\s{0,3}:\s{0,3}transparent|\shidden[\s=>])[^<>]*>?[^<]*)"
)
# England, Scotland and Wales: a black flag and at most seven tags.
FLAG, FLAG_TAGS_MAX = "\U0001f3f4", 7
# One of these between letters or pictures has a meaning: joiners of Arabic, Indic scripts and
# emoji, the direction of the next word, the presentation of a sign.
_JOINERS = frozenset("\u200c\u200d\u200e\u200f\u061c\ufe0e\ufe0f")
_HYPHEN = "\u00ad"


def hidden_probes() -> list[Probe]:
    """Messages in invisible characters, and the places where something is not shown."""
    return [
        _probe(MESSAGE, _MESSAGE, 0.9, SPOKEN),
        _probe(INVISIBLE, _INVISIBLE, 0.6),
        _probe(COMMENT, _COMMENT, 0.5),
        _probe(STYLE, _STYLE, 0.6),
    ]


def _probe(name: str, source: str, sure: float, zones: frozenset[Zone] | None = None) -> Probe:
    pattern = Pattern(source)

    def find(view: View) -> Iterator[Finding]:
        if zones is not None and view.zone not in zones:
            return
        for start, end, _, _ in view.spans(pattern):
            if name in (MESSAGE, INVISIBLE) and _has_a_meaning(view.text, start, end):
                continue
            yield Finding(name, start, end, sure, name)

    return Probe(name, (name,), source, find, "words")


def _has_a_meaning(text: str, start: int, end: int) -> bool:
    run = text[start:end]
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if before == FLAG and len(run) <= FLAG_TAGS_MAX:
        return True
    if len(run) > 2:
        return False
    if run == _HYPHEN:
        return before.isalpha() and after.isalpha()
    if not _JOINERS.issuperset(run):
        return False
    beside_sign = bool(before) and not before.isascii()
    return beside_sign or (bool(after) and not after.isascii()) or run[0] == "\ufe0f"


def construct_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The comment, hidden element, image or run of invisible characters that holds a finding.

    The finding's own place where it stands in none of these: the innermost thing that can
    be taken out as a whole.
    """
    view = View(text)
    held = [
        (low, high)
        for pattern in _constructs()
        for low, high, _, _ in view.spans(pattern)
        if low <= start and end <= high
    ]
    return min(held, key=lambda span: span[1] - span[0], default=(start, end))


def _constructs() -> tuple[Pattern, ...]:
    if not _compiled:
        _compiled.extend(Pattern(source) for source in (*_WHOLE, _COMMENT, _STYLE, _INVISIBLE))
    return tuple(_compiled)


_WHOLE = (r"!\[[^\]\n]*\]\([^)\n]*\)",)
_compiled: list[Pattern] = []
