"""Anthropic messages: a request into the neutral form, and out of it.

Source: Anthropic API reference, "Messages". Thinking, caching, media, citations and the
provider's own tools have no counterpart and are refused by name.
"""

from __future__ import annotations

from typing import Any

from penstock.route.translate.conversation import (
    Call,
    Conversation,
    Piece,
    Result,
    Text,
    Tool,
    ToolChoice,
    Turn,
    UntranslatableError,
)
from penstock.route.translate.fields import Fields, content_texts, text_part

# "Ranges from 0.0 to 1.0"; the other formats go up to 2.
TEMPERATURE_MAX = 1.0
_CHOICES = {"auto": "auto", "none": "none", "any": "any", "tool": "one"}


def read(document: Any) -> Conversation:
    """The request as a Conversation. UntranslatableError names what it cannot hold."""
    fields = Fields(document)
    fields.says_nothing("thinking", {"type": "disabled"})
    fields.says_nothing("service_tier", "auto")
    said = Conversation(
        model=fields.text("model"),
        max_tokens=fields.count("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.count("top_k"),
        stop=fields.texts("stop_sequences"),
        stream=fields.flag("stream") or False,
    )
    said.system = [text for text, _ in content_texts(fields, "system")]
    for index, message in enumerate(fields.listed("messages")):
        _read_message(said, Fields(message, f"messages[{index}]"))
    for index, tool in enumerate(fields.listed("tools")):
        said.tools.append(_read_tool(Fields(tool, f"tools[{index}]")))
    _read_choice(said, fields)
    if (metadata := fields.take("metadata")) is not None:
        about = Fields(metadata, "metadata")
        said.user = about.text("user_id")
        about.done()
    fields.done()
    return said


def _read_message(said: Conversation, fields: Fields) -> None:
    role = fields.needed("role")
    if role not in ("user", "assistant"):
        raise fields.refuse("role", f"'{role}'")
    content = fields.left.get("content")
    pieces: list[Piece] = []
    if isinstance(content, str):
        pieces = [Text(fields.needed("content"), fields.path("content"))]
    else:
        for index, block in enumerate(fields.listed("content")):
            pieces.append(_read_block(said, block, f"{fields.path('content')}[{index}]"))
    fields.done()
    said.say("user" if role == "user" else "assistant", pieces, fields.where)


def _read_block(said: Conversation, block: Any, where: str) -> Piece:
    fields = Fields(block, where)
    kind = fields.left.get("type")
    if kind == "text":
        return Text(text_part(block, where), where)
    fields.take("type")
    piece: Piece
    if kind == "tool_use":
        arguments = fields.object("input") or {}
        piece = Call(fields.needed("id"), fields.needed("name"), arguments, where)
    elif kind == "tool_result":
        call_id = fields.needed("tool_use_id")
        name = said.name_of(call_id)
        if name is None:
            raise fields.refuse("tool_use_id", "no call before it has this id")
        text = "".join(text for text, _ in content_texts(fields, "content"))
        piece = Result(call_id, name, text, fields.flag("is_error") or False, where)
    else:
        raise fields.refuse("type", f"'{kind}'" if isinstance(kind, str) else "")
    fields.done()
    return piece


def _read_tool(fields: Fields) -> Tool:
    kind = fields.take("type")
    if kind not in (None, "custom"):
        raise fields.refuse("type", f"'{kind}'" if isinstance(kind, str) else "")
    fields.says_nothing("strict", False)
    schema = fields.object("input_schema")
    if schema is None:
        raise fields.refuse("input_schema", "it is missing")
    tool = Tool(fields.needed("name"), fields.text("description"), schema)
    fields.done()
    return tool


def _read_choice(said: Conversation, fields: Fields) -> None:
    value = fields.take("tool_choice")
    if value is None:
        return
    choice = Fields(value, "tool_choice")
    kind = choice.needed("type")
    if kind not in _CHOICES:
        raise choice.refuse("type", f"'{kind}'")
    said.parallel = choice.flag("disable_parallel_tool_use") is not True
    name = choice.needed("name") if kind == "tool" else None
    choice.done()
    said.choice = ToolChoice(_CHOICES[kind], name)  # type: ignore[arg-type] # its own words


# --------------------------------------------------------------------------- out of it


def write(said: Conversation, max_tokens: int | None) -> dict[str, Any]:
    """The request in this format; ``max_tokens`` where the caller named no maximum."""
    most = max_tokens if said.max_tokens is None else said.max_tokens
    if most is None:
        raise UntranslatableError(
            "max_tokens", "the call names none, the target's format needs one, and the target of "
            "the rule has no 'max_tokens'"
        )  # fmt: skip
    if said.temperature is not None and said.temperature > TEMPERATURE_MAX:
        raise UntranslatableError("temperature", f"the target's goes up to {TEMPERATURE_MAX}")
    body: dict[str, Any] = {"model": said.model, "max_tokens": most}
    if said.system:
        body["system"] = [{"type": "text", "text": text} for text in said.system]
    body["messages"] = [_message(turn) for turn in said.turns]
    if said.tools:
        body["tools"] = [_tool(tool) for tool in said.tools]
    choice = _choice(said)
    if choice is not None:
        body["tool_choice"] = choice
    optional = {"temperature": said.temperature, "top_p": said.top_p, "top_k": said.top_k}
    body |= {name: value for name, value in optional.items() if value is not None}
    if said.stop:
        body["stop_sequences"] = said.stop
    if said.user is not None:
        body["metadata"] = {"user_id": said.user}
    if said.stream:
        body["stream"] = True
    return body


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": [_block(piece) for piece in turn.pieces]}


def _block(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, Text):
        return {"type": "text", "text": piece.text}
    if isinstance(piece, Call):
        return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": piece.arguments}
    result = {"type": "tool_result", "tool_use_id": piece.id, "content": piece.text}
    return {**result, "is_error": True} if piece.failed else result


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"name": tool.name, "input_schema": tool.schema}
    return described if tool.description is None else {**described, "description": tool.description}


def _choice(said: Conversation) -> dict[str, Any] | None:
    choice = said.choice
    if choice is None and (said.parallel or not said.tools):
        return None
    mode = "auto" if choice is None else choice.mode
    made: dict[str, Any] = {"type": "tool" if mode == "one" else mode}
    if choice is not None and choice.name is not None:
        made["name"] = choice.name
    if not said.parallel and mode != "none":
        made["disable_parallel_tool_use"] = True
    return made
