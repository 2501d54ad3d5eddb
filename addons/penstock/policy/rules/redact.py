"""``redact``: findings are replaced, in what is sent, in what comes back, or both.

With ``mark`` nothing is taken away: the whole text in which something was found, or every
text of the named parts, is set off as data, so that the model can tell it from an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.detect.calls import CALL_TYPES, LOW_LOGPROB
from penstock.detect.injection.hidden import construct_around
from penstock.exchange import Finding, matches_type
from penstock.policy import find
from penstock.policy.find import Find, read_find, read_places
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.state import State

Method = Literal["placeholder", "mask", "hash", "remove", "strip", "mark"]
# Where rules disagree about the same characters, the one that keeps least wins. ``mark`` is
# none of them: it stands around whatever the others leave.
METHODS: tuple[Method, ...] = ("strip", "remove", "mask", "hash", "placeholder")
# Parts whose texts are no data for anybody to set off: a program reads them, or they are signed.
UNMARKED = frozenset(("tool_arguments", "tool_definition", "reasoning", "document"))


@dataclass(slots=True, frozen=True)
class Redact:
    """What is looked for, where, and what stands in its place."""

    find: Find
    method: Method = "placeholder"

    @property
    def marks_all(self) -> bool:
        """True for a rule that marks every text of its parts, whatever is in it."""
        return self.method == "mark" and not self.find.types


def replacement(method: Method, type_name: str, value: str, state: State) -> str:
    """The text that stands for ``value``; only a placeholder can be turned back."""
    if method in ("placeholder", "hash") and type_name in CALL_TYPES:
        method = "mask"  # what came from elsewhere must not come back, and may be cut short
    match method:
        case "placeholder":
            return state.seal(type_name, value)
        case "hash":
            return f"[{type_name}:{state.digest(type_name, value)}]"
        case "mask":
            return f"[{type_name}]"
        case _:
            return ""


def place_of(method: Method, finding: Finding, text: str) -> tuple[int, int]:
    """What of the text is replaced: what was found, or with ``strip`` what it is hidden in."""
    if method == "strip":
        return construct_around(text, finding.start, finding.end)
    return finding.start, finding.end


def build(section: Section) -> Redact | None:
    """The rule of a ``redact`` section; None (and a problem) without ``find``."""
    method: Method = section.values.get("with", "placeholder")
    wanted = read_find(section) if "find" in section.lines else None
    if "find" not in section.lines:
        if method == "mark" and "in" in section.values:
            wanted = read_places(section, ())
        else:
            section.report("'find' is missing. Only 'with: mark' works without it, and needs 'in'")
    if wanted is None:
        return None
    if any(matches_type((name,), LOW_LOGPROB) for name in wanted.types):
        section.report("uncertainty is about an answer as a whole: it has no characters", "find")
    if method == "mark" and wanted.zones and wanted.zones <= UNMARKED and not wanted.response:
        section.report("these parts cannot be marked: programs read them, or they are signed")
    return Redact(wanted, method)


KIND = Kind(
    "redact",
    "What is replaced. A finding in a part that cannot be changed (signed, hashed) refuses "
    "the call instead.",
    (
        Key("find", "types", f"{find.KEYS[0].doc} Required, except with mark."),
        find.KEYS[1],
        Key(
            "with",
            "choice",
            "placeholder (default; restored in the answer), mask (the type's name), hash (keyed: "
            "the same value gives the same hash), remove, strip (also what it is hidden in: the "
            "comment, the image) or mark (the whole text is set off as data).",
            ("placeholder", "mask", "hash", "remove", "strip", "mark"),
        ),
    ),
    build,
    {
        "anyOf": [
            {"required": ["find"]},
            {"required": ["in", "with"], "properties": {"with": {"const": "mark"}}},
        ]
    },
)
