"""Definitions in a server's lists, told apart by hash: what is unchanged is not read again.

Agents list a server's tools at each start and in each session, and nearly always the list is
the one of before. Hashing a definition costs 2 µs, reading and pinning it a hundred times that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from penstock.exchange import Leaf, Path
from penstock.wire.json_leaves import Reading
from penstock.wire.jsonrpc import MessageLeaves
from penstock.wire.jsonrpc_shape import messages_of
from penstock.wire.loose import as_dict, as_list

LISTS = ("tools", "resources", "resourceTemplates", "prompts")

Hash = Callable[[bytes], bytes]
_KEY = secrets.token_bytes(32)
DIGEST_BYTES = 16


def mark(data: bytes) -> bytes:
    """A hash that nobody can prepare a twin for: the key is this process's own."""
    return blake2b(data, digest_size=DIGEST_BYTES, key=_KEY).digest()


class Digests:
    """The objects of one document as written and as hashed, each once. It must stay alive."""

    __slots__ = ("_hash", "_known", "_leaves", "_whole", "_written")

    def __init__(self, hash_bytes: Hash, leaves: MessageLeaves) -> None:
        self._hash, self._leaves = hash_bytes, leaves
        self._written: dict[int, bytes | None] = {}
        self._known: dict[int, bytes] = {}
        self._whole: bytes | None = None

    @property
    def reading(self) -> Reading:
        """The document as parsed."""
        return self._leaves.reading

    @property
    def strict(self) -> bool:
        """True when every parser reads the same in the document."""
        return self.reading.problem is None

    @property
    def whole(self) -> bytes | None:
        """The hash of all of it but the answer's number; None where that is not one."""
        if self._whole is None:
            body, ident = self._leaves.body, as_dict(self.reading.value).get("id")
            if type(ident) is int and body and self.strict:
                # A number holds no text, so wherever it stood first the rest is what was read.
                self._whole = self._hash(body.replace(b'"id":%d' % ident, b'"id":', 1))
        return self._whole

    def written(self, element: Any) -> bytes | None:
        """An object as compact JSON; None for what the quick writer cannot write (huge numbers)."""
        ident = id(element)
        if ident not in self._written:
            try:
                self._written[ident] = orjson.dumps(element)
            except orjson.JSONEncodeError:
                self._written[ident] = None
        return self._written[ident]

    def __call__(self, element: Any) -> bytes | None:
        """The hash of the same."""
        ident = id(element)
        if ident not in self._known:
            written = self.written(element)
            if written is None:
                return None
            self._known[ident] = self._hash(written)
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
        hashed = digest(element) if isinstance(element, dict) else None
        if hashed is not None:
            if is_clean(hashed):
                known.add(id(element))
            else:
                fresh[id(element)] = hashed
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
