"""Several rules may see one value: keep the surest and most specific, once."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.exchange import Finding

# Names that say little: a finding of another type on the same characters is kept instead.
_GENERAL = frozenset(
    {
        "secret.api_key", "secret.credential", "secret.password", "secret.key_material",
        "secret.authorization",
    }
)  # fmt: skip


def resolve(found: Iterable[Finding]) -> list[Finding]:
    """Sorted by place, no two overlapping; the better of two that overlap wins."""
    kept: list[Finding] = []
    ranked = sorted(found, key=lambda f: (f.type in _GENERAL, -f.score, f.start - f.end, f.start))
    for finding in ranked:
        if not any(finding.start < other.end and other.start < finding.end for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda f: f.start)
