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
from penstock.wire.jsonrpc.calls import MessageLeaves
from penstock.wire.loose import as_dict, as_list
from penstock.wire.zones import texts_below

LISTS = ("tools", "resources", "resourceTemplates", "prompts")

Hash = Callable[[bytes], bytes]
Holding = Callable[[set[str]], set[str]]
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


def telling_leaves(
    leaves: MessageLeaves,
    digest: Digests,
    is_clean: Callable[[bytes], bool],
    note_clean: Callable[[bytes], None],
    holding: Holding,
) -> Sequence[Leaf]:
    """The leaves of an answer but for definitions in which nothing is found.

    Those are remembered, and not even looked into the next time. The texts of all others are
    looked into together, each once: ``holding`` says which of them hold something.
    """
    document = leaves.reading.value
    if next(_placed(document), None) is None:
        return leaves
    if digest.whole is not None and is_clean(digest.whole):
        return MessageLeaves(b"", Reading(_hollow(document)))
    placed = list(_placed(document))
    hashes = [digest(element) if isinstance(element, dict) else None for _, element in placed]
    clean: set[int] = set()
    fresh: list[tuple[int, bytes, set[str]]] = []
    for (_, element), hashed in zip(placed, hashes, strict=True):
        if hashed is None:
            continue
        if is_clean(hashed):
            clean.add(id(element))
        elif (texts := texts_below(element)) is not None:
            fresh.append((id(element), hashed, texts))
    held = holding(set().union(*(texts for _, _, texts in fresh))) if fresh else set()
    for ident, hashed, texts in fresh:
        if texts.isdisjoint(held):
            note_clean(hashed)
            clean.add(ident)
    if len(clean) == len(placed) and digest.whole is not None:
        note_clean(digest.whole)
        return MessageLeaves(b"", Reading(_hollow(document)))
    return _telling(leaves, {path for path, _ in placed}, clean, holding)


def _telling(
    leaves: MessageLeaves, places: set[Path], clean: set[int], holding: Holding
) -> Sequence[Leaf]:
    """All leaves outside of definitions, and those in them that hold something."""
    rest = leaves.but(clean)
    depth = max(map(len, places))
    inside = {id(leaf) for leaf in rest if leaf.path[:depth] in places}
    held = holding({leaf.text for leaf in rest if id(leaf) in inside and not leaf.blob})
    return [leaf for leaf in rest if id(leaf) not in inside or leaf.text in held]


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
