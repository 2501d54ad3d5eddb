"""A small reader of our own RE2 patterns, to derive two other patterns from each.

``trigger``: a cheaper pattern that occurs wherever the pattern does. It goes into the
common set, whose automaton must stay small to stay fast on text it has not seen yet.
``live``: a pattern that matches the end of a growing text exactly when the pattern may
still complete there. It decides what a stream has to hold back.

It reads what our rules use: literals, classes, groups, alternatives, counts; no
look-around, no back references. Rules are the package's own or checked policy input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Repetitions kept in a trigger after its literal part: enough to make chance hits rare.
TRIGGER_REPEATS_MAX = 6
# A class with at most this many characters is as good as a literal in a trigger.
NARROW_CLASS_MAX = 8
# Longer counts become "any number" in a live pattern: its automaton stays small, and all
# that is lost is that an overlong run is held until it ends.
LIVE_COUNT_MAX = 8


@dataclass(slots=True, frozen=True)
class Atom:
    """A character, class, assertion or dot as written. ``width`` 0 is an assertion."""

    source: str
    width: int  # how many characters it may stand for; 0: none, an assertion


@dataclass(slots=True, frozen=True)
class Repeat:
    """``node`` at least ``low`` and at most ``high`` (None: any number of) times."""

    node: Node
    low: int
    high: int | None
    lazy: bool


@dataclass(slots=True, frozen=True)
class Sequence:
    nodes: tuple[Node, ...]


@dataclass(slots=True, frozen=True)
class Choice:
    nodes: tuple[Node, ...]
    flags: str  # "(?:" or "(?i:"


Node = Atom | Repeat | Sequence | Choice
_COUNT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_FLAGS = re.compile(r"\(\?([a-zA-Z]+)\)")
_WIDE = 999


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def choice(self, flags: str) -> Node:
        nodes = [self.sequence()]
        while self._next("|"):
            nodes.append(self.sequence())
        return nodes[0] if len(nodes) == 1 and flags == "(?:" else Choice(tuple(nodes), flags)

    def sequence(self) -> Node:
        nodes: list[Node] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)":
            nodes.append(self._counted(self._one()))
        return nodes[0] if len(nodes) == 1 else Sequence(tuple(nodes))

    def _next(self, char: str) -> bool:
        if self.source.startswith(char, self.at):
            self.at += len(char)
            return True
        return False

    def _one(self) -> Node:
        source, at = self.source, self.at
        if source[at] == "(":
            return self._group()
        if source[at] == "[":
            return self._bracket()
        if source[at] == "\\":
            self.at += 2
            if source[at + 1] == "x" and source[at + 2] == "{":
                self.at = source.index("}", at) + 1
            piece = source[at : self.at]
            return Atom(piece, 0 if piece[1] in "bBAz" else _WIDE if piece[1] in "dDwWsSpP" else 1)
        self.at += 1
        return Atom(source[at], 0 if source[at] in "^$" else _WIDE if source[at] == "." else 1)

    def _group(self) -> Node:
        inline = _FLAGS.match(self.source, self.at)
        if inline:
            raise ValueError("flags belong in a group: " + self.source)
        flags = "(?:"
        for opening in ("(?:", "(?i:", "(?m:", "(?s:", "("):
            if self._next(opening):
                flags = opening if opening != "(" else "(?:"
                break
        node = self.choice(flags)
        if not self._next(")"):
            raise ValueError("unbalanced group: " + self.source)
        return node

    def _bracket(self) -> Node:
        start = self.at
        self.at += 2 if self.source[start + 1] == "^" else 1
        if self.source[self.at] == "]":
            self.at += 1
        while self.source[self.at] != "]":
            if self.source.startswith("[:", self.at):
                self.at = self.source.index(":]", self.at) + 2
                continue
            self.at += 2 if self.source[self.at] == "\\" else 1
        self.at += 1
        piece = self.source[start : self.at]
        narrow = "^" not in piece[:2] and "-" not in piece[2:-2] and "\\" not in piece
        return Atom(piece, len(piece) - 2 if narrow else _WIDE)

    def _counted(self, node: Node) -> Node:
        low: int = 1
        high: int | None = 1
        counted = _COUNT.match(self.source, self.at)
        if counted:
            self.at = counted.end()
            low = int(counted[1])
            high = int(counted[3]) if counted[3] else None if counted[2] else low
        elif self._next("*"):
            low, high = 0, None
        elif self._next("+"):
            low, high = 1, None
        elif self._next("?"):
            low, high = 0, 1
        else:
            return node
        return Repeat(node, low, high, self._next("?"))


def parse(source: str) -> Node:
    """The pattern as a tree; ValueError when it is not understood."""
    reader = _Reader(source)
    node = reader.choice("(?:")
    if reader.at != len(source):
        raise ValueError("unbalanced group: " + source)
    return node


def write(node: Node) -> str:
    """The tree as a pattern again."""
    if isinstance(node, Atom):
        return node.source
    if isinstance(node, Sequence):
        return "".join(
            f"(?:{write(n)})" if isinstance(n, Choice) and n.flags == "" else write(n)
            for n in node.nodes
        )
    if isinstance(node, Choice):
        return node.flags + "|".join(write(n) for n in node.nodes) + ")"
    inner = write(node.node)
    if isinstance(node.node, Sequence | Repeat):
        inner = f"(?:{inner})"
    return inner + count(node.low, node.high)


def count(low: int, high: int | None) -> str:
    """How often, as a pattern writes it."""
    if (low, high) == (1, 1):
        return ""
    if high is None:
        return {0: "*", 1: "+"}.get(low, f"{{{low},}}")
    if (low, high) == (0, 1):
        return "?"
    return f"{{{low}}}" if low == high else f"{{{low},{high}}}"


# --------------------------------------------------------------------------- trigger


def is_literal(source: str) -> bool:
    """True when the pattern has a literal part of two characters or more."""
    return _best(parse(source))[0] >= 2


def trigger(source: str) -> str:
    """A pattern that occurs wherever ``source`` does, cheap for an automaton."""
    return _best(parse(source))[1]


def _best(node: Node) -> tuple[int, str]:
    """How many characters the best trigger of a node fixes, and that trigger.

    Of a sequence it is the neighbours that fix the most, or the one choice all of whose
    alternatives fix more than they do.
    """
    if isinstance(node, Choice):
        parts = [_best(n) for n in node.nodes]
        return min(p[0] for p in parts), node.flags + "|".join(p[1] for p in parts) + ")"
    nodes = node.nodes if isinstance(node, Sequence) else (node,)
    weight, start, end = _narrowest(nodes)
    tail = ""
    if end < len(nodes) and isinstance(following := nodes[end], Repeat):
        keep = min(following.low, TRIGGER_REPEATS_MAX)
        tail = write(Repeat(following.node, keep, keep, False)) if keep else ""
    best = (weight, "".join(write(n) for n in nodes[start:end]) + tail)
    if weight < 2:
        best = (weight, _relaxed(nodes))
    choices = [_best(n) for n in nodes if isinstance(n, Choice)] if len(nodes) > 1 else []
    return max([best, *choices], key=lambda option: option[0])


def _narrowest(nodes: tuple[Node, ...]) -> tuple[int, int, int]:
    """The neighbours that fix the most characters: (how many, first, behind the last)."""
    best: tuple[int, int, int] = (0, 0, 0)  # weight, from, to
    start = 0
    for end in range(len(nodes) + 1):
        if end < len(nodes) and _weight(nodes[end]) > 0:
            continue
        weight = sum(_weight(n) for n in nodes[start:end])
        if weight > best[0]:
            best = (weight, start, end)
        start = end + 1
    return best


def _weight(node: Node) -> int:
    """How many characters a node fixes; 0 when it is wide or may be absent."""
    if isinstance(node, Atom):
        return 1 if 0 < node.width <= NARROW_CLASS_MAX else 0
    if isinstance(node, Repeat):
        return _weight(node.node) if node.low == node.high and node.low <= 3 else 0
    if isinstance(node, Choice):
        return min(_weight(n) for n in node.nodes)
    weights = [_weight(n) for n in node.nodes]
    if weights and all(weights):
        return sum(weights)
    bounded = all(not isinstance(n, Repeat) for n in node.nodes)
    return _narrowest(node.nodes)[0] if bounded else 0


def _relaxed(nodes: tuple[Node, ...]) -> str:
    """Without a literal part: the pattern with its counts cut down and opened upwards."""
    return "".join(
        write(Repeat(n.node, min(n.low, 2 * TRIGGER_REPEATS_MAX), None, False))
        if (isinstance(n, Repeat) and n.high != n.low) or (isinstance(n, Repeat) and n.low > 12)
        else write(n)
        for n in nodes
    )


# --------------------------------------------------------------------------- live


def live(source: str, count_max: int = LIVE_COUNT_MAX) -> str:
    r"""A pattern for the beginnings of ``source``, to be matched up to the text's end.

    Pre(ab) = Pre(a) | a Pre(b), Pre(a|b) = Pre(a) | Pre(b), Pre(x{m,n}) = x{0,n-1} Pre(x);
    it matches a full ``source`` too. Assertions are dropped: holding a little more is safe.
    """
    return _beginnings(parse(source), count_max)


def _beginnings(node: Node, most: int) -> str:
    if isinstance(node, Atom):
        return f"(?:{node.source})?" if node.width else ""
    if isinstance(node, Choice):
        return node.flags + "|".join(_beginnings(n, most) for n in node.nodes) + ")"
    if isinstance(node, Repeat):
        high = node.high if node.high is not None and node.high <= most else None
        inner = _unasserted(node.node, most)
        if isinstance(node.node, Atom):
            return inner + count(0, high) if inner else ""
        if high is not None and high <= 1:
            return _beginnings(node.node, most)
        return f"(?:{inner}){count(0, high and high - 1)}(?:{_beginnings(node.node, most)})"
    result = ""
    for inner_node in reversed(node.nodes):
        if isinstance(inner_node, Atom) and not inner_node.width:
            continue
        first = _beginnings(inner_node, most)
        full = _unasserted(inner_node, most)
        result = f"(?:{full}{result}|{first})" if result else first
    return result


def _unasserted(node: Node, most: int) -> str:
    """The node as a pattern without its assertions."""
    if isinstance(node, Atom):
        return node.source if node.width else ""
    if isinstance(node, Choice):
        return node.flags + "|".join(_unasserted(n, most) for n in node.nodes) + ")"
    if isinstance(node, Repeat):
        inner = _unasserted(node.node, most)
        if not inner:
            return ""
        inner = inner if isinstance(node.node, Atom | Choice) else f"(?:{inner})"
        high = node.high if node.high is not None and node.high <= most else None
        return inner + count(min(node.low, most), high)
    return "".join(_unasserted(n, most) for n in node.nodes)
