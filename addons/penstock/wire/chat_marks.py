"""Zones of a chat in the common shape: a list of messages with a role and content each.

OpenAI's shape and its relatives (Cohere v2, Ollama, vendor bodies on Bedrock). The parts of
such messages are read by ``openai_content``; this module only marks where they stand.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Message, Path, Zone
from penstock.wire.loose import as_dict, as_list, as_text
from penstock.wire.openai.content import read_message
from penstock.wire.zones import MEDIA, Mark, Marks

_ZONES: dict[str, Zone] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "tool": "tool_result",
    "function": "tool_result",
    "ipython": "tool_result",
}
_REASONING = ("reasoning_content", "reasoning", "thinking", "tool_plan")


def read_chat(messages: Any, path: Path, marks: Marks) -> list[Message]:
    """The messages standing at ``path``, their zones marked."""
    return [
        read_marked(as_dict(message), (*path, index), marks)
        for index, message in enumerate(as_list(messages))
    ]


def read_marked(message: dict[str, Any], path: Path, marks: Marks) -> Message:
    """One message standing at ``path``, its zones marked."""
    role = (as_text(message.get("role")) or "").lower()
    marks[path] = Mark(_ZONES.get(role, "user"))
    marks[(*path, "role")] = Mark()
    for field in _REASONING:
        marks[(*path, field)] = Mark("reasoning")
    for index in range(len(as_list(message.get("images")))):
        marks[(*path, "images", index)] = MEDIA
    mark_calls(message, path, marks)
    for index, item in enumerate(as_list(message.get("content"))):
        if as_dict(item).get("type") in ("thinking", "reasoning"):
            marks[(*path, "content", index)] = Mark("reasoning")
    return read_message(message)


def mark_calls(message: dict[str, Any], path: Path, marks: Marks) -> None:
    """Mark the tool calls of a message; arguments may be an object or JSON in a string."""
    for index, call in enumerate(as_list(message.get("tool_calls"))):
        place = (*path, "tool_calls", index)
        marks[place] = Mark("tool_arguments")
        arguments = as_dict(as_dict(call).get("function")).get("arguments")
        if isinstance(arguments, str) and arguments[:1] in "{[":
            marks[(*place, "function", "arguments")] = Mark("tool_arguments", nested=True)
