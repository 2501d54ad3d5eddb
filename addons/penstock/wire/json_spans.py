"""Where a value stands in the bytes of a JSON body, found only when it has to change.

Positions are byte offsets ``(start, end)``. A path that is not there is missing from the
result; malformed JSON ends the search. Nothing is decoded but the keys passed on the way.
Each byte is read at most once: the patterns use possessive repeats.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from penstock.exchange import Path

Span = tuple[int, int]

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s\"\[{]+")
_SPACE = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\n\r]*+")
UNESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[0-9a-fA-F]{4}|[\"\\/bfnrt])"
)
_HALF = re.compile("[\ud800-\udfff]")
_SIMPLE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# A body with a key more than once is refused before; this is for policies that let it pass.
DUPLICATES_MAX = 16
_VALUE, _KEY = object(), object()  # marks in the tree of wanted paths


class _Malformed(Exception):
    """The bytes are not JSON from here on."""


def locate(
    body: bytes, values: Iterable[Path], keys: Iterable[Path] = ()
) -> tuple[dict[Path, Span], dict[Path, Span]]:
    """Spans of the values (quotes included) and of the keys at the given paths.

    Of a duplicate key the last wins, as it does in parsers.
    """
    tree: dict[Any, Any] = {}
    for mark, paths in ((_VALUE, values), (_KEY, keys)):
        for path in paths:
            node = tree
            for segment in path:
                node = node.setdefault(segment, {})
            node[mark] = path
    found: tuple[dict[Path, Span], dict[Path, Span]] = ({}, {})
    with contextlib.suppress(_Malformed):
        _descend(body, _space(body, 0), tree, found)
    return found


def elements(body: bytes, array: Path) -> list[Span]:
    """Spans of the elements of the array at ``array``; empty when there is none."""
    spans, _ = locate(body, [array])
    span = spans.get(array)
    if span is None or body[span[0] : span[0] + 1] != b"[":
        return []
    found: list[Span] = []
    at = _space(body, span[0] + 1)
    try:
        while body[at : at + 1] not in (b"]", b""):
            end = _skip(body, at)
            found.append((at, end))
            at = _space(body, end)
            if body[at : at + 1] == b",":
                at = _space(body, at + 1)
    except _Malformed:
        return []
    return found


def remove_elements(body: bytes, array: Path, indexes: Collection[int]) -> bytes:
    """The body without some elements of an array (and the comma each brought); no other change."""
    spans = elements(body, array)
    removed = sorted(index for index in set(indexes) if 0 <= index < len(spans))
    if not removed:
        return body
    kept = [index for index in range(len(spans)) if index not in set(removed)]
    if not kept:
        return body[: spans[0][0]] + body[spans[-1][1] :]
    pieces: list[bytes] = []
    at = 0
    for index in removed:
        if index < kept[-1]:
            start, end = spans[index][0], spans[index + 1][0]
        else:
            start, end = (spans[kept[-1]][1] if index == kept[-1] + 1 else at), spans[index][1]
        pieces.append(body[at:start])
        at = end
    return b"".join([*pieces, body[at:]])


def insert_member(body: bytes, target: Path, key: str, value: bytes) -> bytes:
    """The body with ``"key":value`` put first into the object at ``target`` (unchanged if none)."""
    spans, _ = locate(body, [target])
    span = spans.get(target)
    if span is None or body[span[0] : span[0] + 1] != b"{":
        return body
    at = span[0] + 1
    comma = b"" if body[_space(body, at) : _space(body, at) + 1] == b"}" else b","
    return body[:at] + json.dumps(key).encode() + b":" + value + comma + body[at:]


def remove_member(body: bytes, path: Path) -> bytes:
    """The body without the member at ``path``, its comma with it (unchanged if it is not there).

    A key that stands there several times is taken out as often, up to DUPLICATES_MAX.
    """
    for _ in range(DUPLICATES_MAX):
        values, keys = locate(body, [path], [path])
        key, value = keys.get(path), values.get(path)
        if key is None or value is None:
            break
        start, end = key[0], _space(body, value[1])
        if body[end : end + 1] == b",":
            end = _space(body, end + 1)
        else:  # the last one: the comma before it goes
            end, before = value[1], body[:start].rstrip(b" \t\r\n")
            start = len(before) - 1 if before.endswith(b",") else start
        body = body[:start] + body[end:]
    return body


def replace_value(body: bytes, path: Path, value: bytes) -> bytes:
    """The body with the value at ``path`` replaced by JSON bytes (unchanged if it is not there)."""
    spans, _ = locate(body, [path])
    span = spans.get(path)
    return body if span is None else body[: span[0]] + value + body[span[1] :]


def _descend(
    body: bytes, at: int, tree: dict[Any, Any], found: tuple[dict[Path, Span], dict[Path, Span]]
) -> int:
    """Find what ``tree`` wants in the value at ``at``; returns the value's end."""
    opening = body[at : at + 1]
    inside = any(mark is not _VALUE and mark is not _KEY for mark in tree)
    if inside and opening == b"{":
        end = _object(body, at, tree, found)
    elif inside and opening == b"[":
        end = _array(body, at, tree, found)
    else:
        end = _skip(body, at)
    if _VALUE in tree:
        found[0][tree[_VALUE]] = (at, end)
    return end


def _object(
    body: bytes, at: int, tree: dict[Any, Any], found: tuple[dict[Path, Span], dict[Path, Span]]
) -> int:
    at = _space(body, at + 1)
    while body[at : at + 1] != b"}":
        literal = _STRING.match(body, at)
        if literal is None:
            raise _Malformed
        subtree = tree.get(_decoded(literal.group()))
        if subtree is not None and _KEY in subtree:
            found[1][subtree[_KEY]] = literal.span()
        at = _space(body, literal.end())
        if body[at : at + 1] != b":":
            raise _Malformed
        at = _space(body, at + 1)
        at = _skip(body, at) if subtree is None else _descend(body, at, subtree, found)
        at = _next(body, at, b"}")
    return at + 1


def _array(
    body: bytes, at: int, tree: dict[Any, Any], found: tuple[dict[Path, Span], dict[Path, Span]]
) -> int:
    at = _space(body, at + 1)
    index = 0
    while body[at : at + 1] != b"]":
        subtree = tree.get(index)
        at = _skip(body, at) if subtree is None else _descend(body, at, subtree, found)
        at = _next(body, at, b"]")
        index += 1
    return at + 1


def _next(body: bytes, at: int, closing: bytes) -> int:
    at = _space(body, at)
    mark = body[at : at + 1]
    if mark == b",":
        return _space(body, at + 1)
    if mark != closing:
        raise _Malformed
    return at


def _skip(body: bytes, at: int) -> int:
    """The end of the value that starts at ``at``."""
    first = body[at : at + 1]
    if first == b'"':
        literal = _STRING.match(body, at)
    elif first in (b"{", b"["):
        return _skip_container(body, at)
    else:
        literal = _SCALAR.match(body, at)
    if literal is None:
        raise _Malformed
    return literal.end()


def _skip_container(body: bytes, at: int) -> int:
    depth = 0
    for token in _STRUCTURE.finditer(body, at):
        mark = body[token.start()]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if not depth:
                return token.end()
    raise _Malformed


def _space(body: bytes, at: int) -> int:
    match = _SPACE.match(body, at)
    return match.end() if match else at


def _decoded(literal: bytes) -> str:
    if b"\\" not in literal:
        return literal[1:-1].decode("utf-8", "replace")
    try:
        return _HALF.sub("\ufffd", str(json.loads(literal)))  # as json_leaves reads it
    except ValueError:
        raise _Malformed from None


# --------------------------------------------------------------------------- escapes


def unescape(text: str) -> str:
    """``text`` (the inside of JSON) with each escape sequence turned into its character."""
    return text if "\\" not in text else UNESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    escape = match.group()
    if escape[1] != "u":
        return _SIMPLE.get(escape[1], escape[1])
    code = int(escape[2:6], 16)
    if len(escape) == 12:
        code = 0x10000 + ((code - 0xD800) << 10) + (int(escape[8:12], 16) - 0xDC00)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def escaped_offsets(text: str, wanted: Sequence[int]) -> list[int]:
    """Where characters of the unescaped view begin in ``text``.

    ``wanted`` are ascending indexes into ``unescape(text)``; one past the end gives the end.
    """
    offsets: list[int] = []
    escapes = UNESCAPE.finditer(text) if "\\" in text else iter(())
    escape = next(escapes, None)
    drift = 0  # characters of escapes passed, less the one each stands for
    for index in wanted:
        while escape is not None and escape.start() - drift < index:
            drift += escape.end() - escape.start() - 1
            escape = next(escapes, None)
        offsets.append(min(index + drift, len(text)))
    return offsets


def escape(text: str) -> str:
    """Plain text as the inside of a JSON string (ASCII, so valid in any encoding)."""
    return json.dumps(text)[1:-1]
