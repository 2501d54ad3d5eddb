"""The official anthropic SDK through a running penstock."""

from __future__ import annotations

import anthropic
import pytest

from tests.harness import Penstock
from tests.sdk.provider import Provider

MODEL = "claude-sonnet-4-5"


def client() -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="sk-ant-test-nothing")


def test_plain(through_proxy: Penstock, provider: Provider, secret: str) -> None:
    answer = client().messages.create(
        model=MODEL, max_tokens=99, messages=[{"role": "user", "content": f"use {secret}"}]
    )
    assert secret.encode() not in provider.received[-1]
    assert answer.content[0].text == f"Echo: use {secret}"


def test_streamed(through_proxy: Penstock, provider: Provider, secret: str) -> None:
    with client().messages.stream(
        model=MODEL, max_tokens=99, messages=[{"role": "user", "content": f"use {secret}"}]
    ) as stream:
        text = "".join(stream.text_stream)
        usage = stream.get_final_message().usage
    assert secret.encode() not in provider.received[-1]
    assert text == f"Echo: use {secret}"
    assert usage.output_tokens > 1


async def test_async_streamed(through_proxy: Penstock, secret: str) -> None:
    async with (
        anthropic.AsyncAnthropic(api_key="sk-ant-test-nothing") as asynchronous,
        asynchronous.messages.stream(
            model=MODEL, max_tokens=99, messages=[{"role": "user", "content": f"use {secret}"}]
        ) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
    assert text == f"Echo: use {secret}"


def test_a_secret_in_the_system_prompt_and_a_tool_result_stays_in(
    through_proxy: Penstock, provider: Provider, secret: str
) -> None:
    """Every text of the request is read, not the last user message alone."""
    client().messages.create(
        model=MODEL,
        max_tokens=99,
        system=f"The token is {secret}.",
        tools=[
            {
                "name": "look_up",
                "description": f"Uses {secret}",
                "input_schema": {"type": "object", "properties": {}},
            }
        ],
        messages=[
            {"role": "user", "content": "go"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"key": secret}}
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": f"found {secret}"},
                    {"type": "text", "text": "thanks"},
                ],
            },
        ],
    )
    assert secret.encode() not in provider.received[-1]
    assert provider.received[-1].count(b"PLACEHOLDER_") == 4


def test_a_refused_model(through_proxy: Penstock) -> None:
    with pytest.raises(anthropic.PermissionDeniedError) as caught:
        client().messages.create(
            model="gpt-9", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        )
    assert caught.value.body["type"] == "error"


def test_a_day_limit_does_not_hang(through_proxy: Penstock) -> None:
    """Without x-should-retry this SDK would sleep the whole day."""
    ask = {"model": "claude-day", "max_tokens": 9}
    client().messages.create(messages=[{"role": "user", "content": "one"}], **ask)
    with pytest.raises(anthropic.RateLimitError):
        client().messages.create(messages=[{"role": "user", "content": "two"}], **ask)
