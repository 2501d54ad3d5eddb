"""Change one string leaf of a body and move no other byte.

An Edit says what to change in the words of the leaf; the bytes are located here. Only the
characters an edit names are rewritten: their neighbours keep their own escapes.
``BASE64`` in a path steps into what stands base64-coded in a string: JSON, or at its end text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.exchange import Leaf, Path
from penstock.wire.json_spans import escape, escaped_offsets, locate, unescape

# A path segment: the string here is base64 of a JSON document; what follows is a path in that.
BASE64 = "\x00base64"


@dataclass(slots=True, frozen=True)
class Edit:
    """Replace ``leaf.text[start:end]`` (string indices) by ``replacement`` (plain text)."""

    leaf: Leaf
    start: int
    end: int
    replacement: str


@dataclass(slots=True, frozen=True)
class Cut:
    """Replace ``[start, end)`` of the decoded string at ``path`` by ``text``.

    With ``nested`` the indices are into the string's unescaped view and ``text`` is escaped
    once more; without, both are of the string itself.
    """

    path: Path
    start: int
    end: int
    text: str
    nested: bool = False
    is_key: bool = False


def apply(body: bytes, edits: Sequence[Edit]) -> bytes:
    """The body with the edits made; bytes outside the edited characters do not move.

    Edits may come in any order and overlap: what any of them covers is gone, the text of the
    one that starts first stands there. Raises ValueError for a leaf that cannot be edited or
    is not in the body.
    """
    for edit in edits:
        if not edit.leaf.editable:
            raise ValueError("this part is signed or encrypted and cannot be edited")
    as_text = [edit for edit in edits if edit.leaf.span or not edit.leaf.path]
    if as_text:
        if len(as_text) != len(edits):
            raise ValueError("edits of text fields and of JSON strings in one body")
        return _apply_to_text(body, as_text)
    shadows = {shadow for edit in edits for shadow in edit.leaf.shadows}
    cuts = [
        Cut(leaf.path, edit.start, edit.end, edit.replacement, leaf.nested, leaf.is_key)
        for edit in edits
        for leaf in (edit.leaf,)
    ]
    return cut_strings(body, cuts, shadows)


def cut_strings(body: bytes, cuts: Sequence[Cut], nulls: Iterable[Path] = ()) -> bytes:
    """Make the cuts in a JSON body and set the values at ``nulls`` to null.

    Raises ValueError when a string to cut is not there.
    """
    direct = [cut for cut in cuts if BASE64 not in cut.path]
    inner = [cut for cut in cuts if BASE64 in cut.path]
    wanted_nulls = list(nulls)
    values, keys = locate(
        body,
        [cut.path for cut in direct if not cut.is_key]
        + [_outer(cut.path) for cut in inner]
        + wanted_nulls,
        [cut.path for cut in direct if cut.is_key],
    )
    changes: list[tuple[int, int, bytes]] = []
    for (path, is_key), group in _grouped(direct):
        span = (keys if is_key else values).get(path)
        if span is None or body[span[0] : span[0] + 1] != b'"':
            raise ValueError("the string to edit is not in the body")
        changes.append((span[0] + 1, span[1] - 1, _cut(body[span[0] + 1 : span[1] - 1], group)))
    for outer in {_outer(cut.path) for cut in inner}:
        changes.append(_cut_base64(body, values.get(outer), outer, inner))
    changes += [(*values[path], b"null") for path in wanted_nulls if path in values]
    return _splice(body, changes)


def _outer(path: Path) -> Path:
    return path[: path.index(BASE64)]


def _cut_base64(
    body: bytes, span: tuple[int, int] | None, outer: Path, cuts: list[Cut]
) -> tuple[int, int, bytes]:
    if span is None:
        raise ValueError("the coded document to edit is not in the body")
    try:
        document = base64.b64decode(unescape(body[span[0] + 1 : span[1] - 1].decode()))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("the coded document to edit is not base64") from error
    inside = [
        Cut(cut.path[len(outer) + 1 :], cut.start, cut.end, cut.text, cut.nested, cut.is_key)
        for cut in cuts
        if _outer(cut.path) == outer
    ]
    if not any(cut.path for cut in inside):  # plain text, not a document
        return span[0] + 1, span[1] - 1, base64.b64encode(_cut_text(document, inside))
    return span[0] + 1, span[1] - 1, base64.b64encode(cut_strings(document, inside))


def _cut_text(content: bytes, cuts: list[Cut]) -> bytes:
    text, at, kept = content.decode("utf-8", "replace"), 0, []
    for start, end, new in merge([(cut.start, cut.end, cut.text) for cut in cuts]):
        kept += [text[at:start], new]
        at = end
    return "".join([*kept, text[at:]]).encode("utf-8", "replace")


def _grouped(cuts: Iterable[Cut]) -> Iterable[tuple[tuple[Path, bool], list[Cut]]]:
    groups: dict[tuple[Path, bool], list[Cut]] = {}
    for cut in cuts:
        groups.setdefault((cut.path, cut.is_key), []).append(cut)
    return groups.items()


def _cut(literal: bytes, cuts: list[Cut]) -> bytes:
    """The inside of a JSON string with the cuts made."""
    written = literal.decode("utf-8", "surrogateescape")
    merged = merge([(cut.start, cut.end, cut.text) for cut in cuts])
    bounds = [bound for start, end, _ in merged for bound in (start, end)]
    nested = cuts[0].nested
    if nested:
        bounds = escaped_offsets(unescape(written), bounds)
    bounds = escaped_offsets(written, bounds)
    pieces, at = [], 0
    for number, (_, _, text) in enumerate(merged):
        start, end = bounds[2 * number], bounds[2 * number + 1]
        pieces += [written[at:start], escape(escape(text) if nested else text)]
        at = end
    return "".join([*pieces, written[at:]]).encode("utf-8", "surrogateescape")


def merge(cuts: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Cuts in order and apart: one that overlaps an earlier one only widens it."""
    merged: list[tuple[int, int, str]] = []
    # What is put in at a place stands before what is taken out from there on.
    for start, end, text in sorted(cuts, key=lambda cut: (cut[0], cut[1] > cut[0], -cut[1])):
        if merged and start < merged[-1][1]:
            first, last, kept = merged[-1]
            merged[-1] = (first, max(last, end), kept)
        else:
            merged.append((start, end, text))
    return merged


def _splice(body: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    pieces, at = [], 0
    for start, end, new in sorted(changes):
        if start < at:
            continue  # inside a value that became null
        pieces += [body[at:start], new]
        at = end
    return b"".join([*pieces, body[at:]])


def _apply_to_text(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Edits of a body that is text, or of text fields at known byte offsets."""
    changes: list[tuple[int, int, bytes]] = []
    fields: dict[tuple[int, int], list[tuple[int, int, str]]] = {}
    for edit in edits:
        span = edit.leaf.span or (0, len(body))
        fields.setdefault(span, []).append((edit.start, edit.end, edit.replacement))
    for (start, end), cuts in fields.items():
        text = body[start:end].decode("utf-8")
        at, index = start, 0
        for first, last, replacement in merge(cuts):
            at += len(text[index:first].encode())
            width = len(text[first:last].encode())
            changes.append((at, at + width, replacement.encode()))
            at, index = at + width, last
    return _splice(body, changes)
