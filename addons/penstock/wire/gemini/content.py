"""Gemini contents: parts, tools and usage, in requests and in answers.

Sources: Gemini API reference ("Content", "Tool", "UsageMetadata") and Vertex AI reference.
Google's JSON reads field names in camel case and in snake case; both are read here. This
module reads and marks; it knows nothing of whole requests, answers or streams.
"""

from __future__ import annotations

from typing import Any

from penstock.exchange import CallError, Message, Part, Path, Role, ToolDefinition, Usage, Zone
from penstock.wire.loose import as_count, as_dict, as_dicts, as_list, as_text, total
from penstock.wire.zones import Mark, Marks, blob, strings

_DECLARATIONS = ("functionDeclarations", "function_declarations")


def pick(value: dict[str, Any], name: str) -> tuple[str, Any]:
    """The field ``name`` (camel case) under whichever spelling it has, and its value."""
    if name in value:
        return name, value[name]
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return snake, value.get(snake)


def read_contents(contents: Any, path: Path, marks: Marks) -> list[Message]:
    """The messages of ``contents``: a list of contents, one content, or a bare text."""
    if isinstance(contents, dict):
        return [read_content(contents, path, marks)]
    if isinstance(contents, str):
        marks[path] = Mark("user")
        return [Message("user", [Part("text", text=contents)])]
    return [
        read_content(as_dict(content), (*path, index), marks)
        for index, content in enumerate(as_list(contents))
    ]


def read_content(
    content: dict[str, Any], path: Path, marks: Marks, role: Role | None = None
) -> Message:
    """One content as a message; ``role`` overrules the content's own (system instructions)."""
    said: Role = "assistant" if content.get("role") == "model" else "user"
    message = Message(role or said)
    zone: Zone = message.role if message.role in ("system", "assistant") else "user"
    marks[path] = Mark(zone)
    parts = content.get("parts")
    if isinstance(parts, dict):
        message.parts += read_part(parts, (*path, "parts"), zone, marks)
    for index, part in enumerate(as_list(parts)):
        message.parts += read_part(as_dict(part), (*path, "parts", index), zone, marks)
    return message


def read_system(system: Any, path: Path, marks: Marks) -> list[Message]:
    """The system instruction: a content, or a bare text."""
    if isinstance(system, str):
        marks[path] = Mark("system")
        return [Message("system", [Part("text", text=system)])]
    return [read_content(system, path, marks, "system")] if isinstance(system, dict) else []


def read_part(part: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    """The parts of one part (a function response may bring media along)."""
    text = as_text(part.get("text"))
    if text is not None:
        if part.get("thought") is True:
            signed = bool(part.get("thoughtSignature") or part.get("thought_signature"))
            marks[(*path, "text")] = Mark("reasoning", editable=not signed)
            return [Part("reasoning", text=text)]
        return [Part("text", text=text)]
    for name, read in _READERS.items():
        field, value = pick(part, name)
        if isinstance(value, dict):
            return read(value, (*path, field), zone, marks)
    return []


def read_tools(tools: Any, path: Path, marks: Marks) -> list[ToolDefinition]:
    """Declared functions by name; each provider tool as ``builtin:<field>``."""
    marks[path] = Mark("tool_definition")
    found: list[ToolDefinition] = []
    for tool in as_dicts(tools) or [as_dict(tools)]:
        for field, value in tool.items():
            if field not in _DECLARATIONS:
                found.append(ToolDefinition(f"builtin:{field}"))
                continue
            found += [
                ToolDefinition(
                    as_text(declaration.get("name")) or "",
                    as_text(declaration.get("description")),
                    _schema(declaration),
                )
                for declaration in as_dicts(value)
            ]
    return found


def read_usage(raw: dict[str, Any]) -> Usage:
    """Usage metadata. The prompt's count leaves tool use out, the candidates' count thoughts."""
    prompt = as_count(raw.get("promptTokenCount"))
    candidates = as_count(raw.get("candidatesTokenCount"))
    thoughts = as_count(raw.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=prompt,
        output_tokens=candidates,
        cache_read_tokens=as_count(raw.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        input_total=total(prompt, as_count(raw.get("toolUsePromptTokenCount"))),
        output_total=total(candidates, thoughts),
        raw=raw,
    )


def read_error(document: Any) -> CallError | None:
    """A ``google.rpc.Status``; of an unknown status its code is all there is to know."""
    if isinstance(document, list) and document:
        document = document[0]  # the JSON array framing wraps errors too
    error = as_dict(document).get("error")
    if not isinstance(error, dict):
        return None
    kind = as_text(error.get("status"))
    if kind in (None, "UNKNOWN") and as_count(error.get("code")) is not None:
        kind = str(error["code"])
    return CallError(kind, as_text(error.get("message")))


def _schema(declaration: dict[str, Any]) -> Any:
    json_schema = pick(declaration, "parametersJsonSchema")[1]
    return declaration.get("parameters") if json_schema is None else json_schema


def _function_call(call: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[(*path, "args")] = Mark("tool_arguments")
    name, identity = as_text(call.get("name")), as_text(call.get("id"))
    return [Part("tool_call", name=name, id=identity, arguments=call.get("args") or {})]


def _function_response(answer: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[path] = Mark("tool_result")
    texts = strings(answer.get("response")) or [""]
    name, identity = as_text(answer.get("name")), as_text(answer.get("id"))
    found = [Part("tool_result", text=text, name=name, id=identity) for text in texts]
    for index, part in enumerate(as_list(answer.get("parts"))):
        found += read_part(as_dict(part), (*path, "parts", index), "tool_result", marks)
    return found


def _inline_data(data: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    mime_type = as_text(pick(data, "mimeType")[1])
    return [blob(as_text(data.get("data")) or "", mime_type, (*path, "data"), marks, zone)]


def _file_data(data: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    mime_type = as_text(pick(data, "mimeType")[1])
    return [Part("uri", mime_type=mime_type, uri=as_text(pick(data, "fileUri")[1]))]


def _executable_code(code: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[path] = Mark("tool_arguments")
    identity = as_text(code.get("id"))
    return [Part("server_tool_call", name="code_execution", id=identity, arguments=code)]


def _code_result(result: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[path] = Mark("tool_result")
    text = as_text(result.get("output"))
    return [Part("tool_result", text=text, name="code_execution", id=as_text(result.get("id")))]


def _server_call(call: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[(*path, "args")] = Mark("tool_arguments")
    name, identity = as_text(pick(call, "toolType")[1]), as_text(call.get("id"))
    return [Part("server_tool_call", name=name, id=identity, arguments=call.get("args"))]


def _server_response(answer: dict[str, Any], path: Path, zone: Zone, marks: Marks) -> list[Part]:
    marks[path] = Mark("tool_result")
    text = "\n".join(strings(answer.get("response")))
    name, identity = as_text(pick(answer, "toolType")[1]), as_text(answer.get("id"))
    return [Part("tool_result", text=text, name=name, id=identity)]


_READERS = {
    "functionCall": _function_call,
    "functionResponse": _function_response,
    "inlineData": _inline_data,
    "fileData": _file_data,
    "executableCode": _executable_code,
    "codeExecutionResult": _code_result,
    "toolCall": _server_call,
    "toolResponse": _server_response,
}
