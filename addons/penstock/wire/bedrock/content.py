"""Bedrock Converse content blocks, tools and usage, in requests and in answers.

Source: Bedrock API reference, "ContentBlock", "ToolConfiguration", "TokenUsage". A block is
an object with one field that says its kind. Amazon's Nova models take the same blocks
through InvokeModel. This module reads and marks; it knows no whole request or answer.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Message, Part, Path, Role, ToolDefinition, Usage, Zone
from penstock.wire.loose import as_count, as_dict, as_list, as_text, at, total
from penstock.wire.zones import Mark, Marks, blob, strings

# Blocks nest in tool results and search results; deeper nesting is no Converse content.
CONTENT_DEPTH_MAX = 8

_TEXT_FORMATS = {"txt": "text/plain", "md": "text/markdown", "html": "text/html", "csv": "text/csv"}


def read_converse(document: dict[str, Any], base: Path, marks: Marks) -> list[Message]:
    """System blocks and messages of a Converse request standing at ``base``."""
    messages: list[Message] = []
    system = read_blocks(document.get("system"), (*base, "system"), "system", marks)
    if system:
        messages.append(Message("system", system))
    for index, message in enumerate(as_list(document.get("messages"))):
        place = (*base, "messages", index, "content")
        said: Role = "assistant" if at(message, "role") == "assistant" else "user"
        zone: Zone = "assistant" if said == "assistant" else "user"
        messages.append(Message(said, read_blocks(at(message, "content"), place, zone, marks)))
    return messages


def read_blocks(content: Any, path: Path, zone: Zone, marks: Marks, depth: int = 0) -> list[Part]:
    """The parts of a list of blocks (or of a bare text) standing at ``path``."""
    marks[path] = Mark(zone)
    if isinstance(content, str):
        return [Part("text", text=content)]
    if depth >= CONTENT_DEPTH_MAX:
        return []
    parts: list[Part] = []
    for index, block in enumerate(as_list(content)):
        parts += _block(as_dict(block), (*path, index), zone, marks, depth)
    return parts


def read_tools(config: Any, path: Path, marks: Marks) -> list[ToolDefinition]:
    """Declared tools by name; other entries as ``builtin:<field>``."""
    marks[path] = Mark("tool_definition")
    tools: list[ToolDefinition] = []
    for tool in as_list(as_dict(config).get("tools")):
        for field, value in as_dict(tool).items():
            name = as_text(at(value, "name")) if field == "toolSpec" else None
            schema = at(value, "inputSchema", "json")
            description = as_text(at(value, "description"))
            tools.append(ToolDefinition(name or f"builtin:{field}", description, schema))
    return tools


def read_usage(raw: dict[str, Any]) -> Usage:
    """Token usage; cached tokens stand outside ``inputTokens`` and are added to the total."""
    fresh = as_count(raw.get("inputTokens"))
    output = as_count(raw.get("outputTokens"))
    read = _either(raw, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _either(raw, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        input_total=None if fresh is None else total(fresh, read, written),
        output_total=output,
        raw=raw,
    )


def call_part(call: dict[str, Any]) -> Part:
    """A tool call; ``server_tool_use`` is run by the provider."""
    server = call.get("type") == "server_tool_use"
    return Part(
        "server_tool_call" if server else "tool_call",
        name=as_text(call.get("name")),
        id=as_text(call.get("toolUseId")),
        arguments=call.get("input"),
    )


def _block(block: dict[str, Any], path: Path, zone: Zone, marks: Marks, depth: int) -> list[Part]:
    text = as_text(block.get("text"))
    if text is not None:
        return [Part("text", text=text)]
    for field, value in block.items():
        place = (*path, field)
        if field == "toolUse":
            marks[(*place, "input")] = Mark("tool_arguments")
            return [call_part(as_dict(value))]
        if field == "toolResult":
            return _tool_result(as_dict(value), place, marks, depth)
        if field == "reasoningContent":
            return _reasoning(as_dict(value), place, marks)
        if field in ("citationsContent", "searchResult"):
            inner = as_dict(value).get("content")
            if field == "citationsContent":
                marks[(*place, "citations")] = Mark("tool_result")
            return read_blocks(inner, (*place, "content"), zone, marks, depth + 1)
        if field in ("image", "document", "video", "audio"):
            return _media(field, as_dict(value), place, zone, marks, depth)
        if field == "guardContent":
            guarded = as_text(at(value, "text", "text"))
            return [] if guarded is None else [Part("text", text=guarded)]
        if field == "json":
            return [Part("text", text="\n".join(strings(value)))]
    return []


def _tool_result(result: dict[str, Any], path: Path, marks: Marks, depth: int) -> list[Part]:
    marks[path] = Mark("tool_result")
    marks[(*path, "toolUseId")] = Mark()
    place = (*path, "content")
    inner = read_blocks(result.get("content"), place, "tool_result", marks, depth + 1)
    texts = [part.text for part in inner if part.kind in ("text", "tool_result") and part.text]
    identity = as_text(result.get("toolUseId"))
    found = [Part("tool_result", text=text, id=identity) for text in texts or [""]]
    return found + [part for part in inner if part.kind in ("blob", "uri")]


def _reasoning(content: dict[str, Any], path: Path, marks: Marks) -> list[Part]:
    # A signed thought sent back must be word for word what was signed.
    signed = bool(at(content, "reasoningText", "signature")) or "redactedContent" in content
    marks[path] = Mark("reasoning", editable=not signed)
    return [Part("reasoning", text=as_text(at(content, "reasoningText", "text")))]


def _media(
    field: str, value: dict[str, Any], path: Path, zone: Zone, marks: Marks, depth: int
) -> list[Part]:
    form = as_text(value.get("format")) or ""
    family = "application" if field == "document" else field
    mime_type = _TEXT_FORMATS.get(form, f"{family}/{form or '*'}")
    source = as_dict(value.get("source"))
    place = (*path, "source")
    data = as_text(source.get("bytes"))
    if data is not None:
        return [blob(data, mime_type, (*place, "bytes"), marks, zone)]
    text = as_text(source.get("text"))
    if text is not None:
        size_bytes = len(text.encode("utf-8", "surrogatepass"))
        return [Part("text", text=text), Part("blob", mime_type=mime_type, size_bytes=size_bytes)]
    if "content" in source:
        content = source["content"]
        return read_blocks(content, (*place, "content"), zone, marks, depth + 1)
    return [Part("uri", mime_type=mime_type, uri=as_text(at(source, "s3Location", "uri")))]


def _either(raw: dict[str, Any], *names: str) -> int | None:
    counts = (as_count(raw.get(name)) for name in names)
    return next((count for count in counts if count is not None), None)
