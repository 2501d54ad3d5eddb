"""Take elements out of a long JSON array quickly, byte for byte.

Finding 500 tool definitions by scanning structure costs 20 ms; comparing each with its own
compact form, or letting the C scanner step over it, costs 1 ms. The quick way guesses where
the array stands and then proves the result by parsing it; when the proof fails, the slow and
general way is taken. Nothing but the elements and their commas leaves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

import orjson

from penstock.exchange import Path
from penstock.wire.json_spans import remove_elements
from penstock.wire.loose import at as value_at

Span = tuple[int, int]

_SPACE = re.compile(rb"[ \t\r\n]*+")
_DECODER = json.JSONDecoder()


def without_elements(body: bytes, path: Path, listed: list[Any], removed: Collection[int]) -> bytes:
    """``body`` without some elements of the array ``listed``, which stands at ``path`` in it."""
    spans = _quick_spans(body, str(path[-1]), listed)
    if spans is not None:
        shorter = _cut(body, spans, set(removed))
        if _stands_once(body, str(path[-1])):
            return shorter
        kept = [element for index, element in enumerate(listed) if index not in removed]
        if _holds(shorter, path, kept):
            return shorter
    return remove_elements(body, path, removed)


def _stands_once(body: bytes, member: str) -> bool:
    """True when the array found can be no other: its name is there once, and not in disguise."""
    return body.count(b'"%s"' % member.encode()) == 1 and b"\\u" not in body


def _holds(body: bytes, path: Path, expected: list[Any]) -> bool:
    try:
        return bool(value_at(orjson.loads(body), *path) == expected)
    except ValueError:
        return False


def _quick_spans(body: bytes, member: str, listed: list[Any]) -> list[Span] | None:
    """Spans of the elements, if the array is where its name first stands; else None."""
    position = body.find(b'"%s"' % member.encode())
    if position < 0:
        return None
    position = _space(body, position + len(member) + 2)
    for mark in b":[":
        if body[position : position + 1] != bytes([mark]):
            return None
        position = _space(body, position + 1)
    text = body.decode("ascii") if body.isascii() else None
    spans: list[Span] = []
    for element in listed:
        end = _end(body, text, position, element)
        if end is None:
            return None
        spans.append((position, end))
        position = _space(body, end)
        if body[position : position + 1] not in (b",", b"]"):
            return None
        position = _space(body, position + 1)
    return spans


def _end(body: bytes, text: str | None, start: int, element: Any) -> int | None:
    """Where the element that starts at ``start`` ends, if it is ``element``."""
    compact = orjson.dumps(element)
    if body.startswith(compact, start):
        return start + len(compact)
    if text is None:
        return None
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return end


def _cut(body: bytes, spans: list[Span], removed: set[int]) -> bytes:
    """Each removed element takes the comma after it along; those at the end the one before."""
    kept = [index for index in range(len(spans)) if index not in removed]
    last_kept = kept[-1] if kept else -1
    pieces: list[bytes] = []
    position = 0
    for index in sorted(removed):
        if index > last_kept:
            break
        pieces.append(body[position : spans[index][0]])
        position = spans[index + 1][0]
    if spans and last_kept < len(spans) - 1:
        start = spans[last_kept][1] if kept else spans[0][0]
        pieces.append(body[position:start])
        position = spans[-1][1]
    return b"".join([*pieces, body[position:]])


def _space(body: bytes, position: int) -> int:
    if position < len(body) and body[position] > 0x20:
        return position
    match = _SPACE.match(body, position)
    return match.end() if match else position
