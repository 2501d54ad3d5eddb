"""Tools a caller may not see are taken out of list answers; nothing else of them moves.

Array elements leave as byte spans: no reserialisation, order and cursors stay. A list that
depends on the caller must not be shared by a cache, so a modern answer's ``cacheScope``
becomes ``private`` and its ``ttlMs`` is capped, or a change of policy would take effect late.
Filtering is courtesy; calls are checked whether their tool was listed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

from penstock.exchange import Path
from penstock.mcp.list_spans import Written, replace_beside, without_elements
from penstock.wire.json_leaves import Reading, parse
from penstock.wire.loose import as_dict

# A filtered list may be kept this long by a client: the delay of a revocation in its view.
TTL_MILLISECONDS_MAX = 60_000

Hidden = Callable[[Any], bool]


def filter_list_answer(
    body: bytes,
    hidden: Hidden,
    member: str = "tools",
    reading: Reading | None = None,
    written: Written = orjson.dumps,
) -> bytes:
    """A JSON answer without the elements of ``result.<member>`` that are hidden.

    ``hidden`` is asked once for each element. An answer without such a list comes back as it
    is. A list that parsers could read differently (duplicate keys) becomes a JSON-RPC error:
    what was judged must be what arrives. ``reading`` is the body as parsed, if it was, and
    ``written`` gives its elements as compact JSON.
    """
    if reading is None:
        if member.encode() not in body and b"\\" not in body:
            return body
        reading = parse(body)
    document = reading.value
    batch = isinstance(document, list)
    for index, message in enumerate(document if isinstance(document, list) else [document]):
        result = as_dict(as_dict(message).get("result"))
        if not isinstance(result.get(member), list):
            continue
        if reading.problem is not None:
            return _withheld(message)
        path = (index, "result") if batch else ("result",)
        listed = result[member]
        removed = [index for index, element in enumerate(listed) if hidden(element)]
        if removed:
            body = without_elements(body, (*path, member), listed, removed, written)
        if private := _made_private(path, result):
            gone = set(removed)
            listed = [element for at, element in enumerate(listed) if at not in gone]
            body = replace_beside(body, (*path, member), listed, private, written)
    return body


def _made_private(path: Path, result: dict[str, Any]) -> dict[Path, bytes]:
    """What has to change about caching. Its fields exist since 2026-07-28; others get none."""
    changed: dict[Path, bytes] = {}
    if "cacheScope" in result and result["cacheScope"] != "private":
        changed[(*path, "cacheScope")] = b'"private"'
    if "ttlMs" in result and not _short_enough(result["ttlMs"]):
        changed[(*path, "ttlMs")] = str(TTL_MILLISECONDS_MAX).encode()
    return changed


def _short_enough(lifetime: Any) -> bool:
    return isinstance(lifetime, int | float) and lifetime <= TTL_MILLISECONDS_MAX


def _withheld(message: Any) -> bytes:
    """The answer given for a list that cannot be judged."""
    ident = as_dict(message).get("id")
    text = "The server's list was withheld: it cannot be read safely."
    error = {"code": -31403, "message": text}
    return json.dumps({"jsonrpc": "2.0", "id": ident, "error": error}).encode()
