"""OpenAI chat completions: a request into the neutral form, and out of it.

Source: OpenAI API reference, "Create chat completion". Fields that say what their absence says
(``n: 1``, ``response_format: {type: text}``) are read; all others that are not named here are
refused.
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
from penstock.route.translate.fields import Fields, arguments_of, content_texts, json_text

# "Up to 4 sequences where the API will stop".
STOP_MAX = 4
# These know the current name; compatible services as a rule know the older one only.
CURRENT = ("openai", "azure")
# What these say is what is done without them.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "store": (False,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto",),
    "modalities": (["text"],),
}


def read(document: Any) -> Conversation:
    """The request as a Conversation. UntranslatableError names what it cannot hold."""
    fields = Fields(document)
    for name, defaults in _DEFAULTS.items():
        fields.says_nothing(name, *defaults)
    said = Conversation(
        model=fields.text("model"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        stop=fields.texts("stop"),
        user=fields.text("user"),
        stream=fields.flag("stream") or False,
    )
    said.max_tokens = _most(fields)
    said.parallel = fields.flag("parallel_tool_calls") is not False
    said.wants_usage = _wants_usage(fields)
    for index, message in enumerate(fields.listed("messages")):
        _read_message(said, Fields(message, f"messages[{index}]"))
    for index, tool in enumerate(fields.listed("tools")):
        said.tools.append(_read_tool(Fields(tool, f"tools[{index}]")))
    said.choice = _read_choice(fields)
    fields.done()
    return said


def _most(fields: Fields) -> int | None:
    older, current = fields.count("max_tokens"), fields.count("max_completion_tokens")
    if older is not None and current is not None and older != current:
        raise fields.refuse("max_tokens", "max_completion_tokens says otherwise")
    return older if current is None else current


def _wants_usage(fields: Fields) -> bool:
    options = fields.take("stream_options")
    if options is None:
        return False
    wishes = Fields(options, "stream_options")
    wanted = wishes.flag("include_usage") or False
    wishes.says_nothing("include_obfuscation", False)
    wishes.done()
    return wanted


def _read_message(said: Conversation, fields: Fields) -> None:
    role = fields.needed("role")
    if role in ("system", "developer"):
        if said.turns:
            raise fields.refuse("role", f"'{role}' after the conversation has begun")
        # An empty text says nothing, and Anthropic's format refuses it.
        said.system += [text for text, _ in content_texts(fields, "content") if text]
    elif role == "user":
        texts = content_texts(fields, "content")
        said.say("user", [Text(text, where) for text, where in texts], fields.where)
    elif role == "assistant":
        said.say("assistant", _read_assistant(fields), fields.where)
    elif role == "tool":
        said.say("user", [_read_result(said, fields)], fields.where)
    else:
        raise fields.refuse("role", f"'{role}'")
    fields.done()


def _read_assistant(fields: Fields) -> list[Piece]:
    for name in ("refusal", "annotations", "audio", "function_call", "reasoning_content"):
        fields.says_nothing(name)
    texts = content_texts(fields, "content")
    calls: list[Piece] = []
    for index, call in enumerate(fields.listed("tool_calls")):
        calls.append(_read_call(Fields(call, f"{fields.where}.tool_calls[{index}]")))
    # Beside calls an empty content says that there are no words.
    said: list[Piece] = [Text(text, where) for text, where in texts if text or not calls]
    return said + calls


def _read_call(fields: Fields) -> Call:
    if fields.take("type") not in (None, "function"):
        raise fields.refuse("type")
    fields.take("index")  # some services' streams leave it in what clients send back
    function = Fields(fields.take("function"), fields.path("function"))
    arguments = arguments_of(function.text("arguments") or "", function.path("arguments"))
    call = Call(fields.needed("id"), function.needed("name"), arguments, fields.where)
    function.done()
    fields.done()
    return call


def _read_result(said: Conversation, fields: Fields) -> Result:
    call_id = fields.needed("tool_call_id")
    name = said.name_of(call_id)
    if name is None:
        raise fields.refuse("tool_call_id", "no call before it has this id")
    text = "".join(text for text, _ in content_texts(fields, "content"))
    return Result(call_id, name, text, where=fields.where)


def _read_tool(fields: Fields) -> Tool:
    kind = fields.text("type")
    if kind != "function":
        raise fields.refuse("type", f"'{kind}'" if kind else "")
    function = Fields(fields.take("function"), fields.path("function"))
    function.says_nothing("strict", False)
    tool = Tool(
        function.needed("name"),
        function.text("description"),
        function.object("parameters") or {"type": "object", "properties": {}},
    )
    function.done()
    fields.done()
    return tool


def _read_choice(fields: Fields) -> ToolChoice | None:
    choice = fields.take("tool_choice")
    if choice is None:
        return None
    match choice:
        case "auto" | "none":
            return ToolChoice(choice)
        case "required":
            return ToolChoice("any")
        case {"type": "function", "function": {"name": str(name)}} if len(choice) == 2:
            return ToolChoice("one", name)
    raise fields.refuse("tool_choice")


# --------------------------------------------------------------------------- out of it


def write(said: Conversation, provider: str | None) -> dict[str, Any]:
    """The request in this format, for a service of this provider."""
    if said.top_k is not None:
        raise UntranslatableError("top_k", "the target's format has no such field")
    if len(said.stop) > STOP_MAX:
        raise UntranslatableError("stop", f"the target takes {STOP_MAX} sequences at most")
    body: dict[str, Any] = {"model": said.model, "messages": _messages(said)}
    if said.tools:
        body["tools"] = [_tool(tool) for tool in said.tools]
    if said.choice is not None:
        body["tool_choice"] = _choice(said.choice)
    if not said.parallel:
        body["parallel_tool_calls"] = False
    if said.max_tokens is not None:
        current = provider in CURRENT
        body["max_completion_tokens" if current else "max_tokens"] = said.max_tokens
    optional = {"temperature": said.temperature, "top_p": said.top_p, "user": said.user}
    body |= {name: value for name, value in optional.items() if value is not None}
    if said.stop:
        body["stop"] = said.stop
    if said.stream:
        # The books need the target's count, whether the caller hears of it or not.
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _messages(said: Conversation) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if said.system:
        messages.append({"role": "system", "content": _content(said.system)})
    for turn in said.turns:
        if turn.role == "assistant":
            messages.append(_assistant(turn))
        else:
            messages += _user(turn)
    return messages


def _user(turn: Turn) -> list[dict[str, Any]]:
    """Tools' answers each as a message, then the words."""
    messages: list[dict[str, Any]] = []
    texts: list[str] = []
    for piece in turn.pieces:
        if isinstance(piece, Text):
            texts.append(piece.text)
        elif isinstance(piece, Result):
            if texts:
                raise UntranslatableError(piece.where, "a tool's answer after text of its turn")
            if piece.failed:
                raise UntranslatableError(
                    f"{piece.where}", "the target cannot be told of a failure"
                )
            messages.append({"role": "tool", "tool_call_id": piece.id, "content": piece.text})
        else:
            raise UntranslatableError(piece.where, "a tool call of the user's")
    if texts or not messages:
        messages.append({"role": "user", "content": _content(texts)})
    return messages


def _assistant(turn: Turn) -> dict[str, Any]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for piece in turn.pieces:
        if isinstance(piece, Text):
            if calls:
                raise UntranslatableError(piece.where, "text after a tool call of its turn")
            texts.append(piece.text)
        elif isinstance(piece, Call):
            function = {"name": piece.name, "arguments": json_text(piece.arguments)}
            calls.append({"id": piece.id, "type": "function", "function": function})
        else:
            raise UntranslatableError(piece.where, "a tool's answer of the assistant's")
    message: dict[str, Any] = {"role": "assistant", "content": _content(texts) if texts else None}
    if calls:
        message["tool_calls"] = calls
    return message


def _content(texts: list[str]) -> Any:
    if len(texts) == 1:
        return texts[0]
    return [{"type": "text", "text": text} for text in texts]


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.schema}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> Any:
    if choice.mode == "one":
        return {"type": "function", "function": {"name": choice.name}}
    return "required" if choice.mode == "any" else choice.mode
