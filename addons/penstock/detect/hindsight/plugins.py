"""A second look by detect-secrets' plug-ins: they confirm findings and add candidates.

Off the hot path (some 2 ms for 1000 characters): ``penstock scan --deep``, and what has left the
proxy (``second_look``). Only the plug-ins' patterns are asked, line by line; their verification,
which would send what was found to the vendor, is never called. The package is optional
(``penstock[deep]``) and imported late.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from penstock.detect.calls import CANDIDATE
from penstock.exchange import Finding

# Longer lines are data; the plug-ins' patterns have no linear bound of their own.
LINE_CHARACTERS_MAX = 2000
# A value of a known form that our rules do not know; a string that merely looks random (which
# every lock file is full of).
FORM_SCORE = 0.6
ENTROPY_SCORE = 0.3
_ENTROPY = ("Base64HighEntropyString", "HexHighEntropyString")
# Addresses are no secrets, and have a detector of their own.
_LEFT_OUT = "IPPublicDetector"


class Missing(Exception):
    """detect-secrets is not installed."""


def has_plugins() -> bool:
    """True when the extra ``deep`` is installed."""
    return importlib.util.find_spec("detect_secrets") is not None


@cache
def plugins() -> tuple[Any, ...]:
    """The plug-ins, made once; raises Missing."""
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    except ImportError:
        raise Missing("detect-secrets is not installed: pip install 'penstock[deep]'") from None
    classes: list[Any] = list(get_mapping_from_secret_type_to_class().values())
    return tuple(
        made() for made in sorted(classes, key=lambda c: c.__name__) if made.__name__ != _LEFT_OUT
    )


def looked_at_again(text: str, found: Sequence[Finding]) -> list[Finding]:
    """``found``, surer where a plug-in agrees, and what only a plug-in sees; in order."""
    candidates = list(_candidates(text))
    result = []
    for finding in found:
        agreed = [
            name
            for start, end, name in candidates
            if finding.type.startswith("secret") and start < finding.end and finding.start < end
        ]
        if agreed:
            score = round((1 + finding.score) / 2, 3)
            finding = replace(
                finding, score=score, detector=f"{finding.detector}+detect-secrets:{agreed[0]}"
            )
        result.append(finding)
    for start, end, name in sorted(candidates, key=lambda c: (c[2] in _ENTROPY, c[0], -c[1])):
        if not any(start < known.end and known.start < end for known in result):
            score = ENTROPY_SCORE if name in _ENTROPY else FORM_SCORE
            result.append(Finding(CANDIDATE, start, end, score, f"detect-secrets:{name}"))
    return sorted(result, key=lambda finding: (finding.start, finding.end))


def forms(text: str) -> list[tuple[int, int, str]]:
    """(start, end, plug-in) of every value of a known form. A string that merely looks random is
    none: one text in ten has one."""
    asked = [plugin for plugin in plugins() if type(plugin).__name__ not in _ENTROPY]
    return list(_candidates(text, asked))


def _candidates(text: str, asked: Sequence[Any] = ()) -> Iterator[tuple[int, int, str]]:
    """(start, end, plug-in) of every value a plug-in names."""
    base = 0
    for line in text.split("\n"):
        if 4 <= len(line) <= LINE_CHARACTERS_MAX:
            for plugin in asked or plugins():
                for value in {*plugin.analyze_string(line)}:
                    at = line.find(value) if value else -1
                    if at >= 0:
                        yield base + at, base + at + len(value), type(plugin).__name__
        base += len(line) + 1
