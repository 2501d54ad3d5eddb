"""Which zone each string of an MCP message belongs to, and which must never be changed.

Everything a server sends is untrusted text on its way to a model: results, errors, tool
definitions, prompts, instructions, elicitation and sampling texts, log and progress lines.
Opaque state (cursors, tokens, request state, ``_meta``) and names that headers mirror are
read but never edited. Source: MCP 2026-07-28, schema; checklist in its sections 3 and 13.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Path, Zone
from penstock.wire.jsonrpc.shape import NAMED, kind_of
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.zones import Mark, Marks, blob

# Members that are state, identity or vocabulary: changing one breaks the conversation.
_SEALED = (
    "_meta",
    "cursor",
    "nextCursor",
    "requestState",
    "progressToken",
    "requestId",
    "taskId",
    "subscriptionId",
    "protocolVersion",
    "resultType",
    "cacheScope",
    "task",
)
_ENVELOPE = ("jsonrpc", "id", "method")
_DEFINITIONS = ("tools", "prompts", "resources", "resourceTemplates")


def mark_request(message: dict[str, Any], path: Path, marks: Marks) -> None:
    """Mark a client's message at ``path``: its arguments, its answers to the server."""
    _seal(message, path, _ENVELOPE, marks)
    method = message.get("method")
    if kind_of(message) == "response":
        marks[(*path, "result")] = Mark("user")
        _seal(as_dict(message.get("result")), (*path, "result"), _SEALED, marks, "user")
        return
    params = as_dict(message.get("params"))
    below = (*path, "params")
    _seal(params, below, _SEALED, marks)
    named = NAMED.get(method) if isinstance(method, str) else None
    if named:
        marks[(*below, named)] = Mark(editable=False)
    if method in NAMED:
        marks[(*below, "arguments")] = Mark("tool_arguments")
    marks[(*below, "inputResponses")] = Mark("user")


def mark_answer(message: dict[str, Any], path: Path, marks: Marks) -> None:
    """Mark a server's message at ``path``: result, error, notification or request."""
    _seal(message, path, _ENVELOPE, marks)
    for member in ("result", "error", "params"):
        marks[(*path, member)] = Mark("tool_result")
    below = (*path, "result") if "result" in message else (*path, "params")
    result = as_dict(message.get("result") or message.get("params"))
    _seal(result, below, _SEALED, marks, "tool_result")
    for listed in _DEFINITIONS:
        if listed not in result:
            continue
        marks[(*below, listed)] = Mark("tool_definition")
        for index, element in enumerate(as_list(result.get(listed))):
            _seal(
                as_dict(element), (*below, listed, index), ("name", "uri"), marks, "tool_definition"
            )
    marks[(*below, "instructions")] = Mark("tool_definition")
    for listed in ("content", "contents"):
        for index, block in enumerate(as_list(result.get(listed))):
            _mark_media(as_dict(block), (*below, listed, index), marks)
    for index, turn in enumerate(as_list(result.get("messages"))):
        content = as_dict(turn).get("content")
        for at, block in enumerate(content if isinstance(content, list) else [content]):
            place = (at,) if isinstance(content, list) else ()
            _mark_media(as_dict(block), (*below, "messages", index, "content", *place), marks)


def _mark_media(block: dict[str, Any], path: Path, marks: Marks) -> None:
    """Mark the bytes of an image, audio or resource block, so they are not read as words."""
    mime_type = as_text(block.get("mimeType"))
    for member in ("data", "blob"):
        if isinstance(block.get(member), str):
            blob(block[member], mime_type, (*path, member), marks, "tool_result")
    resource = as_dict(block.get("resource"))
    if isinstance(resource.get("blob"), str):
        mime_type = as_text(resource.get("mimeType"))
        blob(resource["blob"], mime_type, (*path, "resource", "blob"), marks, "tool_result")


def _seal(
    members: dict[str, Any], path: Path, names: tuple[str, ...], marks: Marks, zone: Zone = "other"
) -> None:
    for name in names:
        if name in members:
            marks[(*path, name)] = Mark(zone, editable=False)
