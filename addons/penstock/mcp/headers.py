"""Keep the headers that mirror a tool's arguments true when an argument is edited.

Since 2026-07-28 a client repeats chosen arguments in ``Mcp-Param-*`` headers, and servers
refuse a call whose header and body differ. So an edit of the body alone would break the call,
and would still send the secret, in the header. Source: MCP 2026-07-28, "Custom Headers from
Tool Parameters".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.wire.jsonrpc.checks import decode_header
from penstock.wire.jsonrpc.shape import PARAMETER_PREFIX
from penstock.wire.loose import as_dict, at

# Arguments looked at for one header: schemas annotate a handful of scalars near the root.
SCALARS_MAX = 10_000

_PLAIN = re.compile(r"[\x20-\x7e]*")

ArgumentPath = tuple[str | int, ...]


def encode_header(value: str) -> str:
    """``value`` as a header value: plain where that survives, else ``=?base64?…?=``."""
    plain = _PLAIN.fullmatch(value) and value == value.strip() and not value.startswith("=?")
    if plain:
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode('ascii')}?="


def follow_edits(headers: Mapping[str, str], before: Any, after: Any) -> dict[str, str]:
    """The ``Mcp-Param-*`` headers that have to change with an edited request body.

    ``before`` and ``after`` are the parsed bodies of one ``tools/call``; names are lower case.
    A header belongs to the argument whose value it repeats (of several, the one it is named
    after). Only headers that change are in the result.
    """
    old = as_dict(at(before, "params", "arguments"))
    new = at(after, "params", "arguments")
    changed: dict[str, str] = {}
    for name, value in headers.items():
        if not name.startswith(PARAMETER_PREFIX):
            continue
        paths = [path for path, text in _scalars(old) if text == decode_header(value)]
        edited = [path for path in paths if _text(at(new, *path)) != _text(at(old, *path))]
        if not edited:
            continue
        token = name.removeprefix(PARAMETER_PREFIX)
        path = next((p for p in edited if str(p[-1]).casefold() == token), edited[0])
        changed[name] = encode_header(_text(at(new, *path)) or "")
    return changed


def _scalars(arguments: dict[str, Any]) -> Iterator[tuple[ArgumentPath, str]]:
    waiting: list[tuple[ArgumentPath, Any]] = [((), arguments)]
    for _ in range(SCALARS_MAX):
        if not waiting:
            return
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, key), child) for key, child in value.items()]
        elif (text := _text(value)) is not None:
            yield path, text


def _text(value: Any) -> str | None:
    """A scalar as clients write it into a header; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
