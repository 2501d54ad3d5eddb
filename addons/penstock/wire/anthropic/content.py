"""Anthropic content blocks: what a message is made of, in requests and in answers.

Source: Anthropic API reference, "Messages". The same blocks are sent to Anthropic itself,
to Vertex (rawPredict) and to Bedrock (InvokeModel), singly and in batches. This module
reads blocks and marks their zones; it knows nothing of requests, answers or streams.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Part, Path, ToolDefinition, Zone
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text, at
from penstock.wire.zones import SEALED_FIELDS, Mark, Marks, blob, strings

# Content nests in tool results, documents and search results, one inside another; deeper
# nesting is no format of this API, its strings are still leaves.
CONTENT_DEPTH_MAX = 8

_CLIENT_CALLS = {"tool_use"}
_SERVER_CALLS = {"server_tool_use", "mcp_tool_use"}


def read_content(content: Any, path: Path, zone: Zone, marks: Marks, depth: int = 0) -> list[Part]:
    """The parts of ``content`` (a string or a list of blocks) standing at ``path``."""
    marks[path] = Mark(zone)
    if isinstance(content, str):
        return [Part("text", text=content)]
    if depth >= CONTENT_DEPTH_MAX:
        return []
    parts: list[Part] = []
    for index, block in enumerate(as_list(content)):
        parts += read_block(as_dict(block), (*path, index), zone, marks, depth)
    return parts


def read_block(
    block: dict[str, Any], path: Path, zone: Zone, marks: Marks, depth: int = 0
) -> list[Part]:
    """The parts of one block. Kinds nobody knows give no part; their strings stay leaves."""
    kind = as_text(block.get("type")) or ""
    marks[(*path, "id")] = marks[(*path, "tool_use_id")] = Mark()
    if kind == "text":
        return [Part("text", text=as_text(block.get("text")))]
    if kind in ("thinking", "redacted_thinking"):
        return _thinking(block, path, marks)
    if kind in _CLIENT_CALLS | _SERVER_CALLS:
        marks[(*path, "input")] = Mark("tool_arguments")
        return [call_part(block)]
    if kind == "tool_result":
        return _tool_result(block, path, marks, depth)
    if kind.endswith("_tool_result"):
        return _server_tool_result(block, path, marks)
    if kind in ("image", "document"):
        return _media(block, path, zone, marks, depth)
    if kind == "search_result":
        return read_content(block.get("content"), (*path, "content"), zone, marks, depth + 1)
    if kind == "container_upload":
        return [Part("uri", uri=as_text(block.get("file_id")))]
    return []


def call_part(block: dict[str, Any]) -> Part:
    """The part of a tool call block; the provider's own calls are told from the client's."""
    name = as_text(block.get("name"))
    kind = as_text(block.get("type")) or ""
    if kind == "mcp_tool_use" and name is not None:
        name = f"mcp:{name}"
    return Part(
        "server_tool_call" if kind in _SERVER_CALLS else "tool_call",
        name=name,
        id=as_text(block.get("id")),
        arguments=block.get("input"),
    )


def read_tools(document: dict[str, Any], marks: Marks) -> list[ToolDefinition]:
    """The tools a request declares, the MCP servers the provider is to call among them."""
    marks[("tools",)] = marks[("mcp_servers",)] = Mark("tool_definition")
    tools = [
        ToolDefinition(
            as_text(tool.get("name")) or f"builtin:{as_text(tool.get('type'))}",
            as_text(tool.get("description")),
            tool.get("input_schema"),
        )
        for tool in as_dicts(document.get("tools"))
    ]
    for index, server in enumerate(as_list(document.get("mcp_servers"))):
        # A bearer token meant for that server: a change would break the call.
        marks[("mcp_servers", index, "authorization_token")] = Mark(editable=False)
        marks[("mcp_servers", index, "url")] = Mark(editable=False)
        name = as_text(at(server, "name")) or ""
        tools.append(ToolDefinition(f"mcp:{name}", server_url=as_text(at(server, "url"))))
    return tools


def _thinking(block: dict[str, Any], path: Path, marks: Marks) -> list[Part]:
    # A signed thought sent back must be word for word what was signed.
    signed = bool(block.get("signature")) or block.get("type") == "redacted_thinking"
    marks[path] = Mark("reasoning", editable=not signed)
    return [Part("reasoning", text=as_text(block.get("thinking")))]


def _tool_result(block: dict[str, Any], path: Path, marks: Marks, depth: int) -> list[Part]:
    marks[path] = Mark("tool_result")
    inner = read_content(block.get("content"), (*path, "content"), "tool_result", marks, depth + 1)
    texts = [part.text for part in inner if part.kind in ("text", "tool_result") and part.text]
    identity = as_text(block.get("tool_use_id"))
    results = [Part("tool_result", text=text, id=identity) for text in texts or [""]]
    return results + [part for part in inner if part.kind in ("blob", "uri")]


def _server_tool_result(block: dict[str, Any], path: Path, marks: Marks) -> list[Part]:
    marks[path] = Mark("tool_result")
    text = "\n".join(strings(block.get("content"), without=SEALED_FIELDS | {"type"}))
    return [Part("tool_result", text=text, id=as_text(block.get("tool_use_id")))]


def _media(block: dict[str, Any], path: Path, zone: Zone, marks: Marks, depth: int) -> list[Part]:
    source = as_dict(block.get("source"))
    source_path = (*path, "source")
    kind = source.get("type")
    default_type = "image/*" if block.get("type") == "image" else None
    mime_type = as_text(source.get("media_type")) or default_type
    if kind == "text":
        text = as_text(source.get("data")) or ""
        size_bytes = len(text.encode("utf-8", "surrogatepass"))
        return [Part("text", text=text), Part("blob", mime_type=mime_type, size_bytes=size_bytes)]
    if kind == "content":
        content = source.get("content")
        return read_content(content, (*source_path, "content"), zone, marks, depth + 1)
    data = as_text(source.get("data"))
    if kind == "base64" and data is not None:
        return [blob(data, mime_type, (*source_path, "data"), marks, zone)]
    uri = as_text(source.get("url")) or as_text(source.get("file_id"))
    return [Part("uri", mime_type=mime_type, uri=uri)]
