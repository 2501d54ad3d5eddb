"""Definitions in a server's lists, told apart by hash: what is unchanged is not read again.

Agents list a server's tools at each start and in each session, and nearly always the list is
the one of before. Hashing a definition costs 2 µs, reading and pinning it a hundred times that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from penstock.exchange import Leaf, Path
from penstock.wire.json_leaves import Reading
from penstock.wire.jsonrpc import MessageLeaves
from penstock.wire.jsonrpc_shape import messages_of
from penstock.wire.loose import as_dict, as_list

LISTS = ("tools", "resources", "resourceTemplates", "prompts")

Hash = Callable[[bytes], bytes]


class Digests:
    """Hashes of the objects of one document, each made once. The document must stay alive.

    ``whole`` is the hash of all of it but the answer's number; None where that is not one.
    """

    __slots__ = ("_hash", "_known", "whole")

    def __init__(self, hash_bytes: Hash, leaves: MessageLeaves) -> None:
        self._hash = hash_bytes
        self._known: dict[int, bytes | None] = {}
        self.whole: bytes | None = None
        ident = as_dict(leaves.reading.value).get("id")
        if type(ident) is int and leaves.body and leaves.reading.problem is None:
            # A number holds no text, so wherever it stood first the rest is what was read.
            self.whole = hash_bytes(leaves.body.replace(b'"id":%d' % ident, b'"id":', 1))

    def __call__(self, element: Any) -> bytes | None:
        """The hash; None for what the quick writer cannot write (huge numbers)."""
        ident = id(element)
        if ident not in self._known:
            try:
                self._known[ident] = self._hash(orjson.dumps(element))
            except orjson.JSONEncodeError:
                self._known[ident] = None
        return self._known[ident]


def listed(document: Any) -> Iterator[Any]:
    """Every element of the lists in an answer."""
    for message in messages_of(document):
        result = as_dict(message.get("result"))
        for member in LISTS:
            yield from as_list(result.get(member))


def telling_leaves(
    leaves: MessageLeaves,
    digest: Digests,
    is_clean: Callable[[bytes], bool],
    note_clean: Callable[[bytes], None],
    holds_something: Callable[[Leaf], bool],
) -> Sequence[Leaf]:
    """The leaves of an answer but for definitions in which nothing is found.

    Those are remembered, and not even looked into the next time.
    """
    if digest.whole is not None and is_clean(digest.whole):
        return MessageLeaves(b"", Reading(_hollow(leaves.reading.value)))
    fresh: dict[int, bytes] = {}
    known: set[int] = set()
    for element in listed(leaves.reading.value):
        mark = digest(element)
        if mark is not None and isinstance(element, dict):
            if is_clean(mark):
                known.add(id(element))
            else:
                fresh[id(element)] = mark
    if not fresh and not known:
        return leaves
    places = dict(_placed(leaves.reading.value))
    depth = 4 if isinstance(leaves.reading.value, list) else 3
    telling: list[Leaf] = []
    dirty: set[Path] = set()
    for leaf in leaves.but(known):
        place = leaf.path[:depth]
        if place not in places:
            telling.append(leaf)
        elif holds_something(leaf):
            telling.append(leaf)
            dirty.add(place)
    for path, element in places.items():
        if id(element) in fresh and path not in dirty:
            note_clean(fresh[id(element)])
    readable = len(known) + len(fresh) == len(places)
    if digest.whole is not None and readable and not dirty:
        note_clean(digest.whole)
    return telling


def _hollow(message: dict[str, Any]) -> dict[str, Any]:
    """The message with nothing in its lists."""
    result = as_dict(message.get("result"))
    empty: dict[str, Any] = {member: [] for member in LISTS if isinstance(result.get(member), list)}
    return {**message, "result": {**result, **empty}} if empty else message


def _placed(document: Any) -> Iterator[tuple[Path, Any]]:
    """The elements of all lists with their paths."""
    batch = isinstance(document, list)
    for number, message in enumerate(document if isinstance(document, list) else [document]):
        result = as_dict(as_dict(message).get("result"))
        head: tuple[str | int, ...] = (number, "result") if batch else ("result",)
        for member in LISTS:
            for index, element in enumerate(as_list(result.get(member))):
                yield (*head, member, index), element
