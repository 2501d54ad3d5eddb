"""What of a phrase has to stand in a text before its pattern is worth a try.

A phrase is made of words, and most texts have one of them: the ``trigger`` of one word that
does for tokens would send every phrase over every text. The gist keeps all words that stand
together, and the part of it that ASCII text can match makes an automaton a third as large.
"""

from __future__ import annotations

import re
from collections.abc import Sequence as Listed

from penstock.detect.pattern import (
    NARROW_CLASS_MAX,
    Atom,
    Choice,
    Node,
    Repeat,
    Sequence,
    count,
    parse,
    write,
)

_BEYOND = r"(?:[^\x00-\x7f]|\\x\{[0-9A-Fa-f]{3,}\})"
_BEYOND_ASCII = re.compile(rf"{_BEYOND}(?:-{_BEYOND})?")


def gist(source: str) -> str:
    """A pattern that occurs wherever ``source`` does: its words, whole, without counts.

    Where ``trigger`` keeps one word of a phrase, which most texts have, this keeps all that
    stand together; a gap ("anything, 60 characters at most") ends what stands together.
    """
    return _gist(parse(source))[1]


def _gist(node: Node) -> tuple[int, str]:
    """How many characters the best stretch of a node fixes, and that stretch."""
    if isinstance(node, Choice):
        parts = [_gist(n) for n in node.nodes]
        return min(p[0] for p in parts), node.flags + "|".join(p[1] for p in parts) + ")"
    stretches: list[list[Node]] = [[]]
    options: list[tuple[int, str]] = []
    for inner in node.nodes if isinstance(node, Sequence) else (node,):
        if not _has_gap(inner):
            stretches[-1].append(inner)
            continue
        stretches.append([])
        if isinstance(inner, Choice):
            options.append(_gist(inner))
    for stretch in stretches:
        text = "".join(_uncounted(n) for n in _between_needed(stretch))
        options.append((sum(_fixed(n) for n in stretch), text))
    return max(options, key=lambda option: option[0])


def _between_needed(nodes: list[Node]) -> list[Node]:
    """Without what may be absent at either end."""
    needed = [at for at, n in enumerate(nodes) if not isinstance(n, Repeat) or n.low]
    return nodes[needed[0] : needed[-1] + 1] if needed else []


def _has_gap(node: Node) -> bool:
    if isinstance(node, Atom):
        return node.width > NARROW_CLASS_MAX and node.source != r"\s"
    return any(_has_gap(n) for n in ((node.node,) if isinstance(node, Repeat) else node.nodes))


def _fixed(node: Node) -> int:
    """How many characters a node fixes at least."""
    if isinstance(node, Atom):
        return 1 if 0 < node.width <= NARROW_CLASS_MAX else 0
    if isinstance(node, Repeat):
        return node.low * _fixed(node.node)
    fixed = [_fixed(n) for n in node.nodes]
    return min(fixed) if isinstance(node, Choice) else sum(fixed)


def _uncounted(node: Node) -> str:
    """The node without assertions and counts: an automaton need not count."""
    if isinstance(node, Atom):
        return node.source if node.width else ""
    if isinstance(node, Choice):
        return node.flags + "|".join(_uncounted(n) for n in node.nodes) + ")"
    if isinstance(node, Sequence):
        return "".join(_uncounted(n) for n in node.nodes)
    inner = _uncounted(node.node)
    if inner and not isinstance(node.node, Atom | Choice):
        inner = f"(?:{inner})"
    many = node.high is None or node.high > max(1, node.low)
    return (
        inner + count(min(node.low, 1) if many else node.low, None if many else node.high)
        if inner
        else ""
    )


def ascii_part(source: str) -> str | None:
    """The pattern as it can match ASCII text; None where it cannot. No negated classes but
    that of all beyond ASCII."""
    part = _ascii(parse(source))
    return None if part is None else write(part)


def _ascii(node: Node) -> Node | None:
    if isinstance(node, Atom):
        left = "" if node.source == r"[^\x00-\x7f]" else _BEYOND_ASCII.sub("", node.source)
        if left == node.source:
            return node
        return Atom(left, node.width) if left not in ("", "[]") else None
    if isinstance(node, Repeat):
        inner = _ascii(node.node)
        if inner is None:
            return None if node.low else Sequence(())
        return Repeat(inner, node.low, node.high, node.lazy)
    parts = [_ascii(n) for n in node.nodes]
    kept = tuple(part for part in parts if part is not None)
    if isinstance(node, Choice):
        return Choice(kept, node.flags) if kept else None
    return Sequence(kept) if len(kept) == len(parts) else None


def beyond_ascii(sources: Listed[str]) -> str:
    """A pattern of the characters beyond ASCII that patterns hold: without one of them none
    matches more than its ASCII part does. RE2 takes the long s and the kelvin sign for letters."""
    found = {match for source in sources for match in _BEYOND_ASCII.findall(source)}
    if any(r"[^\x00-\x7f]" in source for source in sources):
        return r"[^\x00-\x7f]"
    return f"(?i:[{''.join(sorted(found))}\u017f\u212a])"
