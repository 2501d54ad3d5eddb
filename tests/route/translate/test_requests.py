"""Each field of a request in the other formats, and each that has no counterpart, by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.route.translate.errors import Format
from penstock.route.translate.request import Aim, Translated, translate

OPENAI, ANTHROPIC = "openai.chat_completions", "anthropic.messages"
GEMINI, GEMINI_STREAM = "google.generate_content", "google.stream_generate_content"
ASK = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}

OPENAI_CALL: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Mail Ann."},
        {
            "role": "assistant",
            "content": "Writing.",
            "refusal": None,
            "annotations": [],
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "mail", "arguments": '{"to": "Ann", "n": 1.50}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "log", "arguments": ""}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sent"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "ok"}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "?"}],
        },
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "mail", "description": "Sends.", "parameters": SCHEMA},
        },
        {"type": "function", "function": {"name": "log", "strict": False}},
    ],
    "tool_choice": "required",
    "max_completion_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": "END",
    "n": 1,
    "response_format": {"type": "text"},
}


def made(api: str, document: Any, into: Format, **more: Any) -> Translated:
    found = translate(api, document, Aim(into, model="m2", **more))
    assert isinstance(found, Translated), found
    json.loads(found.body)
    return found


def refused(api: str, document: Any, into: Format, **more: Any) -> str:
    found = translate(api, document, Aim(into, model="m2", **more))
    assert isinstance(found, str), found
    return found


def test_openai_as_anthropic() -> None:
    """Tools' answers stand at the head of one user turn, the words after them."""
    found = made(OPENAI, OPENAI_CALL, "anthropic")
    assert found.path == "/v1/messages" and not found.stream
    empty = {"type": "object", "properties": {}}
    assert found.document == {
        "model": "m2",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Mail Ann."}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Writing."},
                    {
                        "type": "tool_use",
                        "id": "c1",
                        "name": "mail",
                        "input": {"to": "Ann", "n": 1.5},
                    },
                    {"type": "tool_use", "id": "c2", "name": "log", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "sent"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "ok"},
                    {"type": "text", "text": "And"},
                    {"type": "text", "text": "?"},
                ],
            },
        ],
        "tools": [
            {"name": "mail", "description": "Sends.", "input_schema": SCHEMA},
            {"name": "log", "input_schema": empty},
        ],
        "tool_choice": {"type": "any"},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
    }


def test_openai_as_gemini() -> None:
    """Calls carry the sign that another model made them; the model stands in the URL."""
    found = made(OPENAI, {**OPENAI_CALL, "stream": True}, "gemini")
    assert found.path == "/v1beta/models/m2:streamGenerateContent?alt=sse"
    call = {"id": "c1", "name": "mail", "args": {"to": "Ann", "n": 1.5}}
    empty = {"type": "object", "properties": {}}
    assert found.document == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Mail Ann."}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Writing."},
                    {"functionCall": call, "thoughtSignature": "skip_thought_signature_validator"},
                    {"functionCall": {"id": "c2", "name": "log", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c1",
                            "name": "mail",
                            "response": {"output": "sent"},
                        }
                    },
                    {"functionResponse": {"id": "c2", "name": "log", "response": {"output": "ok"}}},
                    {"text": "And"},
                    {"text": "?"},
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "mail", "description": "Sends.", "parametersJsonSchema": SCHEMA},
                    {"name": "log", "parametersJsonSchema": empty},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "maxOutputTokens": 50,
            "temperature": 0.5,
            "topP": 0.9,
            "stopSequences": ["END"],
        },
    }


def test_anthropic_as_openai() -> None:
    """One system message, tools' answers as messages of their own, the count always asked for."""
    found = made(
        ANTHROPIC,
        {
            "model": "c",
            "max_tokens": 9,
            "system": "Be brief.",
            "stream": True,
            "metadata": {"user_id": "u-1"},
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "user", "content": [{"type": "text", "text": "b"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_use", "id": "t", "name": "mail", "input": {"x": "ü"}}
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": "ok"},
                        {"type": "text", "text": "thanks"},
                    ],
                },
            ],
            "tools": [{"name": "mail", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "mail", "disable_parallel_tool_use": True},
            "stop_sequences": ["A", "B"],
        },
        "openai",
        provider="openai",
    )
    function = {"name": "mail", "arguments": '{"x":"ü"}'}
    assert found.stream and found.document == {
        "model": "m2",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "t", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "t", "content": "ok"},
            {"role": "user", "content": "thanks"},
        ],
        "tools": [{"type": "function", "function": {"name": "mail", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "mail"}},
        "parallel_tool_calls": False,
        "max_completion_tokens": 9,
        "user": "u-1",
        "stop": ["A", "B"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_compatible_services_get_the_name_they_know() -> None:
    """``max_completion_tokens`` is OpenAI's and Azure's; others know the older name."""
    call = {"model": "c", "max_tokens": 9, "messages": ASK}
    assert made(ANTHROPIC, call, "openai").document["max_tokens"] == 9
    assert made(ANTHROPIC, call, "openai", provider="azure").document["max_completion_tokens"] == 9


GEMINI_CALL: dict[str, Any] = {
    "system_instruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "mail both"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "mail", "args": {"to": "a"}}},
                {"functionCall": {"name": "mail", "args": {"to": "b"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "mail", "response": {"error": "no such"}}},
                {"functionResponse": {"name": "mail", "response": {"result": {"id": 3}}}},
            ],
        },
    ],
    "tools": [
        {
            "function_declarations": [
                {
                    "name": "mail",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {
                            "to": {"type": "STRING", "minLength": "1", "nullable": True},
                            "cc": {"type": "ARRAY", "items": {"type": "STRING"}},
                        },
                        "propertyOrdering": ["cc", "to"],
                    },
                }
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["mail"]}},
    "generationConfig": {"maxOutputTokens": 7, "topK": 3, "candidateCount": 1},
}


def test_gemini_as_anthropic() -> None:
    """Calls without ids get some; each answer goes to the next open call of its name."""
    found = made(GEMINI_STREAM, GEMINI_CALL, "anthropic")
    body = found.document
    uses = body["messages"][1]["content"]
    results = body["messages"][2]["content"]
    assert [one["input"] for one in uses] == [{"to": "a"}, {"to": "b"}]
    assert len({one["id"] for one in uses}) == 2
    assert [one["tool_use_id"] for one in results] == [one["id"] for one in uses]
    assert results[0]["is_error"] is True and results[0]["content"] == "no such"
    assert "is_error" not in results[1] and results[1]["content"] == '{"result":{"id":3}}'
    schema = body["tools"][0]["input_schema"]
    assert list(schema["properties"]) == ["cc", "to"]
    assert schema["properties"]["to"] == {"type": ["string", "null"], "minLength": 1}
    assert schema["properties"]["cc"] == {"type": "array", "items": {"type": "string"}}
    assert body["tool_choice"] == {"type": "tool", "name": "mail"}
    assert (body["top_k"], body["max_tokens"], body["stream"]) == (3, 7, True)


def test_old_gemini_models_need_no_signature() -> None:
    """Only models that ask for one get one."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        *ASK,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    for model, signed in (("gemini-2.5-pro", False), ("gemini-3-pro", True)):
        found = translate(OPENAI, {"messages": turns}, Aim("gemini", model=model))
        assert isinstance(found, Translated)
        [part] = found.document["contents"][1]["parts"]
        assert ("thoughtSignature" in part) is signed


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1]"}}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"n": 2}, "'n'"),
        ({"seed": 1}, "'seed'"),
        ({"logprobs": True}, "'logprobs'"),
        ({"top_logprobs": 2}, "'top_logprobs'"),
        ({"logit_bias": {"5": 1}}, "'logit_bias'"),
        ({"response_format": {"type": "json_object"}}, "'response_format'"),
        ({"reasoning_effort": "high"}, "'reasoning_effort'"),
        ({"store": True}, "'store'"),
        ({"prediction": {"type": "content", "content": "x"}}, "'prediction'"),
        ({"frequency_penalty": 0.5}, "'frequency_penalty'"),
        ({"service_tier": "flex"}, "'service_tier'"),
        ({"web_search_options": {"a": 1}}, "'web_search_options'"),
        ({"something_new": False}, "'something_new'"),
        ({"stream_options": {"include_obfuscation": True}}, "'stream_options.include_obfuscation'"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "'tools[0].type'"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
            "'tools[0].function.strict'",
        ),
        ({"tool_choice": {"type": "allowed_tools"}}, "'tool_choice'"),
        ({"functions": [{"name": "f"}]}, "'functions'"),
        ({"temperature": "0.5"}, "'temperature'"),
        ({"messages": "hi"}, "'messages'"),
        ({"messages": [*ASK, {"role": "system", "content": "x"}]}, "'messages[1].role'"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "'messages[0].content[0].type'"),
        ({"messages": [{"role": "user", "content": [AUDIO]}]}, "'messages[0].content[0].type'"),
        ({"messages": [{"role": "user", "content": "x", "name": "ann"}]}, "'messages[0].name'"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "no", "content": "x"}]},
            "'messages[0].tool_call_id'",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [CALL]}]},
            "'messages[0].tool_calls[0].function.arguments'",
        ),
        (
            {"messages": [{"role": "assistant", "content": "x", "reasoning_content": "hm"}]},
            "'messages[0].reasoning_content'",
        ),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "'messages[0].role'"),
        ({"messages": [None]}, "'messages[0]'"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "'max_tokens'"),
        ({"max_tokens": -1}, "'max_tokens'"),
        ({"max_tokens": 1.5}, "'max_tokens'"),
    ],
)
def test_openai_fields_are_refused_by_name(more: dict[str, Any], named: str) -> None:
    """Nothing is dropped: what cannot be said stops the call and is named."""
    for into in ("anthropic", "gemini"):
        assert named in refused(OPENAI, {"messages": ASK, **more}, into, max_tokens=9)


SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "'thinking'"),
        ({"service_tier": "standard_only"}, "'service_tier'"),
        ({"container": "c"}, "'container'"),
        ({"mcp_servers": [{"url": "x"}]}, "'mcp_servers'"),
        ({"output_config": {"effort": "low"}}, "'output_config'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "'tools[0].type'"),
        (
            {
                "tools": [
                    {"name": "f", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}
                ]
            },
            "'tools[0].cache_control'",
        ),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
            "'system[0].cache_control'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "'messages[0].content[0].type'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
            "'messages[0].content[0].type'",
        ),
        (
            {"messages": [{"role": "assistant", "content": [SIGNED]}]},
            "'messages[0].content[0].type'",
        ),
        ({"messages": [{"role": "system", "content": "x"}]}, "'messages[0].role'"),
        ({"metadata": {"user_id": "u", "team": "x"}}, "'metadata.team'"),
        ({"tool_choice": {"type": "auto", "new": 1}}, "'tool_choice.new'"),
    ],
)
def test_anthropic_fields_are_refused_by_name(more: dict[str, Any], named: str) -> None:
    for into in ("openai", "gemini"):
        call = {"model": "c", "max_tokens": 5, "messages": ASK, **more}
        assert named in refused(ANTHROPIC, call, into)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"safetySettings": [{"category": "x"}]}, "'safetySettings'"),
        ({"cachedContent": "cachedContents/x"}, "'cachedContent'"),
        ({"cached_content": "cachedContents/x"}, "'cached_content'"),
        ({"tools": [{"googleSearch": {}}]}, "'tools[0].googleSearch'"),
        ({"tools": [{"codeExecution": {}}]}, "'tools[0].codeExecution'"),
        ({"generationConfig": {"seed": 1}}, "'generationConfig.seed'"),
        ({"generationConfig": {"candidateCount": 2}}, "'generationConfig.candidateCount'"),
        (
            {"generationConfig": {"responseSchema": {}, "responseMimeType": "application/json"}},
            "'generationConfig.responseMimeType'",
        ),
        (
            {"generation_config": {"thinking_config": {"thinkingBudget": 0}}},
            "'generation_config.thinking_config'",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"data": "AA"}}]}]},
            "'contents[0].parts[0].inlineData'",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "x"}}]}]},
            "'contents[0].parts[0].fileData'",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"text": "x", "thoughtSignature": "AA"}]}]},
            "'contents[0].parts[0].thoughtSignature'",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"text": "x", "thought": True}]}]},
            "'contents[0].parts[0].thought'",
        ),
        (
            {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
            "'contents[0].parts[0].functionResponse.name'",
        ),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
            "'toolConfig.functionCallingConfig.mode'",
        ),
        (
            {"systemInstruction": {"parts": []}, "system_instruction": {"parts": []}},
            "'system_instruction'",
        ),
        ({"request": {}}, "'request'"),
    ],
)
def test_gemini_fields_are_refused_by_name(more: dict[str, Any], named: str) -> None:
    for into in ("openai", "anthropic"):
        call = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **more}
        assert named in refused(GEMINI, call, into, max_tokens=9)


@pytest.mark.parametrize(
    ("api", "more", "into", "named"),
    [
        (OPENAI, {"messages": ASK}, "anthropic", "'max_tokens'"),
        (
            OPENAI,
            {"messages": ASK, "max_tokens": 5, "temperature": 1.2},
            "anthropic",
            "'temperature'",
        ),
        (OPENAI, {"messages": ASK, "user": "u"}, "gemini", "'user'"),
        (
            OPENAI,
            {"messages": ASK, "parallel_tool_calls": False},
            "gemini",
            "'parallel_tool_calls'",
        ),
        (ANTHROPIC, {"messages": ASK, "max_tokens": 5, "top_k": 3}, "openai", "'top_k'"),
        (ANTHROPIC, {"messages": ASK, "stop_sequences": list("abcde")}, "openai", "'stop'"),
        (ANTHROPIC, {"messages": ASK, "stop_sequences": list("abcdef")}, "gemini", "'stop'"),
    ],
)
def test_what_one_target_cannot_say(
    api: str, more: dict[str, Any], into: Format, named: str
) -> None:
    """A field the neutral form holds is still refused where the target has none."""
    assert named in refused(api, more, into)


@pytest.mark.parametrize(
    ("api", "call"),
    [
        (OPENAI, {"messages": [*ASK, {"role": "assistant", "content": "{"}], "max_tokens": 5}),
        (ANTHROPIC, {"messages": [*ASK, {"role": "assistant", "content": "{"}], "max_tokens": 5}),
        (GEMINI, {"contents": [{"role": "model", "parts": [{"text": "{"}]}]}),
    ],
)
def test_words_the_model_is_to_go_on_with(api: str, call: dict[str, Any]) -> None:
    """One format continues them, another answers them: that is not the same call."""
    for into in ("openai", "anthropic", "gemini"):
        found = translate(api, call, Aim(into, model="m", max_tokens=9))
        assert isinstance(found, str) and "ends with the assistant" in found


def test_an_empty_system_message_says_nothing() -> None:
    """Some clients always send one; the target's format refuses an empty text."""
    call = {"messages": [{"role": "system", "content": ""}, *ASK], "max_tokens": 5}
    assert "system" not in made(OPENAI, call, "anthropic").document


def test_a_failed_tool_reaches_those_who_can_be_told() -> None:
    """``is_error`` is kept for Gemini and Anthropic; OpenAI's format has no word for it."""
    turns = [
        *ASK,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True}
            ],
        },
    ]
    call = {"max_tokens": 5, "messages": turns}
    parts = made(ANTHROPIC, call, "gemini").document["contents"][2]["parts"]
    assert parts[0]["functionResponse"]["response"] == {"error": "no"}
    assert "messages[2].content[0]" in refused(ANTHROPIC, call, "openai")


@pytest.mark.parametrize("body", [None, [], "x", 3, {"messages": {}}, {"messages": [[]]}])
def test_a_body_of_another_shape_is_a_refusal(body: Any) -> None:
    """Hostile bodies are named, never raised."""
    assert "cannot be translated" in refused(OPENAI, body, "gemini")


def test_depth_is_bounded() -> None:
    """A schema nested beyond all reason is refused, not followed into the stack."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(3000):
        schema = {"type": "ARRAY", "items": schema}
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    assert "too deep" in refused(GEMINI, {"contents": "x", "tools": tools}, "openai")
    call = {"type": "function", "function": {"name": "f", "arguments": "[" * 100_000}}
    turns = [{"role": "assistant", "tool_calls": [{"id": "c", **call}]}]
    assert "arguments" in refused(OPENAI, {"messages": turns}, "gemini")
