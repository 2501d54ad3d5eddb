"""Values that may not leave the server they came from: remembered in results, found in calls.

A value is what a detector found in a result. In a call it is known again as what a detector
finds there, and in calls to servers also as a word of its own, whole texts, percent-encoded or
in base64. A value that is cut up, encrypted or said in other words is not.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from penstock.exchange import Leaf, matches_type
from penstock.policy.call import Call, kind_of
from penstock.policy.grants import asker
from penstock.policy.policy import Rule
from penstock.policy.rules.tools import Tools, server_url
from penstock.policy.state import State
from penstock.wire.edits import Edit

# Fewer letters and digits are no value that could be told from any other.
CHARACTERS_MIN = 6
# Words looked up in one text of a call to a server, and the longest of them.
WORDS_MAX = 20_000
WORD_CHARACTERS_MAX = 4096
_WORD = re.compile(r"[^\s\"'<>(){}\[\],;|`]{6,}")
_SEPARATORS = re.compile(r"[=:&?/#]+")


class Leaving(NamedTuple):
    """A confined value in a call: the rule that holds it, and where it is from."""

    rule: Rule[Tools]
    server: str


def normal(value: str) -> str | None:
    """A value by its letters and digits; None when too few of them are left."""
    plain = "".join(character for character in value.casefold() if character.isalnum())
    return plain if len(plain) >= CHARACTERS_MIN else None


def digest_of(value: str, state: State) -> str | None:
    """What a value is remembered by."""
    plain = normal(value)
    return None if plain is None else state.digest("confined", plain)


def remember(
    rules: Sequence[Rule[Tools]], call: Call, leaves: Sequence[Leaf], state: State
) -> None:
    """Note the values in a result that the rules keep where they came from."""
    types = sorted({name for rule in rules for name in rule.act.confine or ()})
    who, url = asker(call.caller), server_url(call)
    for leaf in leaves:
        if not leaf.text or leaf.blob:
            continue
        for finding in state.findings(leaf.text, leaf.zone):
            if matches_type(types, finding.type):
                digest = digest_of(leaf.text[finding.start : finding.end], state)
                if digest is not None:
                    state.memory.taints.confine(who, digest, url)


def leaving(
    rules: Sequence[Rule[Tools]], call: Call, edits: Sequence[Edit], state: State
) -> Iterator[Leaving]:
    """Confined values the call would take elsewhere, those left out that its edits remove."""
    who, kind = asker(call.caller), kind_of(call)
    taints = state.memory.taints
    if not taints.holds(who):
        return
    here = server_url(call)
    to = "models" if kind == "model" else "servers"
    keeping = [rule for rule in rules if to in rule.act.confine_from]
    removed: dict[int, list[tuple[int, int]]] = {}
    for edit in edits:
        removed.setdefault(id(edit.leaf), []).append((edit.start, edit.end))
    for leaf in call.exchange.leaves if keeping else ():
        if not leaf.text or leaf.blob:
            continue
        gone = removed.get(id(leaf), ())
        for start, end, value in _values(leaf, state, words=kind != "model"):
            if any(low <= start and end <= high for low, high in gone):
                continue
            digest = digest_of(value, state)
            servers = taints.confined(who, digest) if digest is not None else ()
            for server in servers:
                if server == here:
                    continue
                for rule in keeping:
                    if rule.act.speaks_of(server):
                        yield Leaving(rule, server)


def _values(leaf: Leaf, state: State, words: bool) -> Iterator[tuple[int, int, str]]:
    """What in a text may be a value, with its place."""
    text = leaf.text
    for finding in state.findings(text, leaf.zone):
        yield finding.start, finding.end, text[finding.start : finding.end]
    if not words:
        return
    if len(text) <= WORD_CHARACTERS_MAX:
        yield 0, len(text), text
    for number, match in enumerate(_WORD.finditer(text)):
        if number >= WORDS_MAX:
            return
        if match.end() - match.start() <= WORD_CHARACTERS_MAX:
            for spelling in _spellings(match[0]):
                yield match.start(), match.end(), spelling


def _spellings(word: str) -> Iterator[str]:
    """The word, its parts, and what it says when it is decoded."""
    decoded = unquote(word)
    for one in {word, decoded}:
        yield one
        yield from (part for part in _SEPARATORS.split(one) if part != one)
    for candidate in {word, *_SEPARATORS.split(word)}:
        said = _from_base64(candidate)
        if said is not None:
            yield said
            for inner in _WORD.findall(said):
                yield inner
                yield from _SEPARATORS.split(inner)


def _from_base64(word: str) -> str | None:
    if len(word) < 2 * CHARACTERS_MIN:
        return None
    plain = word.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
