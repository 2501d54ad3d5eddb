"""The official SDKs as callers of providers that speak another format."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.harness import Penstock
from tests.route.translate.upstream import (
    ANTHROPIC,
    CACHED,
    GEMINI,
    INPUT,
    OPENAI,
    OUTPUT,
    THOUGHT,
    Upstream,
)

GPT, CLAUDE, GOOGLE = "gpt-5", "claude-x", "gemini-2.5-flash"
HOST_OF = {GPT: OPENAI, CLAUDE: ANTHROPIC, GOOGLE: GEMINI}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"recipient": {"type": "string"}}}
for_openai = pytest.mark.parametrize("model", [CLAUDE, GOOGLE])
for_anthropic = pytest.mark.parametrize("model", [GPT, GOOGLE])
for_gemini = pytest.mark.parametrize("model", [GPT, CLAUDE])


def record_after(proxy: Penstock, before: int) -> dict[str, Any]:
    [record] = proxy.records(before + 1)[before:]
    return record


# --------------------------------------------------------------------------- the openai SDK


@pytest.fixture
def chat(through_proxy: Penstock) -> openai.OpenAI:
    return openai.OpenAI(api_key="caller-key", max_retries=0)


@for_openai
def test_openai_plain(
    chat: openai.OpenAI, model: str, providers: Upstream, proxy: Penstock
) -> None:
    """Words, reason, count and id of the target, and its key in place of the caller's."""
    before = len(proxy.records())
    answer = chat.chat.completions.create(
        model=model + "-keyed", messages=[{"role": "user", "content": "hello"}], max_tokens=50
    )
    assert answer.choices[0].message.content == "Echo: hello"
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage and usage.prompt_tokens_details and usage.completion_tokens_details
    assert (usage.prompt_tokens, usage.completion_tokens) == (INPUT, OUTPUT)
    assert usage.prompt_tokens_details.cached_tokens == CACHED
    assert usage.completion_tokens_details.reasoning_tokens == THOUGHT
    host, _, headers, _ = providers.received[-1]
    assert host == HOST_OF[model]
    name = "x-api-key" if model == CLAUDE else "x-goog-api-key"
    assert headers[name] == "a-real-key-0123456789" and "authorization" not in headers
    assert "caller-key" not in json.dumps(headers)
    record = record_after(proxy, before)
    [attempt] = record["attempts"]
    assert attempt["translated"] == ("anthropic" if model == CLAUDE else "gemini")
    assert (record["usage"]["input"], record["usage"]["output"]) == (INPUT, OUTPUT)


@for_openai
def test_openai_streamed(chat: openai.OpenAI, model: str, proxy: Penstock) -> None:
    """Chunks of the caller's format; the count once, when it was asked for."""
    before = len(proxy.records())
    chunks = list(
        chat.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "a longer question"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Echo: a longer question"
    assert len(chunks) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert [c.usage.completion_tokens for c in chunks if c.usage] == [OUTPUT]
    record = record_after(proxy, before)
    assert record["outcome"] == "answered" and record["usage"]["cache_read"] == CACHED


@for_openai
def test_openai_count_that_nobody_asked_for_stays_hidden(chat: openai.OpenAI, model: str) -> None:
    """A token limit needs the target's count; this caller did not ask for it."""
    messages: Any = [{"role": "user", "content": "x"}]
    stream = chat.chat.completions.create(model=model, messages=messages, stream=True)
    assert not [chunk for chunk in stream if chunk.usage]


@for_openai
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_openai_tool_round_trip(
    chat: openai.OpenAI, model: str, stream: bool, providers: Upstream
) -> None:
    """The call comes as OpenAI's; what the tool answered goes back as the target's."""
    messages: list[Any] = [{"role": "user", "content": "tool: Ann"}]
    function = {"name": "send_mail", "description": "Sends.", "parameters": SCHEMA}
    tools: Any = [{"type": "function", "function": function}]
    if stream:
        with chat.chat.completions.stream(model=model, messages=messages, tools=tools) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = chat.chat.completions.create(model=model, messages=messages, tools=tools)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = message.tool_calls
    assert json.loads(call.function.arguments) == {"recipient": "Ann", "copies": 2}
    said = {"role": "assistant", "content": message.content, "tool_calls": [
        {"id": call.id, "type": "function",
         "function": {"name": call.function.name, "arguments": call.function.arguments}}
    ]}  # fmt: skip
    messages += [said, {"role": "tool", "tool_call_id": call.id, "content": "sent"}]
    answer = chat.chat.completions.create(model=model, messages=messages, tools=tools)
    assert answer.choices[0].message.content == "Done: sent"
    body = json.dumps(providers.received[-1][3])
    assert call.id in body and "send_mail" in body and '"copies": 2' in body


@for_openai
def test_openai_error(chat: openai.OpenAI, model: str, proxy: Penstock) -> None:
    """The target's refusal is the class the SDK knows, with its words and its headers."""
    with pytest.raises(openai.RateLimitError) as caught:
        chat.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "error:429"}]
        )
    assert caught.value.code == "rate_limit_exceeded" and "no more" in str(caught.value)
    assert caught.value.response.headers["retry-after"] == "0"
    if model == CLAUDE:
        assert caught.value.request_id == "req-1"


def test_openai_overload_is_a_status_it_knows(chat: openai.OpenAI) -> None:
    """529 is Anthropic's own word."""
    with pytest.raises(openai.InternalServerError) as caught:
        chat.chat.completions.create(
            model=CLAUDE, messages=[{"role": "user", "content": "error:529"}]
        )
    assert caught.value.status_code == 503


@for_openai
def test_openai_error_in_the_stream(chat: openai.OpenAI, model: str) -> None:
    """What was said arrives, then the error in the SDK's own way."""
    messages: Any = [{"role": "user", "content": "break"}]
    said = ""
    with pytest.raises(openai.APIError, match="it broke"):
        for chunk in chat.chat.completions.create(model=model, messages=messages, stream=True):
            said += chunk.choices[0].delta.content or ""
    assert said == "Echo: break"


@for_openai
def test_openai_cut_stays_cut(chat: openai.OpenAI, model: str, proxy: Penstock) -> None:
    """A stream that breaks off is not made whole: no reason, no end, an error of transport."""
    before, reasons, said = len(proxy.records()), [], ""
    messages: Any = [{"role": "user", "content": "cut"}]
    with pytest.raises(openai.APIConnectionError):
        for chunk in chat.chat.completions.create(model=model, messages=messages, stream=True):
            said += chunk.choices[0].delta.content or ""
            reasons.append(chunk.choices[0].finish_reason)
    assert said == "Echo: cut" and not any(reasons)
    assert record_after(proxy, before)["outcome"] == "cut"


@for_openai
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_placeholders_come_back(
    chat: openai.OpenAI, model: str, stream: bool, providers: Upstream
) -> None:
    """What was redacted before the translation is restored after it, cut into pieces or not."""
    messages: Any = [{"role": "user", "content": "write to ann.b@example.org today"}]
    if stream:
        chunks = chat.chat.completions.create(model=model, messages=messages, stream=True)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    else:
        answer = chat.chat.completions.create(model=model, messages=messages)
        text = answer.choices[0].message.content or ""
    assert text == "Echo: write to ann.b@example.org today"
    assert "ann.b@" not in json.dumps(providers.received[-1][3])


@for_openai
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_rules_judge_the_translated_answer(chat: openai.OpenAI, model: str, stream: bool) -> None:
    """A rule on answers refuses in the caller's own words, whoever answered."""
    token = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    messages: Any = [{"role": "user", "content": f"say {token}"}]
    with pytest.raises(openai.APIError, match="nothing-secret-back"):
        answer: Any = chat.chat.completions.create(model=model, messages=messages, stream=stream)
        if stream:
            assert all(token not in (c.choices[0].delta.content or "") for c in answer)


@for_openai
def test_openai_what_cannot_be_said_is_named(
    chat: openai.OpenAI, model: str, providers: Upstream
) -> None:
    """Refused by the field's name, and nothing was sent."""
    before = len(providers.received)
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.PermissionDeniedError, match="'seed' cannot be translated"):
        chat.chat.completions.create(model=model, messages=messages, seed=1)
    with pytest.raises(openai.PermissionDeniedError, match="openai-beta"):
        chat.chat.completions.create(
            model=model, messages=messages, extra_headers={"OpenAI-Beta": "realtime=v1"}
        )
    with pytest.raises(openai.PermissionDeniedError, match="parameter of the URL"):
        chat.chat.completions.create(model=model, messages=messages, extra_query={"x": "1"})
    assert len(providers.received) == before


# --------------------------------------------------------------------------- the anthropic SDK


@pytest.fixture
def claude(through_proxy: Penstock) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="caller-key", max_retries=0)


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


@for_anthropic
def test_anthropic_plain(claude: anthropic.Anthropic, model: str, providers: Upstream) -> None:
    answer = claude.messages.create(
        model=model, max_tokens=50, system="Be brief.", messages=ask("hello")
    )
    assert answer.content[0].type == "text" and answer.content[0].text == "Echo: hello"
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (INPUT - CACHED, CACHED)
    assert (answer.stop_reason, usage.output_tokens) == ("end_turn", OUTPUT)
    assert "Be brief." in json.dumps(providers.received[-1][3])


@for_anthropic
def test_anthropic_streamed(claude: anthropic.Anthropic, model: str, proxy: Penstock) -> None:
    """The SDK's own accumulator understands every event."""
    before = len(proxy.records())
    with claude.messages.stream(model=model, max_tokens=50, messages=ask("hello")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == "Echo: hello" and message.stop_reason == "end_turn"
    assert message.usage.output_tokens == OUTPUT
    record = record_after(proxy, before)
    assert record["usage"]["input"] == INPUT and record["usage"]["reasoning"] == THOUGHT


@for_anthropic
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_anthropic_tool_round_trip(
    claude: anthropic.Anthropic, model: str, streamed: bool, providers: Upstream
) -> None:
    """The SDK's own message goes back as it came, with the tool's answer."""
    tools: Any = [{"name": "send_mail", "description": "Sends.", "input_schema": SCHEMA}]
    messages = ask("tool: Ann")
    call: Any = {"model": model, "max_tokens": 50, "tools": tools}
    if streamed:
        with claude.messages.stream(messages=messages, **call) as stream:
            answer = stream.get_final_message()
    else:
        answer = claude.messages.create(messages=messages, **call)
    assert answer.stop_reason == "tool_use"
    [use] = answer.content
    assert use.type == "tool_use" and use.input == {"recipient": "Ann", "copies": 2}
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sent"}
    said = [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}]
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    again = claude.messages.create(messages=messages, **call)
    assert again.content[0].type == "text" and again.content[0].text == "Done: sent"
    assert use.id in json.dumps(providers.received[-1][3])


@for_anthropic
def test_anthropic_errors(claude: anthropic.Anthropic, model: str) -> None:
    with pytest.raises(anthropic.RateLimitError, match="no more"):
        claude.messages.create(model=model, max_tokens=50, messages=ask("error:429"))
    with (
        pytest.raises(anthropic.APIStatusError, match="it broke"),
        claude.messages.stream(model=model, max_tokens=50, messages=ask("break")) as stream,
    ):
        stream.get_final_message()


@for_anthropic
def test_anthropic_cut_stays_cut(claude: anthropic.Anthropic, model: str) -> None:
    said = ""
    with (
        pytest.raises(Exception, match=r"incomplete|peer closed"),
        claude.messages.stream(model=model, max_tokens=50, messages=ask("cut")) as stream,
    ):
        for text in stream.text_stream:
            said += text
    assert said == "Echo: cut"


@for_anthropic
def test_anthropic_what_cannot_be_said_is_named(claude: anthropic.Anthropic, model: str) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with pytest.raises(anthropic.PermissionDeniedError, match="'thinking' cannot be translated"):
        claude.messages.create(model=model, max_tokens=9, messages=ask("x"), thinking=thinking)
    with pytest.raises(anthropic.PermissionDeniedError, match="anthropic-beta"):
        claude.messages.create(
            model=model, max_tokens=9, messages=ask("x"), extra_headers={"anthropic-beta": "b-1"}
        )


# --------------------------------------------------------------------------- the google-genai SDK


@pytest.fixture
def google(through_proxy: Penstock) -> genai.Client:
    return genai.Client(api_key="caller-key")


@for_gemini
def test_gemini_plain(google: genai.Client, model: str) -> None:
    answer = google.models.generate_content(
        model=model,
        contents="hello",
        config=types.GenerateContentConfig(max_output_tokens=50, system_instruction="Be brief."),
    )
    assert answer.text == "Echo: hello" and answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (INPUT, CACHED)
    counts = usage.candidates_token_count, usage.thoughts_token_count
    assert counts == (OUTPUT - THOUGHT, THOUGHT)


@for_gemini
def test_gemini_streamed(google: genai.Client, model: str) -> None:
    chunks = list(google.models.generate_content_stream(model=model, contents="length"))
    assert "".join(chunk.text or "" for chunk in chunks) == "Echo: length"
    assert chunks[-1].candidates
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert chunks[-1].usage_metadata
    assert chunks[-1].usage_metadata.thoughts_token_count == THOUGHT


@for_gemini
def test_gemini_tool_round_trip(google: genai.Client, model: str) -> None:
    """A Python function as the tool: the SDK writes Google's schema, calls it, and goes on."""
    seen = []

    def send_mail(recipient: str, copies: int) -> str:
        """Sends a mail."""
        seen.append((recipient, copies))
        return "sent"

    answer = google.models.generate_content(
        model=model, contents="tool: Ann", config=types.GenerateContentConfig(tools=[send_mail])
    )
    assert seen == [("Ann", 2)]
    assert answer.text == 'Done: {"result":"sent"}'


@for_gemini
def test_gemini_errors(google: genai.Client, model: str) -> None:
    with pytest.raises(errors.ClientError, match="no more") as caught:
        google.models.generate_content(model=model, contents="error:429")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    with pytest.raises(errors.APIError, match="it broke"):
        list(google.models.generate_content_stream(model=model, contents="break"))


@for_gemini
def test_gemini_cut_stays_cut(google: genai.Client, model: str) -> None:
    said = []
    with pytest.raises(Exception, match=r"incomplete|peer closed"):
        said.extend(google.models.generate_content_stream(model=model, contents="cut"))
    assert not any(c.candidates and c.candidates[0].finish_reason for c in said)


@for_gemini
def test_gemini_what_cannot_be_said_is_named(google: genai.Client, model: str) -> None:
    config = types.GenerateContentConfig(seed=3)
    with pytest.raises(errors.ClientError, match=r"generationConfig\.seed"):
        google.models.generate_content(model=model, contents="x", config=config)
