"""Make a tool's result fit a size: long texts are cut, alike in content and structured content.

Only texts become shorter. Numbers, keys, short texts and the shape stay, so that a result still
fits its tool's output schema; a text that repeats the structured content as JSON is written anew
from the shortened one. What does not fit even so (a picture, ten thousand numbers) is not for
cutting.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from penstock.exchange import Leaf, Path
from penstock.wire.edits import Edit
from penstock.wire.edits import apply as apply_edits
from penstock.wire.json_spans import replace_value
from penstock.wire.loose import as_dict, as_list

# Shorter texts are names, codes and values of an enumeration, and are never cut.
TEXT_CHARACTERS_MIN = 64
NOTE = " [shortened by policy: {} characters left out]"
# Walked at most; a result with more strings is refused.
STRINGS_MAX = 100_000


def shorten(body: bytes, at: Path, message: dict[str, Any], bytes_max: int) -> bytes | None:
    """``body`` whose result ``message`` (at ``at``) takes at most ``bytes_max``; None if it cannot.

    The size is that of the whole body where it holds one message.
    """
    texts = dict(_texts(message))
    if not texts or len(texts) > STRINGS_MAX:
        return None
    mirrors = _mirrors(message)
    too_much = len(body if not at else orjson.dumps(message)) - bytes_max
    low, high = TEXT_CHARACTERS_MIN, max(len(text) for text in texts.values())
    fitting: bytes | None = None
    while low <= high:
        middle = (low + high) // 2
        made = _cut(body, at, message, texts, mirrors, middle)
        if len(body) - len(made) >= too_much:
            fitting, low = made, middle + 1
        else:
            high = middle - 1
    return fitting


def _cut(
    body: bytes, at: Path, message: dict[str, Any], texts: dict[Path, str],
    mirrors: set[Path], length: int,
) -> bytes:  # fmt: skip
    """The body with every text cut to ``length`` characters."""
    edits = []
    for path, text in texts.items():
        note = NOTE.format(len(text) - length)
        if path not in mirrors and len(text) > length + len(note):
            edits.append(Edit(Leaf((*at, *path), text), length, len(text), note))
    if not edits:
        return body
    body = apply_edits(body, edits)
    if mirrors:
        document: Any = orjson.loads(body)
        for step in at:
            document = document[step]
        copy = json.dumps(document["result"]["structuredContent"], ensure_ascii=False)
        for path in mirrors:
            body = replace_value(body, (*at, *path), orjson.dumps(copy))
    return body


def _texts(message: dict[str, Any]) -> list[tuple[Path, str]]:
    """The strings that may be cut, with their paths in the message."""
    result = as_dict(message.get("result"))
    found: list[tuple[Path, str]] = []
    for member in ("content", "contents"):
        for index, block in enumerate(as_list(result.get(member))):
            found += [
                (("result", member, index, *path), value)
                for path, value in (
                    (("text",), as_dict(block).get("text")),
                    (("resource", "text"), as_dict(as_dict(block).get("resource")).get("text")),
                )
                if isinstance(value, str)
            ]
    structured: Path = ("result", "structuredContent")
    waiting: list[tuple[Path, Any]] = [(structured, result.get("structuredContent"))]
    while waiting and len(found) <= STRINGS_MAX:
        at, value = waiting.pop()
        if isinstance(value, str):
            found.append((at, value))
        elif isinstance(value, dict):
            waiting += [((*at, key), child) for key, child in value.items()]
        elif isinstance(value, list):
            waiting += [((*at, index), child) for index, child in enumerate(value)]
    return found


def _mirrors(message: dict[str, Any]) -> set[Path]:
    """Texts of the content that are the structured content once more, as JSON."""
    result = as_dict(message.get("result"))
    structured = result.get("structuredContent")
    if structured is None:
        return set()
    found: set[Path] = set()
    for index, block in enumerate(as_list(result.get("content"))):
        text = as_dict(block).get("text")
        if isinstance(text, str) and text[:1] in "{[":
            try:
                same = orjson.loads(text) == structured
            except orjson.JSONDecodeError:
                continue
            if same:
                found.add(("result", "content", index, "text"))
    return found
