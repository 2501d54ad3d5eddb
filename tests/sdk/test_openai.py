"""The official openai SDK through a running penstock."""

from __future__ import annotations

import json

import openai
import pytest

from tests.harness import Penstock
from tests.sdk.provider import Provider

KEY = "sk-test-nothing"


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_clean_call_is_answered(through_proxy: Penstock) -> None:
    answer = openai.OpenAI(api_key=KEY).chat.completions.create(
        model="gpt-5-mini", messages=ask("hello")
    )
    assert answer.choices[0].message.content == "Echo: hello"


async def test_the_async_client_is_answered(through_proxy: Penstock) -> None:
    async with openai.AsyncOpenAI(api_key=KEY) as client:
        answer = await client.chat.completions.create(model="gpt-5-mini", messages=ask("hello"))
    assert answer.choices[0].message.content == "Echo: hello"


def test_a_secret_stays_in_and_comes_back(
    through_proxy: Penstock, provider: Provider, secret: str
) -> None:
    """The provider sees a placeholder, the application its own token."""
    answer = openai.OpenAI(api_key=KEY).chat.completions.create(
        model="gpt-5-mini", messages=ask(f"use {secret} now")
    )
    assert secret.encode() not in provider.received[-1]
    assert answer.choices[0].message.content == f"Echo: use {secret} now"


def test_a_secret_comes_back_in_a_stream(
    through_proxy: Penstock, provider: Provider, secret: str
) -> None:
    """A placeholder cut into pieces of three characters is restored whole."""
    stream = openai.OpenAI(api_key=KEY).chat.completions.create(
        model="gpt-5-mini", messages=ask(f"use {secret} now"), stream=True
    )
    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    assert secret.encode() not in provider.received[-1]
    assert text == f"Echo: use {secret} now"


async def test_a_secret_comes_back_in_an_async_stream(through_proxy: Penstock, secret: str) -> None:
    async with openai.AsyncOpenAI(api_key=KEY) as client:
        stream = await client.chat.completions.create(
            model="gpt-5-mini", messages=ask(f"use {secret} now"), stream=True
        )
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert text == f"Echo: use {secret} now"


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_arguments_are_callable_again(
    through_proxy: Penstock, provider: Provider, streamed: bool
) -> None:
    """The model saw a placeholder; the tool gets the address, in arguments that are JSON."""
    client = openai.OpenAI(api_key=KEY)
    messages = ask("tool: ada.lovelace@analytical-engine.org")
    if streamed:
        stream = client.chat.completions.create(model="gpt-5-mini", messages=messages, stream=True)
        arguments = "".join(
            call.function.arguments or ""
            for chunk in stream
            for call in (chunk.choices[0].delta.tool_calls or [])
            if call.function
        )
    else:
        answer = client.chat.completions.create(model="gpt-5-mini", messages=messages)
        assert answer.choices[0].message.tool_calls is not None
        arguments = answer.choices[0].message.tool_calls[0].function.arguments
    assert b"ada.lovelace" not in provider.received[-1]
    assert json.loads(arguments) == {"recipient": "ada.lovelace@analytical-engine.org"}


def test_responses_plain_and_streamed(
    through_proxy: Penstock, provider: Provider, secret: str
) -> None:
    client = openai.OpenAI(api_key=KEY)
    plain = client.responses.create(model="gpt-5-mini", input=f"use {secret}")
    assert plain.output_text == f"Echo: use {secret}"
    with client.responses.stream(model="gpt-5-mini", input=f"use {secret}") as stream:
        deltas = "".join(e.delta for e in stream if e.type == "response.output_text.delta")
        final = stream.get_final_response().output_text
    assert secret.encode() not in provider.received[-1]
    assert deltas == final == f"Echo: use {secret}"


def test_embeddings(through_proxy: Penstock) -> None:
    answer = openai.OpenAI(api_key=KEY).embeddings.create(
        model="text-embedding-3-small", input="hello"
    )
    assert len(answer.data) == 1


def test_a_refused_model_is_a_permission_error_at_once(
    through_proxy: Penstock, provider: Provider
) -> None:
    """403 in OpenAI's shape, one attempt, nothing sent, and the way out in the message."""
    before = len(provider.received)
    with pytest.raises(openai.PermissionDeniedError) as caught:
        openai.OpenAI(api_key=KEY).chat.completions.create(
            model="gpt-3.5-turbo", messages=ask("hello")
        )
    assert len(provider.received) == before
    assert "approved-models" in str(caught.value) and "Use an approved model" in str(caught.value)
    assert "rule=approved-models" in caught.value.response.headers["penstock-decision"]


def test_a_day_limit_is_a_rate_limit_error_without_retries(
    through_proxy: Penstock, provider: Provider
) -> None:
    """A wait of hours is not slept through: x-should-retry is false."""
    client = openai.OpenAI(api_key=KEY)
    client.chat.completions.create(model="gpt-5-day", messages=ask("one"))
    before = len(through_proxy.records())
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-5-day", messages=ask("two"))
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code
    assert len(through_proxy.records(before + 1)) == before + 1


def test_a_minute_limit_lets_the_sdk_retry(through_proxy: Penstock) -> None:
    """A wait below a minute carries both retry headers; the SDK would come back by itself."""
    client = openai.OpenAI(api_key=KEY, max_retries=0)
    client.chat.completions.create(model="gpt-5-minute", messages=ask("one"))
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-5-minute", messages=ask("two"))
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert 0 < float(headers["retry-after-ms"]) <= 60_000
    assert "x-should-retry" not in headers


def test_a_stream_under_a_token_limit_is_settled_with_the_providers_numbers(
    through_proxy: Penstock, provider: Provider
) -> None:
    """Usage is asked for upstream and hidden from a caller that did not ask."""
    client = openai.OpenAI(api_key=KEY)
    before = len(through_proxy.records())
    stream = client.chat.completions.create(
        model="gpt-5-limited", messages=ask("count me"), stream=True
    )
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert b'"stream_options":{"include_usage":true}' in provider.received[-1]
    usage = through_proxy.records(before + 1)[-1]["usage"]
    assert usage == {"input": 2, "output": 3}


def test_a_stream_without_a_limit_is_sent_as_it_is(
    through_proxy: Penstock, provider: Provider
) -> None:
    """Nothing is added to a call no limit has to measure; its usage is an estimate, marked so."""
    client = openai.OpenAI(api_key=KEY)
    before = len(through_proxy.records())
    list(client.chat.completions.create(model="gpt-5-mini", messages=ask("hi"), stream=True))
    assert b"stream_options" not in provider.received[-1]
    assert through_proxy.records(before + 1)[-1]["usage"]["estimated"] is True


def test_answers_say_how_the_limit_stands(through_proxy: Penstock) -> None:
    """RateLimit and RateLimit-Policy name the tightest limit; other answers have neither."""
    client = openai.OpenAI(api_key=KEY)
    limited = client.chat.completions.with_raw_response.create(
        model="gpt-5-limited", messages=ask("hi")
    )
    assert limited.headers["ratelimit-policy"] == '"measured";q=1000000;w=3600;qu="tokens"'
    assert limited.headers["ratelimit"].startswith('"measured";r=99')
    free = client.chat.completions.with_raw_response.create(model="gpt-5-mini", messages=ask("hi"))
    assert "ratelimit" not in free.headers
