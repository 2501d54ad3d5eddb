"""The official google-genai SDK through a running penstock."""

from __future__ import annotations

import pytest
from google import genai
from google.genai import errors

from tests.harness import Penstock
from tests.sdk.provider import Provider

MODEL = "gemini-2.5-flash"


@pytest.fixture
def client(through_proxy: Penstock) -> genai.Client:
    return genai.Client(api_key="test-nothing")


def test_plain(client: genai.Client, provider: Provider, secret: str) -> None:
    answer = client.models.generate_content(model=MODEL, contents=f"use {secret}")
    assert secret.encode() not in provider.received[-1]
    assert answer.text == f"Echo: use {secret}"


def test_streamed(client: genai.Client, provider: Provider, secret: str) -> None:
    """Gemini's events end in CR LF."""
    stream = client.models.generate_content_stream(model=MODEL, contents=f"use {secret}")
    text = "".join(chunk.text or "" for chunk in stream)
    assert secret.encode() not in provider.received[-1]
    assert text == f"Echo: use {secret}"


async def test_async(client: genai.Client, secret: str) -> None:
    answer = await client.aio.models.generate_content(model=MODEL, contents=f"use {secret}")
    assert answer.text == f"Echo: use {secret}"


def test_a_refused_model(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="palm-2", contents="hi")
    assert caught.value.code == 403
    assert caught.value.status == "PERMISSION_DENIED"
