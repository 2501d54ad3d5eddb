"""The arithmetic of the audit log: a hash chain over exact lines, and their Merkle tree.

A line names the SHA-256 of the line before it, so an edit, a swap or a gap shows. The
tree (RFC 6962, section 2.1) sums the whole log up in one hash that can be signed and kept
elsewhere, so a cut end or a rewritten log shows too. Lines are hashed as written, without
the newline; nothing is serialised twice. No file is touched here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

FIRST = "0" * 64  # what the first line of a log names as its predecessor


def leaf_hash(line: bytes) -> bytes:
    """RFC 6962: the hash of a leaf."""
    return sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962: the hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Chain:
    """Where a log stands: its number of lines, the last line's hash, and the tree's right edge.

    ``frontier`` holds the roots of the complete subtrees, largest first: one for each
    bit set in ``size``, so at most some forty hashes for any log.
    """

    size: int = 0
    last: str = FIRST
    frontier: list[bytes] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Take one line (without its newline)."""
        node = leaf_hash(line)
        size = self.size
        while size & 1:  # a complete left sibling waits: join them
            node = node_hash(self.frontier.pop(), node)
            size >>= 1
        self.frontier.append(node)
        self.size += 1
        self.last = sha256(line).hexdigest()

    def root(self) -> bytes:
        """The Merkle tree hash of all lines; of none, the hash of the empty string."""
        if not self.frontier:
            return sha256().digest()
        node = self.frontier[-1]
        for left in reversed(self.frontier[:-1]):
            node = node_hash(left, node)
        return node

    def line(self, content: bytes) -> bytes:
        """The next line for ``content``, a JSON object: it begins with ``seq`` and ``prev``."""
        return b'{"seq":%d,"prev":"%s",%s' % (self.size, self.last.encode(), content[1:])

    def to_json(self) -> dict[str, object]:
        """As plain values, for the head file."""
        return {"size": self.size, "last": self.last, "frontier": hexes(self.frontier)}


def hexes(hashes: Sequence[bytes]) -> list[str]:
    """Hashes as hexadecimal text."""
    return [one.hex() for one in hashes]


def chain_from_json(values: dict[str, object]) -> Chain:
    """The inverse of ``Chain.to_json``; ValueError when the values are not of a chain."""
    size, last, frontier = values.get("size"), values.get("last"), values.get("frontier")
    if not isinstance(size, int) or not isinstance(last, str) or not isinstance(frontier, list):
        raise ValueError("not the head of an audit log")
    edge = [bytes.fromhex(str(one)) for one in frontier]
    if len(edge) != size.bit_count() or len(last) != len(FIRST):
        raise ValueError("the head of the audit log contradicts itself")
    return Chain(size, last, edge)


def chain_before(first_line: bytes) -> Chain:
    """The chain that a file's first line continues; ValueError when the line does not say.

    A rotated log's files begin with a line that carries the tree's edge so far.
    """
    values = json.loads(first_line)
    if not isinstance(values, dict) or not isinstance(values.get("seq"), int):
        raise ValueError("the first line has no seq")
    return chain_from_json(
        {
            "size": values["seq"],
            "last": values.get("prev"),
            "frontier": values.get("frontier", []),
        }
    )
