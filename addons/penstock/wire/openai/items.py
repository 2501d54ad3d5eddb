"""Items of the OpenAI Responses API: what a turn is made of, sent or received.

Source: OpenAI API reference, "Responses", item types. A call the client must run is a
``tool_call``; one the provider ran is a ``server_tool_call``. Unknown items end in ``_call``
or ``_output`` by the API's own habit and are read by it.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import Message, Part
from penstock.wire.loose import as_dicts, as_text
from penstock.wire.openai.content import read_content, read_message, tool_call

# Tools a client declares in the middle of the conversation (Codex does).
MORE_TOOLS = "additional_tools"

# Items the client has to act on, and the field that says what to do.
_CLIENT_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
}


def read_input_item(item: dict[str, Any]) -> Message:
    """One item of ``input`` as a message."""
    kind = as_text(item.get("type")) or "message"
    if kind == "message":
        return read_message(item)
    if kind.endswith("_output"):
        output = item.get("output", item.get("tools"))
        text = "".join(part.text or "" for part in read_content(output))
        return Message("tool", [Part("tool_result", text, id=as_text(item.get("call_id")))])
    if kind == MORE_TOOLS:
        return Message("system")  # the tools are the request's
    if kind.startswith("input_"):
        return Message("user", read_content([item]))
    return Message("assistant", read_item(item))


def read_answer_items(output: Any) -> list[Part]:
    """The parts of all output items, in order."""
    return [part for item in as_dicts(output) for part in read_item(item)]


def read_item(item: dict[str, Any]) -> list[Part]:
    """The parts of one item of the assistant's."""
    kind = as_text(item.get("type")) or ""
    if kind == "message":
        return read_content(item.get("content")) if item.get("role") != "user" else []
    if kind == "reasoning":
        texts = read_content(item.get("summary")) + read_content(item.get("content"))
        text = "".join(part.text or "" for part in texts)
        return [Part("reasoning", text)]  # without text where it came encrypted
    if kind in _CLIENT_CALLS:
        name = as_text(item.get("name")) or kind
        part = tool_call(name, as_text(item.get("call_id")), item.get(_CLIENT_CALLS[kind]))
        return [part] if part else []
    if kind == "mcp_call":
        name = f"mcp:{as_text(item.get('name')) or ''}"
        return [Part("server_tool_call", name=name, arguments=item.get("arguments"))]
    if kind.endswith("_call"):
        return [Part("server_tool_call", name=kind, id=as_text(item.get("id")))]
    return []
