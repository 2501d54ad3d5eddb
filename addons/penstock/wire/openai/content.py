"""OpenAI message content, tool calls and tool definitions as parts.

Covers Chat Completions and Responses shapes and the oddities of compatible services:
content lists with thinking parts (Mistral), empty stand-ins for calls (Snowflake),
reasoning under three names. Never raises; what it does not know it leaves to the leaves.
"""

from __future__ import annotations

from typing import Any

import orjson

from penstock.exchange import Message, Part, PartKind, Role, ToolDefinition
from penstock.wire.json_leaves import is_blob
from penstock.wire.loose import as_dict, as_dicts, as_list, as_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_REASONING = ("reasoning_content", "reasoning")
_TEXT_KINDS: dict[str, PartKind] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "thinking": "reasoning",
    "refusal": "refusal",
}
# Fields of a tool definition that are its name in one format or another.
_MEDIA = {"image": "image/*", "audio": "audio/*", "video": "video/*"}


def read_message(message: dict[str, Any]) -> Message:
    """One message of a chat request or answer."""
    role = _ROLES.get(as_text(message.get("role")) or "", "user")
    parts: list[Part] = []
    if role == "tool":
        text = "".join(part.text or "" for part in read_content(message.get("content")))
        parts.append(
            Part("tool_result", text, as_text(message.get("name")), _id(message, "tool_call_id"))
        )
        return Message(role, parts)
    if role == "assistant":
        parts += _reasoning(message)
    parts += read_content(message.get("content"))
    refusal = as_text(message.get("refusal"))
    if refusal:
        parts.append(Part("refusal", refusal))
    transcript = as_text(as_dict(message.get("audio")).get("transcript"))
    if transcript:
        parts.append(Part("text", transcript))
    parts += read_calls(message)
    return Message(role, parts)


def read_content(content: Any) -> list[Part]:
    """Content as a string, or as a list of parts."""
    if type(content) is str:
        return [Part("text", content)]
    parts: list[Part] = []
    for item in as_list(content):
        if type(item) is str:
            parts.append(Part("text", item))
        elif type(item) is dict:
            parts.append(_part(item))
    return parts


def _part(item: dict[str, Any]) -> Part:
    kind = as_text(item.get("type")) or "text"
    if kind in _TEXT_KINDS:
        text = item.get("text")
        if text is None:
            text = item.get(kind)
        if isinstance(text, list):
            text = "".join(part.text or "" for part in read_content(text))
        return Part(_TEXT_KINDS[kind], as_text(text) or "")
    transcript = as_text(item.get("transcript"))
    if transcript:
        return Part("text", transcript)  # sound, and what it says (Realtime)
    for medium, mime_type in _MEDIA.items():
        if medium in kind:
            return _media(item, kind, mime_type)
    return _media(item, kind, "application/octet-stream")


def _media(item: dict[str, Any], kind: str, mime_type: str) -> Part:
    inner = item.get(kind)
    fields = inner if isinstance(inner, dict) else item
    identifier = as_text(fields.get("file_id"))
    if identifier:
        return Part("uri", uri=identifier, mime_type=mime_type)
    for name in ("url", "image_url", "file_url", "data", "file_data"):
        value = as_text(fields.get(name))
        if not value:
            continue
        if value.startswith("data:") or name in ("data", "file_data") or is_blob(value):
            size = (len(value) - value.find(",") - 1) * 3 // 4 - value.count("=", len(value) - 2)
            return Part("blob", mime_type=_data_type(value) or mime_type, size_bytes=size)
        return Part("uri", uri=value, mime_type=mime_type)
    return Part("uri", uri=as_text(inner), mime_type=mime_type)


def _data_type(url: str) -> str | None:
    if not url.startswith("data:"):
        return None
    return url[5 : min(url.find(";") if ";" in url[:100] else 5, 100)] or None


def _reasoning(message: dict[str, Any]) -> list[Part]:
    for name in _REASONING:
        text = as_text(message.get(name))
        if text:
            return [Part("reasoning", text)]
    details = [
        as_text(detail.get("text")) or as_text(detail.get("summary")) or ""
        for detail in as_dicts(message.get("reasoning_details"))
    ]
    return [Part("reasoning", "".join(details))] if details else []


def read_calls(message: dict[str, Any]) -> list[Part]:
    """Tool calls of an assistant message; the legacy ``function_call`` too."""
    parts = []
    for call in as_dicts(message.get("tool_calls")):
        function = as_dict(call.get("function")) or as_dict(call.get("custom"))
        arguments = function.get("arguments", function.get("input"))
        part = tool_call(as_text(function.get("name")), _id(call, "id"), arguments)
        if part is not None:
            parts.append(part)
    legacy = as_dict(message.get("function_call"))
    part = tool_call(as_text(legacy.get("name")), None, legacy.get("arguments"))
    return [*parts, part] if part is not None else parts


def tool_call(name: str | None, identifier: str | None, arguments: Any) -> Part | None:
    """A call the client has to run; None for an empty stand-in."""
    if not name:
        return None
    return Part("tool_call", name=name, id=identifier, arguments=parse_arguments(arguments))


def parse_arguments(arguments: Any) -> Any:
    """Arguments as the object they are; the raw string where they are no JSON."""
    if type(arguments) is not str:
        return arguments
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


def read_tools(document: dict[str, Any]) -> list[ToolDefinition]:
    """Tools a request declares. Provider tools are ``builtin:<type>``."""
    tools = [tool for declared in as_dicts(document.get("tools")) for tool in _tool(declared)]
    for function in as_dicts(document.get("functions")):
        tools.append(_definition(function))
    return tools


def _tool(declared: dict[str, Any]) -> list[ToolDefinition]:
    kind = as_text(declared.get("type")) or "function"
    if kind == "namespace":
        return [tool for inner in as_dicts(declared.get("tools")) for tool in _tool(inner)]
    if kind in ("function", "custom"):
        return [_definition(as_dict(declared.get(kind)) or declared)]
    return [
        ToolDefinition(
            f"builtin:{kind}",
            as_text(declared.get("server_description")),
            server_url=as_text(declared.get("server_url")),
        )
    ]


def _definition(function: dict[str, Any]) -> ToolDefinition:
    return ToolDefinition(
        as_text(function.get("name")) or "",
        as_text(function.get("description")),
        function.get("parameters", function.get("format")),
    )


def _id(fields: dict[str, Any], name: str) -> str | None:
    return as_text(fields.get(name))
