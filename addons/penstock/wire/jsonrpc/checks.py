"""What makes an MCP request ambiguous, so that it is refused and not guessed at.

What was judged must be what the server reads. Parsers differ on duplicate keys, letter case,
encodings and batches, and servers may route by header instead of by body: each of these has
let a call past a gateway before. Sources: RFC 8259, 4 and 8.1; MCP 2026-07-28, Streamable
HTTP ("Server Validation"), 2025-06-18 (batches removed); CVE-2026-27896.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from penstock.wire.jsonrpc.shape import (
    BATCH_VERSION,
    METHOD_HEADER,
    NAME_HEADER,
    NAMED,
    ROUTED,
    VERSION_HEADER,
    VERSION_META,
    kind_of,
)

# Errors a server would give for the same request: their codes tell client authors where to look.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
HEADER_MISMATCH = -32020  # MCP 2026-07-28, "Error Codes"

# Longest batch read: the one revision that had batches was used with a handful of messages.
BATCH_MESSAGES_MAX = 100

_MESSAGE_KEYS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMETER_KEYS = frozenset(
    {
        "name",
        "arguments",
        "uri",
        "_meta",
        "cursor",
        "task",
        "taskId",
        "ref",
        "argument",
        "context",
        "protocolVersion",
        "capabilities",
        "clientInfo",
        "inputResponses",
        "requestState",
        "level",
    }
)
_META_KEYS = frozenset({VERSION_META})
_FOLDED = {
    keys: frozenset(key.casefold() for key in keys)
    for keys in (_MESSAGE_KEYS, _PARAMETER_KEYS, _META_KEYS)
}
_ENCODED = re.compile(r"=\?base64\?(?P<payload>[^?]*)\?=", re.IGNORECASE)


def check(document: Any, headers: Mapping[str, str]) -> str | None:
    """The first thing wrong with a parsed MCP request body, as a sentence; None when all is well.

    ``document`` is what a strict parser read; duplicate keys were found by it.
    """
    if isinstance(document, list):
        return _check_batch(document, headers)
    return _check_message(document) or _check_headers(document, headers)


def code_of(problem: str) -> int:
    """The JSON-RPC error code that belongs to a problem found here or by the JSON reader."""
    if problem.startswith("header"):
        return HEADER_MISMATCH
    unreadable = ("not JSON", "not valid UTF-8", "nested too deep", "the body")
    return PARSE_ERROR if problem.startswith(unreadable) else INVALID_REQUEST


def decode_header(value: str) -> str | None:
    """A header's value as text: plain, or base64 in ``=?base64?…?=``; None if that is broken.

    Only the canonical base64 of UTF-8 text is taken: two spellings of one name would let
    header and body agree for one reader and not for the next.
    """
    encoded = _ENCODED.fullmatch(value)
    if encoded is None:
        return value
    payload = encoded["payload"]
    try:
        decoded = base64.b64decode(payload, validate=True)
        text = decoded.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(decoded).decode("ascii") == payload else None


def _check_batch(batch: list[Any], headers: Mapping[str, str]) -> str | None:
    if headers.get(VERSION_HEADER, BATCH_VERSION) != BATCH_VERSION:
        return "a batch, which this protocol version does not have"
    if not batch:
        return "an empty batch"
    if len(batch) > BATCH_MESSAGES_MAX:
        return f"a batch of more than {BATCH_MESSAGES_MAX} messages"
    for message in batch:
        if problem := _check_message(message):
            return problem
    asked = [message["id"] for message in batch if kind_of(message) == "request"]
    if len(set(asked)) < len(asked):
        return "a batch in which an id stands twice"
    named = [message for message in batch if message.get("method") in NAMED]
    if len(named) > 1 and (METHOD_HEADER in headers or NAME_HEADER in headers):
        return "header Mcp-Method or Mcp-Name beside a batch, of which it can name only one call"
    return _check_headers(named[0], headers) if named else None


def _check_message(message: Any) -> str | None:
    """What is wrong with one message by itself."""
    if not isinstance(message, dict):
        return "a message that is not a JSON object"
    kind = kind_of(message)
    if problem := _check_keys(message, _MESSAGE_KEYS, "message"):
        return problem
    if kind == "none":
        return "neither a request nor a response"
    if message.get("jsonrpc") != "2.0":
        return "a message without jsonrpc 2.0"
    if kind == "response" and "method" in message:
        return "a method that is not a string"
    if kind == "request" and ("result" in message or "error" in message):
        return "a request that is a response as well"
    if "id" in message and not _is_id(message["id"]) and kind != "response":
        return "an id that is neither a string nor a whole number"
    if kind == "response":
        return None
    return _check_parameters(message["method"], message.get("params"))


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _check_parameters(method: str, params: Any) -> str | None:
    if params is not None and not isinstance(params, dict):
        return "params that are not an object"
    params = params or {}
    if problem := _check_keys(params, _PARAMETER_KEYS, "params"):
        return problem
    meta = params.get("_meta")
    if isinstance(meta, dict) and (problem := _check_keys(meta, _META_KEYS, "_meta")):
        return problem
    wanted = NAMED.get(method)
    if wanted and not isinstance(params.get(wanted), str):
        return f"{method} without a {wanted} that is a string"
    arguments = params.get("arguments")
    if method in ("tools/call", "prompts/get") and not isinstance(arguments, dict | None):
        return "arguments that are not an object"
    return None


def _check_keys(members: Mapping[str, Any], known: frozenset[str], where: str) -> str | None:
    """Keys that a parser ignoring letter case, or a prototype, would read as a protocol key."""
    for key in members:
        if key not in known and key.casefold() in _FOLDED[known]:
            return f"a key of the {where} that differs from a protocol key only in letter case"
        if key == "__proto__":
            return f"a __proto__ key in the {where}"
    return None


def _check_headers(message: dict[str, Any], headers: Mapping[str, str]) -> str | None:
    """Header and body must say the same; header values are never repeated in the problem."""
    method = message.get("method")
    params = message.get("params") or {}
    said = headers.get(METHOD_HEADER)
    if said is not None and isinstance(method, str) and decode_header(said) != method:
        return "header Mcp-Method does not say what the body says"
    name = headers.get(NAME_HEADER)
    wanted = ROUTED.get(method) if isinstance(method, str) else None
    if name is not None and wanted and decode_header(name) != params.get(wanted):
        return "header Mcp-Name does not say what the body says"
    meta = params.get("_meta")
    version = meta.get(VERSION_META) if isinstance(meta, dict) else None
    if version is not None and headers.get(VERSION_HEADER, version) != version:
        return "header MCP-Protocol-Version does not say what the body says"
    return None
