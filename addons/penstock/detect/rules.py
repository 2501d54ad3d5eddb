"""The rule data: tokens with a format of their own, and keys known by their vendor's name.

People write ``data/*.yaml``; ``python -m penstock.detect.rules`` checks them and writes
``data/rules.json``, the compact form that loads in a millisecond without PyYAML. A test
holds both together. Rules are data of the package: nothing is loaded from outside.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.detect.pattern import is_literal, trigger
from penstock.detect.probe import Group
from penstock.exchange import Zone

DATA = Path(__file__).parent / "data"
COMPACT = DATA / "rules.json"
# Shannon floor when a rule names none: below it a token is a filler ("xxxx", "0000").
FLOOR_BITS = 2.5

_TOKEN_FIELDS = ("id", "vendor", "pattern", "checks", "floor", "left", "example", "source")
_CONTEXT_FIELDS = ("id", "vendor", "keywords", "value", "source")


@dataclass(slots=True, frozen=True)
class TokenRule:
    """A token that its own format gives away."""

    id: str
    vendor: str
    pattern: str
    checks: tuple[str, ...]
    floor: float
    left: str  # "word": not directly after a letter or digit; "any": anywhere
    example: str
    source: str
    trigger: str  # derived: what the common set looks for
    group: Group  # derived: shapes without a literal part stand apart


@dataclass(slots=True, frozen=True)
class ContextRule:
    """A value of a known shape beside a vendor's name."""

    id: str
    vendor: str
    keywords: tuple[str, ...]
    value: str
    source: str


@dataclass(slots=True, frozen=True)
class PhraseRule:
    """Words that give orders; see phrases.py."""

    id: str
    score: float
    zones: tuple[Zone, ...]
    pattern: str


def load_phrases() -> list[PhraseRule]:
    """The phrases of the package, from the compact form."""
    document = json.loads(COMPACT.read_text(encoding="utf-8"))
    return [PhraseRule(row[0], row[1], tuple(row[2]), row[3]) for row in document["phrases"]]


def load() -> tuple[list[TokenRule], list[ContextRule]]:
    """The rules of the package, from the compact form."""
    document = json.loads(COMPACT.read_text(encoding="utf-8"))
    return (
        [TokenRule(row[0], row[1], row[2], tuple(row[3]), *row[4:]) for row in document["tokens"]],
        [
            ContextRule(id, vendor, tuple(keywords), value, source)
            for id, vendor, keywords, value, source in document["contextual"]
        ],
    )


def compact() -> str:
    """The compact form of the YAML files; ValueError names a wrong entry."""
    import yaml

    tokens = yaml.safe_load((DATA / "tokens.yaml").read_text(encoding="utf-8"))
    contextual = yaml.safe_load((DATA / "contextual.yaml").read_text(encoding="utf-8"))
    phrases = yaml.safe_load((DATA / "phrases.yaml").read_text(encoding="utf-8"))
    document = {
        "phrases": [
            [entry["id"], entry["score"], entry.get("zones", []), _phrase(pattern)]
            for entry in phrases
            for pattern in entry["patterns"]
        ],
        "tokens": [_row(entry, _TOKEN_FIELDS) + _derived(entry["pattern"]) for entry in tokens],
        "contextual": [_row(entry, _CONTEXT_FIELDS) for entry in contextual],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _phrase(pattern: str) -> str:
    """Any case; a space is any white space."""
    return f"(?i:{_SPACE.sub(_white, pattern)})"


_SPACE = re.compile(r"\[(?:\\.|[^\]\\])*\]| (?![?{*+])")


def _white(match: re.Match[str]) -> str:
    return match[0].replace(" ", r"\s") if match[0] != " " else r"\s{1,3}"


def _derived(pattern: str) -> list[str]:
    return [trigger(pattern), "literal" if is_literal(pattern) else "runs"]


def _row(entry: dict[str, Any], fields: tuple[str, ...]) -> list[Any]:
    unknown = set(entry) - set(fields)
    if unknown:
        raise ValueError(f"rule {entry.get('id')}: unknown fields {sorted(unknown)}")
    complete = {"checks": [], "floor": FLOOR_BITS, "left": "word"} | entry
    missing = [name for name in fields if name not in complete]
    if missing:
        raise ValueError(f"rule {entry.get('id')}: missing fields {missing}")
    return [complete[name] for name in fields]


if __name__ == "__main__":
    COMPACT.write_text(compact(), encoding="utf-8")
