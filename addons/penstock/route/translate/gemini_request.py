"""Gemini ``generateContent``: a request into the neutral form, and out of it.

Source: Gemini API reference, "Generating content", "Function calling", "Thought signatures".
Field names may be in camel case or snake case. A call without an id gets one; an answer without
an id is the next open call's of its name.
"""

from __future__ import annotations

import re
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
from penstock.route.translate.fields import Fields, duplicates, json_text
from penstock.route.translate.gemini_schema import json_schema

# "The set of character sequences (up to 5) that will stop output generation".
STOP_MAX = 5
# What stands for the signature of a call another model made; Gemini 3 refuses calls without one
# ("Thought signatures": history transferred from a different model).
FOREIGN_SIGNATURE = "skip_thought_signature_validator"
_UNSIGNED = re.compile(r"(?:.*/)?gemini-[12][.\-]")
_MODES = {"auto": "AUTO", "none": "NONE", "any": "ANY", "one": "ANY"}


def read(document: Any, model: str | None, stream: bool) -> Conversation:
    """The request as a Conversation. UntranslatableError names what it cannot hold."""
    fields = Fields(document, camel=True)
    fields.says_nothing("safetySettings")
    fields.says_nothing("labels")
    said = Conversation(model=model, stream=stream)
    said.system = _read_system(fields)
    for index, content in enumerate(_contents(fields)):
        _read_content(said, Fields(content, f"contents[{index}]", camel=True))
    for index, tool in enumerate(fields.listed("tools")):
        said.tools += _read_tools(Fields(tool, f"tools[{index}]", camel=True))
    said.choice = _read_choice(fields)
    if (config := fields.take("generationConfig")) is not None:
        _read_config(said, Fields(config, fields.path("generationConfig"), camel=True))
    fields.done()
    return said


def _contents(fields: Fields) -> list[Any]:
    value = fields.left.get("contents")
    if isinstance(value, dict):
        return [fields.take("contents")]
    if isinstance(value, str):
        fields.take("contents")
        return [{"role": "user", "parts": [{"text": value}]}]
    return fields.listed("contents")


def _read_system(fields: Fields) -> list[str]:
    value, where = fields.take("systemInstruction"), fields.path("systemInstruction")
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    content = Fields(value, where, camel=True)
    content.take("role")  # it is the system's, whatever stands here
    texts = []
    for index, part in enumerate(_parts(content)):
        piece = Fields(part, f"{where}.parts[{index}]", camel=True)
        texts.append(piece.needed("text"))
        piece.done()
    content.done()
    return texts


def _parts(content: Fields) -> list[Any]:
    value = content.left.get("parts")
    return [content.take("parts")] if isinstance(value, dict) else content.listed("parts")


def _read_content(said: Conversation, content: Fields) -> None:
    role = content.text("role") or "user"
    if role not in ("user", "model", "function"):
        raise content.refuse("role", f"'{role}'")
    pieces: list[Piece] = []
    for index, part in enumerate(_parts(content)):
        fields = Fields(part, f"{content.path('parts')}[{index}]", camel=True)
        fields.says_nothing("thought", False)
        pieces.append(_read_part(said, fields, pieces))
        fields.done()
    content.done()
    said.say("assistant" if role == "model" else "user", pieces, content.where)


def _read_part(said: Conversation, fields: Fields, before: list[Piece]) -> Piece:
    text = fields.text("text")
    if text is not None:
        return Text(text, fields.where)
    if (value := fields.take("functionCall")) is not None:
        call = Fields(value, fields.path("functionCall"), camel=True)
        name, arguments = call.needed("name"), call.object("args") or {}
        made = f"call_{len(said.turns)}_{len(before)}"
        piece: Piece = Call(call.text("id") or made, name, arguments, fields.where)
        call.done()
        return piece
    if (value := fields.take("functionResponse")) is not None:
        return _read_result(
            said, Fields(value, fields.path("functionResponse"), camel=True), before
        )
    fields.done()  # names what this part is
    raise UntranslatableError(fields.where, "it has no text")


def _read_result(said: Conversation, answer: Fields, before: list[Piece]) -> Result:
    name, call_id = answer.needed("name"), answer.text("id")
    response = answer.object("response") or {}
    answer.says_nothing("parts")
    answer.says_nothing("willContinue", False)
    answer.done()
    calls = [p for p in (said.turns[-1].pieces if said.turns else []) if isinstance(p, Call)]
    if said.turns and said.turns[-1].role == "user" and len(said.turns) > 1:
        calls = [p for p in said.turns[-2].pieces if isinstance(p, Call)]
        before = [*said.turns[-1].pieces, *before]
    answered = {piece.id for piece in before if isinstance(piece, Result)}
    open_calls = [call for call in calls if call.id not in answered and call.name == name]
    found = next((call for call in open_calls if call_id in (None, call.id)), None)
    if found is None:
        raise answer.refuse("name" if call_id is None else "id", "no call before it is open for it")
    text, failed = _said_in(response)
    return Result(found.id, name, text, failed, answer.where)


def _said_in(response: dict[str, Any]) -> tuple[str, bool]:
    """``output`` and ``error`` are the documented keys; any other object is its JSON text."""
    if len(response) == 1:
        [(key, value)] = response.items()
        if key in ("output", "error") and isinstance(value, str):
            return value, key == "error"
    return json_text(response), False


def _read_tools(fields: Fields) -> list[Tool]:
    tools = []
    place = fields.path("functionDeclarations")
    for index, value in enumerate(fields.listed("functionDeclarations")):
        one = Fields(value, f"{place}[{index}]", camel=True)
        own = one.take("parameters")
        schema = one.object("parametersJsonSchema")
        if schema is None:
            empty = {"type": "object", "properties": {}}
            schema = empty if own is None else json_schema(own, one.path("parameters"))
        elif own is not None:
            raise one.refuse("parameters", "parametersJsonSchema says it too")
        one.says_nothing("behavior", "BLOCKING")
        tools.append(Tool(one.needed("name"), _description(one), schema))
        one.done()
    fields.done()
    return tools


def _description(one: Fields) -> str | None:
    """What the function does, and what it returns: other formats say both in words."""
    described = one.text("description")
    own, returns = one.take("response"), one.object("responseJsonSchema")
    if own is not None:
        returns = json_schema(own, one.path("response"))
    if not returns:
        return described
    said = f"Returns: {json_text(returns)}"
    return f"{described}\n\n{said}" if described else said


def _read_choice(fields: Fields) -> ToolChoice | None:
    value = fields.take("toolConfig")
    if value is None:
        return None
    config = Fields(value, fields.path("toolConfig"), camel=True)
    value = config.take("functionCallingConfig")
    config.done()
    if value is None:
        return None
    calling = Fields(value, config.path("functionCallingConfig"), camel=True)
    mode, names = calling.text("mode") or "AUTO", calling.texts("allowedFunctionNames")
    calling.done()
    if mode == "ANY" and len(names) == 1:
        return ToolChoice("one", names[0])
    if names:
        raise calling.refuse("allowedFunctionNames")
    if mode not in ("AUTO", "NONE", "ANY"):
        raise calling.refuse("mode", f"'{mode}'")
    return ToolChoice({"AUTO": "auto", "NONE": "none", "ANY": "any"}[mode])  # type: ignore[arg-type]


def _read_config(said: Conversation, config: Fields) -> None:
    config.says_nothing("candidateCount", 1)
    config.says_nothing("responseMimeType", "text/plain")
    config.says_nothing("responseModalities", ["TEXT"])
    config.says_nothing("responseLogprobs", False)
    said.max_tokens = config.count("maxOutputTokens")
    said.temperature = config.number("temperature")
    said.top_p, said.top_k = config.number("topP"), config.count("topK")
    said.stop = config.texts("stopSequences")
    config.done()


# --------------------------------------------------------------------------- out of it


def write(said: Conversation, signed: bool | None = None) -> dict[str, Any]:
    """The request in this format. The model and streaming stand in the URL.

    ``signed``: calls need a signature; by default as the model's name says.
    """
    if said.user is not None:
        raise UntranslatableError("user", "the target's format has no such field")
    if not said.parallel:
        raise UntranslatableError(
            "parallel_tool_calls", "the target's format cannot ask for one call at a time"
        )
    if len(said.stop) > STOP_MAX:
        raise UntranslatableError("stop", f"the target takes {STOP_MAX} sequences at most")
    if duplicates(tool.name for tool in said.tools):
        raise UntranslatableError("tools", "two of them have one name")
    if signed is None:
        signed = _UNSIGNED.match(said.model or "") is None
    body: dict[str, Any] = {"contents": [_content(turn, signed) for turn in said.turns]}
    if said.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in said.system]}
    if said.tools:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in said.tools]}]
    if said.choice is not None:
        calling: dict[str, Any] = {"mode": _MODES[said.choice.mode]}
        if said.choice.name is not None:
            calling["allowedFunctionNames"] = [said.choice.name]
        body["toolConfig"] = {"functionCallingConfig": calling}
    config = {
        "maxOutputTokens": said.max_tokens,
        "temperature": said.temperature,
        "topP": said.top_p,
        "topK": said.top_k,
        "stopSequences": said.stop or None,
    }
    config = {name: value for name, value in config.items() if value is not None}
    if config:
        body["generationConfig"] = config
    return body


def _content(turn: Turn, signed: bool) -> dict[str, Any]:
    parts = [_part(piece) for piece in turn.pieces]
    calls = [part for part in parts if "functionCall" in part]
    if calls and signed:
        calls[0]["thoughtSignature"] = FOREIGN_SIGNATURE
    return {"role": "model" if turn.role == "assistant" else "user", "parts": parts}


def _part(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, Text):
        return {"text": piece.text}
    if isinstance(piece, Call):
        call = {"id": piece.id, "name": piece.name, "args": piece.arguments}
        return {"functionCall": call}
    response = {"error" if piece.failed else "output": piece.text}
    return {"functionResponse": {"id": piece.id, "name": piece.name, "response": response}}


def _tool(tool: Tool) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tool.name, "parametersJsonSchema": tool.schema}
    return made if tool.description is None else {**made, "description": tool.description}
