"""What a detector is, in words: for people and for reports. Never imported by the proxy."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.detect import Detectors
from penstock.detect.calls import CALL_TYPES, CANDIDATE
from penstock.detect.catalogue import all_probes
from penstock.detect.disguises.normalise import DEPTH_MAX, readings
from penstock.detect.encoders.entities import ENTITY_TYPES
from penstock.detect.rules import load
from penstock.detect.view import View
from penstock.exchange import Finding

_FAMILIES = {
    "secret": "a credential",
    "pii": "personal data",
    "injection": "text that instructs the model against its user",
    "tool_poisoning": "a tool description that instructs the model",
    "leakage": "data on its way out",
    "hidden": "a place where text may be hidden from people",
    "unsafe": "output that does harm where it is used",
    "uncertainty": "an answer the model was not sure of",
    "toxicity": "hostile speech",
}


@dataclass(slots=True)
class Description:
    """One finding type: where its format is published, and the rules that find it."""

    type: str
    meaning: str
    vendors: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def describe() -> dict[str, Description]:
    """Every type there is, by name."""
    found: dict[str, Description] = {}
    for probe in all_probes():
        for name in probe.types:
            entry = found.setdefault(name, Description(name, _FAMILIES[name.split(".")[0]]))
            if len(probe.types) == 1:
                entry.patterns.append(probe.pattern)
    for name, meaning in ENTITY_TYPES.items():
        found[name] = Description(name, f"{meaning}; off: needs penstock[ner] and a model")
    for name in CALL_TYPES:
        found[name] = Description(name, CALL_TYPES[name])
    found[CANDIDATE] = Description(CANDIDATE, "a value that detect-secrets' plug-ins alone know")
    tokens, contextual = load()
    for token in tokens:
        entry = found[f"secret.{token.id}"]
        _add(entry.vendors, token.vendor)
        _add(entry.sources, token.source)
        entry.checks += [name for name in token.checks if name not in entry.checks]
    for rule in contextual:
        entry = found[f"secret.{rule.id}"]
        _add(entry.vendors, rule.vendor)
        _add(entry.sources, rule.source)
        _add(entry.patterns, rule.value)
        entry.keywords += [word for word in rule.keywords if word not in entry.keywords]
    return dict(sorted(found.items()))


def why(finding: Finding) -> str:
    """One sentence: which rule spoke and on what grounds."""
    entry = describe().get(finding.type)
    if finding.type in ENTITY_TYPES:
        return f"{ENTITY_TYPES[finding.type]}, told by a model of the policy's ({finding.detector})"
    if entry is None:
        return f"found by {finding.detector}"
    vendor = f" of {', '.join(entry.vendors)}" if entry.vendors else ""
    grounds = "its published format"
    if finding.detector == "secret.generic":
        grounds = "a telling name, an assignment and a value that looks random"
    elif entry.keywords and not entry.checks and len(entry.patterns) == 1:
        grounds = "its vendor's name nearby and its shape"
    elif finding.type.startswith("pii."):
        grounds = "its shape, its check digits where it has them, and the words around it"
    checks = f"; checks: {', '.join(entry.checks)}" if entry.checks else ""
    return f"{entry.meaning}{vendor}, told by {grounds}{checks} (rule {finding.detector})"


def _add(values: list[str], value: str) -> None:
    if value not in values:
        values.append(value)


def undisguised(text: str, finding: Finding) -> str | None:
    """What a finding says once base64, escapes or odd spelling are undone; None when it
    stands there plainly. It is as secret as the finding: callers show its first characters.
    """
    return _undisguised(text, finding, DEPTH_MAX)


def _undisguised(text: str, finding: Finding, depth: int) -> str | None:
    detectors = Detectors([finding.type])
    for reading in readings(View(text)) if depth else ():
        for inner in detectors.scan(reading.text):
            start, end = reading.place(inner.start, inner.end)
            if start < finding.end and finding.start < end:
                deeper = _undisguised(reading.text, inner, depth - 1)
                return deeper or reading.text[inner.start : inner.end]
    return None
