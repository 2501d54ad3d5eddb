"""``encoders``: models of the policy's own, and what rules may ask of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import re2

from penstock.detect.encoders.entities import ENTITY_TYPES
from penstock.detect.encoders.folder import FILES, EncoderError
from penstock.detect.encoders.named import EncoderSpec, NamedEncoder, load
from penstock.policy.language.detectors import ID
from penstock.policy.language.problem import Problem
from penstock.policy.language.read import Section
from penstock.policy.policy import Rule, find_of
from penstock.policy.rules.route import Route
from penstock.policy.rules.tools import Tools

# Models of one policy: one that judges texts and one that finds names is the usual need.
ENCODERS_MAX = 4
SECONDS_MAX = 60
DIGEST = re2.compile("[0-9a-fA-F]{64}")
NEEDED = (
    "is found by a model of your own: pip install 'penstock[ner]', and name the model under "
    "encoders (docs/detection.md#names-and-addresses)"
)


def build(sections: Sequence[Section]) -> tuple[NamedEncoder, ...]:
    """The encoders of the setting, loaded; what is wrong goes to its reader."""
    found: dict[str, NamedEncoder] = {}
    for number, section in enumerate(sections):
        if number >= ENCODERS_MAX:
            section.report(f"more than {ENCODERS_MAX} encoders")
            break
        spec = _spec(section)
        if spec is None:
            continue
        if spec.id in found:
            section.report(f"'{spec.id}' is the id of another encoder", "id")
            continue
        try:
            found[spec.id] = load(spec)
        except EncoderError as error:
            section.report(str(error))
    return tuple(found.values())


def _spec(section: Section) -> EncoderSpec | None:
    """What a section says; None after its problems were reported."""
    before = len(section.reader.problems)
    values = section.values
    if not {"id", "path", "sha256"} <= values.keys():
        if "sha256" not in section.lines and {"id", "path"} <= values.keys():
            _say_digests(section)
        return None
    if not ID.fullmatch(values["id"]):
        section.report("an id has small letters, digits and '_', at most 40 of them", "id")
    for name, digest in values["sha256"].items():
        if name not in FILES:
            section.report(f"there is no '{name}' among {', '.join(FILES)}", "sha256")
        elif not DIGEST.fullmatch(digest):
            section.report(f"a sha256 has 64 hexadecimal digits: {name}", "sha256")
    threshold = values.get("threshold", Decimal("0.5"))
    if not threshold < 1:
        section.report("a threshold is a probability, below 1", "threshold")
    seconds = values.get("give_up_after", 10)
    if seconds > SECONDS_MAX:
        section.report(f"no call waits longer than {SECONDS_MAX}s for a model", "give_up_after")
    if len(section.reader.problems) > before:
        return None
    return EncoderSpec(
        id=values["id"],
        path=Path(section.reader.file).parent / values["path"],
        digests=tuple(sorted(values["sha256"].items())),
        labels=tuple(sorted(values.get("labels", {}).items())),
        threshold=float(threshold),
        ask=values.get("ask", "unsure"),
        seconds=float(seconds),
    )


def _say_digests(section: Section) -> None:
    """The digests the author has to compare and write down."""
    from penstock.detect.encoders.folder import read_folder

    try:
        read_folder(Path(section.reader.file).parent / section.values["path"], {})
    except EncoderError as error:
        section.report(str(error), "path")


def unanswered(rules: Sequence[Rule[Any]], encoders: Sequence[NamedEncoder]) -> Iterator[Problem]:
    """Rules that name what only an encoder finds, where none does."""
    given = {name for one in encoders for name in one.types}
    for rule in rules:
        for name in named_types(rule):
            if name in ENTITY_TYPES and name not in given:
                yield Problem(rule.file, rule.line, rule.id, f"{name} {NEEDED}")


def named_types(rule: Rule[Any]) -> tuple[str, ...]:
    """Every finding type a rule names, wherever it does."""
    find = find_of(rule)
    named = find.types if find is not None else ()
    if isinstance(rule.act, Route):
        named += tuple(rule.act.when_found)
    if isinstance(rule.act, Tools):
        named += tuple(rule.act.confine or ())
    return named


def described(one: NamedEncoder) -> str:
    """An encoder in a line, for people."""
    means = {
        label: meaning
        for label, meaning in zip(one.encoder.labels, one.meanings, strict=True)
        if meaning
    }
    told = ", ".join(f"{label} = {meaning}" for label, meaning in means.items())
    kind = "words" if one.encoder.by_token else "texts"
    return f"{one.spec.id}: loads, judges {kind} ({told})"
