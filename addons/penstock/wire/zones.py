"""Every string of a JSON document as a leaf, each in the zone its family gave it.

A family marks the places it understands; what is below a mark inherits it, and what no
mark covers is zone ``other``: a field nobody knows is scanned all the same. (Where a
field's name tells its zone wherever it stands, ``json_leaves`` needs no marks; here the
place tells.) The walk is iterative and never changes the document.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.exchange import Exchange, Leaf, Message, Part, Path, Zone
from penstock.wire.json_leaves import MAX_DEPTH, MAX_LEAVES
from penstock.wire.json_spans import unescape

# A secret or an address is longer than this or is no identifier; shorter keys are field names.
FIELD_NAME_LENGTH_MAX = 15

# Tool definitions reach about 20; a few levels are above them, and all are within the walk's.
SEARCHED_DEPTH_MAX = 64

# Fields that are signed or encrypted by the provider, in every family: one changed
# character makes the provider refuse the whole call.
SEALED_FIELDS = frozenset(
    {
        "signature",
        "encrypted_content",
        "encrypted_index",
        "encrypted_stdout",
        "thoughtSignature",
        "thought_signature",
        "sha256Hash",
        "sha256_hash",
        "redactedContent",
    }
)

_BASE64_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
_HOLDS_TEXT = (str, dict, list)
_TEXT_MIME_TYPES = ("text/", "application/json", "application/xml", "application/yaml")


@dataclass(slots=True, frozen=True)
class Mark:
    """What a family knows about a place of the document and all that is below it.

    ``text`` is shown to rules instead of the string itself (a decoded blob: never editable).
    ``media`` says that the string is encoded bytes and not text.
    """

    zone: Zone = "other"
    editable: bool = True
    nested: bool = False
    text: str | None = None
    media: bool = False


Marks = dict[Path, Mark]

OTHER = Mark()
MEDIA = Mark(media=True, editable=False)


def leaves(
    document: Any, marks: Mapping[Path, Mark], without: Container[int] = ()
) -> tuple[list[Leaf], str | None]:
    """The leaves of ``document`` in document order, keys that may carry data included.

    ``without`` are the ``id()`` of objects in it that are left out. The second value says which
    limit left something unread, or is None.
    """
    problem: str | None = None
    found: list[Leaf] = []
    waiting: list[tuple[Path, Any, Mark]] = [((), document, OTHER)]
    while waiting:
        path, value, inherited = waiting.pop()
        mark = marks.get(path, inherited)
        if isinstance(value, str):
            found.append(_leaf(path, value, mark))
            continue
        if len(path) > MAX_DEPTH or len(found) > MAX_LEAVES:
            problem = f"nested deeper than {MAX_DEPTH} or more than {MAX_LEAVES} strings"
            continue
        if isinstance(value, dict):
            if id(value) in without:
                continue
            found += [
                Leaf((*path, key), key, mark.zone, mark.editable, is_key=True)
                for key in value
                if not _is_field_name(key)
            ]
            waiting += [
                ((*path, key), child, mark)
                for key, child in reversed(value.items())
                if isinstance(child, _HOLDS_TEXT)
            ]
        elif isinstance(value, list):
            waiting += [
                ((*path, index), value[index], mark)
                for index in range(len(value) - 1, -1, -1)
                if isinstance(value[index], _HOLDS_TEXT)
            ]
    return found, problem


def texts_below(value: Any) -> set[str] | None:
    """The different texts ``leaves`` would list in a value, without their places.

    None where it is nested so deep that they might not be all.
    """
    texts: set[str] = set()
    level = [value]
    for _ in range(SEARCHED_DEPTH_MAX):
        below: list[Any] = []
        for one in level:
            if type(one) is dict:
                for key, child in one.items():
                    if not _is_field_name(key):
                        texts.add(key)
                    if type(child) is str:
                        texts.add(child)
                    elif type(child) is dict or type(child) is list:
                        below.append(child)
            elif type(one) is list:
                below += one
            elif type(one) is str:
                texts.add(one)
        if not below:
            return texts
        level = below
    return None


def blob(data: str, mime_type: str | None, path: Path, marks: Marks, zone: Zone) -> Part:
    """The part for base64 ``data`` at ``path``, marked so that media are not read as text.

    Data that is no base64 stays readable text; base64 of a text type is shown decoded.
    """
    if not _is_base64(data):
        marks[path] = Mark(zone)
        return Part("blob", mime_type=mime_type, size_bytes=len(data))
    marks[path] = MEDIA
    if mime_type is not None and mime_type.startswith(_TEXT_MIME_TYPES):
        decoded = _decoded(data)
        if decoded is not None:
            marks[path] = Mark(zone, editable=False, text=decoded)
    padding = data.count("=", max(0, len(data) - 2))
    return Part("blob", mime_type=mime_type, size_bytes=len(data) * 3 // 4 - padding)


def strings(value: Any, limit: int = 1000, without: frozenset[str] = frozenset()) -> list[str]:
    """The string values (not keys) below ``value`` in order, at most ``limit`` of them.

    Fields named in ``without`` are left out. The limit bounds what one tool result may add
    to a record; its leaves are all kept.
    """
    found: list[str] = []
    waiting = [value]
    while waiting and len(found) < limit:
        current = waiting.pop()
        if isinstance(current, str):
            found.append(current)
        elif isinstance(current, dict):
            fields = [child for name, child in current.items() if name not in without]
            waiting += reversed(fields)
        elif isinstance(current, list):
            waiting += reversed(current)
    return found


def read_field(
    exchange: Exchange,
    document: Mapping[str, Any],
    name: str,
    marks: Marks,
    role: Literal["user", "system"] = "user",
) -> None:
    """A text that stands in a field of its own is one more message of ``role``."""
    text = document.get(name)
    if isinstance(text, str):
        marks[(name,)] = Mark(role)
        exchange.messages.append(Message(role, [Part("text", text=text)]))


def _leaf(path: Path, value: str, mark: Mark) -> Leaf:
    # Inside what a tool takes and declares the same names are ordinary fields.
    ordinary = mark.zone in ("tool_arguments", "tool_definition")
    sealed = bool(path) and path[-1] in SEALED_FIELDS and not ordinary
    shown = value if mark.text is None else mark.text
    if mark.nested:
        shown = unescape(shown)
    editable = mark.editable and mark.text is None and not sealed
    return Leaf(path, shown, mark.zone, editable, mark.nested, blob=mark.media)


def _is_field_name(key: str) -> bool:
    """True when ``key`` is a plain name: nothing a detector could find fits into it."""
    if not key.isidentifier():
        return False
    return len(key) <= FIELD_NAME_LENGTH_MAX or not any(letter.isdigit() for letter in key)


def _is_base64(data: str) -> bool:
    return data.isascii() and not data.encode("ascii").translate(None, _BASE64_BYTES)


def _decoded(data: str) -> str | None:
    standard = data.replace("-", "+").replace("_", "/").replace("\r", "").replace("\n", "")
    try:
        raw = base64.b64decode(standard + "=" * (-len(standard) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw.decode("utf-8", "replace")
