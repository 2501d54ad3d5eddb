"""Several rules may see one value: keep the surest and most specific, once."""

from __future__ import annotations

from bisect import bisect_left
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
    kept: list[Finding] = []  # in order of place
    starts: list[int] = []
    ranked = sorted(found, key=lambda f: (f.type in _GENERAL, -f.score, f.start - f.end, f.start))
    for finding in ranked:
        at = bisect_left(starts, finding.start)
        if at < len(kept) and kept[at].start < finding.end:
            continue
        if at and kept[at - 1].end > finding.start:
            continue
        starts.insert(at, finding.start)
        kept.insert(at, finding)
    return kept
