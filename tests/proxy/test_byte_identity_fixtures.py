"""Byte identity over our own fixtures, for a clone that has no recordings beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.proxy.replay import Exchange, exchange_of
from tests.proxy.test_byte_identity import EVERYTHING, FINDS_NOTHING, replayed

FIXTURES = Path(__file__).resolve().parents[1] / "wire" / "fixtures"
SSE, JSON = "text/event-stream", "application/json"

# (URL, request, answer, content type of the answer, streamed)
CALLS = (
    (
        "https://api.openai.com/v1/chat/completions",
        "openai/chat_request.json",
        "openai/chat.sse",
        SSE,
    ),
    (
        "https://api.openai.com/v1/responses",
        "openai/chat_request.json",
        "openai/responses.sse",
        SSE,
    ),
    (
        "https://api.anthropic.com/v1/messages",
        "anthropic/request.json",
        "anthropic/stream.sse",
        SSE,
    ),
    (
        "https://api.anthropic.com/v1/messages",
        "anthropic/request.json",
        "anthropic/answer.json",
        JSON,
    ),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
        "gemini/request.json",
        "gemini/answer.json",
        JSON,
    ),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:streamGenerateContent",
        "gemini/request.json",
        "gemini/chunks.json",
        JSON,
    ),
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-v2/converse",
        "bedrock/request.json",
        "bedrock/answer.json",
        JSON,
    ),
    ("https://api.cohere.com/v2/chat", "openai/chat_request.json", "cohere/v2_stream.sse", SSE),
)


def line(number: int, url: str, request: str, answer: str, content_type: str) -> dict[str, Any]:
    """A fixture in the schema recordings have."""
    return {
        "id": f"{number}-{answer}",
        "streaming": content_type == SSE or "stream" in url,
        "request": {
            "method": "POST",
            "url": url,
            "headers": {"accept": "*/*", "accept-encoding": "gzip, br", "content-type": JSON},
            "body": (FIXTURES / request).read_text(encoding="utf-8"),
        },
        "response": {
            "status": 200,
            "headers": {"content-type": content_type, "x-request-id": "r1"},
            "body": (FIXTURES / answer).read_text(encoding="utf-8"),
        },
    }


@pytest.fixture
def exchanges() -> list[Exchange]:
    return [exchange_of(line(number, *call)) for number, call in enumerate(CALLS)]


@pytest.mark.parametrize("mode", ["enforce", "shadow", "observe"])
def test_untouched(mode: str, exchanges: list[Exchange], tmp_path: Path) -> None:
    """Under a policy that allows everything no byte of body or header moves."""
    assert replayed(tmp_path, EVERYTHING.format(mode=mode), exchanges) == {}


def test_read_and_found_clean(exchanges: list[Exchange], tmp_path: Path) -> None:
    """Reading every text, with edits possible in both directions, changes nothing."""
    assert replayed(tmp_path, FINDS_NOTHING, exchanges, narrows_coding=True) == {}
