"""A JSON body as the strings in it: each with its path and the zone it belongs to.

The body is parsed once (orjson) and walked once. What a strict and a lax parser could read
differently (duplicate keys, byte order mark, NaN, lone surrogates, bad UTF-8, absurd depth) is
named in ``Reading.problem``: what is judged must be what is sent. Nothing here raises.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.exchange import Leaf, Path, Zone
from penstock.wire.json_spans import unescape

# Deeper than any real request (tool schemas reach about 20), shallow enough for the C stack.
MAX_DEPTH = 128
# A 64 MiB body of empty strings would be millions of leaves; real agent turns stay below 20,000.
MAX_LEAVES = 200_000
# A key of letters and underscores up to here is a field's name; anything else is text to judge.
MAX_NAME_LENGTH = 40
# Encoded bytes (images, audio, files) start to be worth telling from text at this size.
MIN_BLOB_LENGTH = 1024
BOM = b"\xef\xbb\xbf"

# Once in one of these, fields of the content cannot claim another zone.
_LOCKED: frozenset[Zone] = frozenset(
    {"tool_definition", "tool_arguments", "tool_result", "reasoning"}
)
_BLOB = re.compile(r"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,)?[A-Za-z0-9+/_-]+={0,2}\Z")
_LONE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_TEXT_URL = re.compile(
    r"data:(?:text/[\w.+-]+|application/(?:json|xml|yaml|x-ndjson|jsonl))[^,]{0,100};base64,"
)
# Fields that carry encoded bytes. Anywhere else base64 is text to judge: a long key looks so.
_MEDIA = frozenset(
    (
        "data", "url", "image_url", "file_url", "file_data", "b64_json", "bytes", "image", "audio",
        "video", "video_url", "mask", "result", "partial_image_b64", "embedding", "images",
    )
)  # fmt: skip
_ESCAPE = re.compile(rb"\\(?:u0022|.)", re.DOTALL)
# Constants of the formats themselves: they cannot hold a finding and are most of all strings.
_VOCABULARY = frozenset(
    (
        "user",
        "assistant",
        "system",
        "developer",
        "tool",
        "function",
        "model",
        "text",
        "input_text",
        "output_text",
        "image_url",
        "input_image",
        "tool_use",
        "tool_result",
        "tool_call",
        "function_call",
        "function_call_output",
        "message",
        "reasoning",
        "object",
        "string",
        "number",
        "integer",
        "boolean",
        "array",
        "null",
        "auto",
        "none",
        "required",
        "stop",
        "length",
        "tool_calls",
        "chat.completion",
        "chat.completion.chunk",
        "response",
        "completed",
        "in_progress",
        "default",
        "ephemeral",
        "low",
        "medium",
        "high",
        "json_object",
        "json_schema",
        "thinking",
        "enabled",
        "disabled",
    )
)


@dataclass(slots=True, frozen=True)
class ZoneMap:
    """How a format's fields, item types and roles tell the zone of the strings below them."""

    default: Zone = "other"
    fields: Mapping[str, Zone] = field(default_factory=dict)  # {"tools": "tool_definition"}
    types: Mapping[str, Zone] = field(default_factory=dict)  # value of "type" in an object
    roles: Mapping[str, Zone] = field(default_factory=dict)  # value of "role" in an object
    nested: frozenset[str] = frozenset()  # fields whose string is JSON itself
    sealed: frozenset[str] = frozenset()  # fields signed, hashed or encrypted: not editable


PLAIN = ZoneMap()


@dataclass(slots=True)
class Reading:
    """A body as parsed: its value, its strings, and why it could not be read as strict JSON."""

    value: Any = None
    leaves: list[Leaf] = field(default_factory=list)
    problem: str | None = None


def read(body: bytes, zones: ZoneMap = PLAIN) -> Reading:
    """Parse and walk a JSON body; a body that is not JSON becomes one leaf, its whole text."""
    reading = parse(body)
    if reading.problem and reading.value is None:
        reading.leaves = [text_leaf(body)] if body else []
        return reading
    reading.leaves, problem = walk(reading.value, zones)
    reading.problem = reading.problem or problem
    return reading


def parse(body: bytes) -> Reading:
    """The parsed body and its problem; no leaves yet."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_lax(body)
    return Reading(value, problem=_doubt(body, value))


def value_of(body: bytes) -> Any:
    """The parsed body where it need not be judged; None when it is no JSON at all."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_lax(body).value


def _doubt(body: bytes, value: Any) -> str | None:
    """Duplicate keys, told exactly and cheaply by counting quote characters.

    Written anew, a body without duplicates has as many quote characters as before.

    Each string (keys too) has two quotes, each quote inside a string is written ``\\"``, by
    the sender perhaps ``\\u0022``. A dropped duplicate takes at least its key's quotes along.
    """
    quotes = body.count(b'"')
    if b"\\u0022" in body:
        quotes += _ESCAPE.findall(body).count(b"\\u0022")
    try:
        written = orjson.dumps(value).count(b'"')
    except orjson.JSONEncodeError:  # deeper than the 254 levels orjson writes
        return "nested too deep"
    return None if quotes == written else "duplicate key in a JSON object"


def _parse_lax(body: bytes) -> Reading:
    """What a lenient parser would read, with the reason a strict one would not."""
    problem = "not JSON"
    if body.startswith(BOM):
        problem, body = "byte order mark before JSON", body[len(BOM) :]
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return Reading(problem="not valid UTF-8")
    try:
        value = json.loads(_LONE.sub(_no_half, text))
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        return Reading(problem="nested too deep" if deep else "not JSON")
    if problem == "not JSON":
        problem = "not strict JSON (NaN, Infinity, a lone surrogate or a huge number)"
    return Reading(value, problem=problem)


def _no_half(match: re.Match[str]) -> str:
    """A lone surrogate would break every UTF-8 library behind us; its place stays."""
    return "\\ufffd" if match[1] else match[0]


def text_leaf(body: bytes, zone: Zone = "other") -> Leaf:
    """The whole body as one leaf; not editable where it is not UTF-8."""
    try:
        return Leaf((), body.decode("utf-8"), zone)
    except UnicodeDecodeError:
        return Leaf((), body.decode("utf-8", "replace"), zone, editable=False)


def walk(
    value: Any, zones: ZoneMap = PLAIN, path: Path = (), zone: Zone | None = None
) -> tuple[list[Leaf], str | None]:
    """All strings of ``value`` (constants of the formats left out) and a problem, or None."""
    leaves: list[Leaf] = []
    start = zones.default if zone is None else zone
    try:
        _visit(value, path, start, zones, leaves, None, MAX_DEPTH)
    except _TooMuch as limit:
        return leaves, str(limit)
    return leaves, None


class _TooMuch(Exception):
    """A limit of the walk was reached."""


def _visit(
    node: Any,
    path: Path,
    zone: Zone,
    zones: ZoneMap,
    leaves: list[Leaf],
    name: str | None,
    depth: int,
) -> None:
    kind = type(node)
    if kind is str:
        if node not in _VOCABULARY and node:
            leaves.append(_leaf(node, path, zone, zones, name))
        return
    if kind is not dict and kind is not list:
        return
    if not depth:
        raise _TooMuch(f"nested deeper than {MAX_DEPTH}")
    if len(leaves) > MAX_LEAVES:
        raise _TooMuch(f"more than {MAX_LEAVES} strings")
    if kind is list:
        for index, child in enumerate(node):
            child_kind = type(child)
            if child_kind is str or child_kind is dict or child_kind is list:
                _visit(child, (*path, index), zone, zones, leaves, name, depth - 1)
        return
    free = zone not in _LOCKED
    if free:
        zone = _zone_of(node, zone, zones)
        free = zone not in _LOCKED
    fields = zones.fields
    for key, child in node.items():
        if not key.isalpha() and not _is_name(key):
            leaves.append(Leaf((*path, key), key, zone, is_key=True))
        child_kind = type(child)
        if child_kind is str:
            if child in _VOCABULARY or not child:
                continue
            child_zone = fields.get(key, zone) if free else zone
            leaves.append(_leaf(child, (*path, key), child_zone, zones, key))
        elif child_kind is dict or child_kind is list:
            child_zone = fields.get(key, zone) if free else zone
            _visit(child, (*path, key), child_zone, zones, leaves, key, depth - 1)


def _zone_of(node: dict[str, Any], zone: Zone, zones: ZoneMap) -> Zone:
    role = node.get("role")
    if type(role) is str:
        zone = zones.roles.get(role, zone)
    kind = node.get("type")
    if type(kind) is str:
        zone = zones.types.get(kind, zone)
    return zone


def _is_name(key: str) -> bool:
    return len(key) <= MAX_NAME_LENGTH and key.replace("_", "").isalpha()


def _leaf(text: str, path: Path, zone: Zone, zones: ZoneMap, name: str | None) -> Leaf:
    # Inside what a tool takes and declares the same names are ordinary fields.
    if name in zones.sealed and zone != "tool_arguments" and zone != "tool_definition":
        return Leaf(path, text, zone, False)
    if name in _MEDIA:
        shown = _text_inside(text)
        if shown is not None:
            return Leaf(path, shown, zone, False)
        if is_blob(text):
            return Leaf(path, text, zone, blob=True)
    if name in zones.nested and (zone == "tool_arguments" or text[:1] in "{["):
        return Leaf(path, unescape(text), zone, True, True)
    return Leaf(path, text, zone)


def _text_inside(text: str) -> str | None:
    """The text of a ``data:`` URL of a textual type: a document to read like any other."""
    match = _TEXT_URL.match(text)
    if match is None:
        return None
    try:
        # Strictly: a lenient decoder would pass over words written between the base64.
        return base64.b64decode(text[match.end() :], validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def is_blob(text: str) -> bool:
    """Encoded bytes (base64 or a ``data:`` URL of it) and no text. Linear, stops at a blank."""
    return len(text) >= MIN_BLOB_LENGTH and _BLOB.match(text) is not None
