"""Which findings a rule asks for, and in which texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from penstock.detect.files.documents import has_pdf_reader
from penstock.exchange import UNSCANNABLE, Finding, Zone, matches_type
from penstock.policy.language.keys import Key

if TYPE_CHECKING:
    from penstock.policy.language.read import Section

DIRECTIONS = ("request", "response", "both")
PARTS = (
    "user",
    "system",
    "assistant",
    "tool_result",
    "tool_arguments",
    "tool_definition",
    "reasoning",
    "document",
)
# Files are read only where a rule says so.
ALL_ZONES: frozenset[str] = frozenset(get_args(Zone)) - {"document"}

KEYS = (
    Key("find", "types", "Finding types; a type covers those below it: secret, pii.email."),
    Key(
        "in",
        "choices",
        "request (default): every text that is sent. response: every text that comes back. "
        "both. Or parts of the request: user, system, tool_result, ... document: the text of files "
        "in it, which request leaves out (needs the extra documents).",
        DIRECTIONS + PARTS,
    ),
)


@dataclass(slots=True, frozen=True)
class Find:
    """``zones`` are the parts of the request that are read; ``response`` adds the answer."""

    types: tuple[str, ...]
    zones: frozenset[str] = ALL_ZONES
    response: bool = False

    def wants(self, finding: Finding) -> bool:
        """True when the finding is of one of the types, or may hide any of them."""
        return finding.type == UNSCANNABLE or matches_type(self.types, finding.type)


def read_find(section: Section) -> Find | None:
    """What a section asks for; None when it has no ``find``."""
    where = section.values.get("in")
    types = section.values.get("find")
    if types is None:
        if where is not None and "find" not in section.lines:
            section.report("'in' says where to look, but there is no 'find'", "in")
        return None
    return read_places(section, types)


def read_places(section: Section, types: tuple[str, ...]) -> Find:
    """``types`` in the texts a section's ``in`` names."""
    where = section.values.get("in")
    if where is None:
        return Find(types)
    if not where:
        section.report("an empty list looks nowhere: the rule can never match", "in")
    whole = "request" in where or "both" in where
    zones = frozenset(where) & frozenset(PARTS)
    if whole:
        zones |= ALL_ZONES
    if "document" in zones and not has_pdf_reader():
        section.report(
            "'document' needs a reader of PDF files: pip install 'penstock[documents]'", "in"
        )
    return Find(types, zones, "response" in where or "both" in where)
