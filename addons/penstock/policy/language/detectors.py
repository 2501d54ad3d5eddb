"""The policy's own detectors (``detectors:``) and what it has found harmless (``ignore:``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import re2

from penstock.detect.custom import Custom, problem_of
from penstock.exchange import Finding, matches_type
from penstock.policy.language.read import Section

# A detector's id is a part of its finding type.
ID = re2.compile(r"[a-z0-9][a-z0-9_]{0,39}")
DIGEST = re2.compile(r"[0-9a-f]{16}")


@dataclass(slots=True, frozen=True)
class Ignore:
    """Findings that no rule speaks about, up to and including a day (UTC)."""

    reason: str
    until: date
    pattern: str | None = None
    digest: str | None = None
    types: tuple[str, ...] = ()

    def covers(self, finding: Finding, value: str, digest: str, now: float) -> bool:
        """True when the finding is one of those meant, and the day has not passed."""
        if datetime.fromtimestamp(now, UTC).date() > self.until:
            return False
        if self.types and not matches_type(self.types, finding.type):
            return False
        if self.digest is not None:
            return self.digest == digest
        return self.pattern is not None and re2.fullmatch(self.pattern, value) is not None


def build(name: str, sections: Sequence[Section]) -> tuple[Any, ...]:
    """The values of one setting; what is wrong goes to its reader."""
    if name == "ignore":
        return tuple(entry for section in sections if (entry := ignore(section)) is not None)
    found: dict[str, Custom] = {}
    for section in sections:
        made = custom(section)
        if made is not None and found.setdefault(made.id, made) is not made:
            section.report(f"'{made.id}' is the id of another detector", "id")
    return tuple(found.values())


def custom(section: Section) -> Custom | None:
    """A detector; None after its problems were reported."""
    values = section.values
    if not {"id", "pattern", "example"} <= set(values):
        return None
    if not ID.fullmatch(values["id"]):
        section.report("an id has small letters, digits and '_', at most 40 of them", "id")
        return None
    made = Custom(
        id=values["id"],
        pattern=values["pattern"],
        example=values["example"],
        engine=values.get("engine", "re2"),
        keywords=tuple(word.lower() for word in values.get("keywords", ())),
        check=values.get("check"),
    )
    problem = problem_of(made)
    if problem is not None:
        section.report(problem, "pattern")
        return None
    return made


def ignore(section: Section) -> Ignore | None:
    """An entry of the allow-list; None after its problems were reported."""
    values = section.values
    until, pattern, digest = (values.get(name) for name in ("until", "pattern", "digest"))
    if (pattern is None) == (digest is None):
        section.report("give either 'pattern' or 'digest'")
        return None
    if digest is not None and not DIGEST.fullmatch(digest):
        section.report("a digest has 16 hexadecimal digits", "digest")
        return None
    if pattern is not None and not _compiles(pattern):
        section.report("no valid RE2 pattern", "pattern")
        return None
    try:
        day = date.fromisoformat(until or "")
    except ValueError:
        if until is not None:
            section.report("a day is written 2027-03-31", "until")
        return None
    if "reason" not in values:
        return None
    return Ignore(values["reason"], day, pattern, digest, values.get("types", ()))


def _compiles(pattern: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True
