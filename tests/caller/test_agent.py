"""Agents and SDKs by what they send; sessions by header; hostile headers."""

from __future__ import annotations

import pytest

from penstock.caller.agent import agent_of, clean_user_agent, session_of


@pytest.mark.parametrize(
    ("headers", "agent"),
    [
        ({"user-agent": "claude-cli/2.1.30 (external, cli)", "x-app": "cli"}, "claude-code"),
        ({"user-agent": "claude-code/2.1.30 (cli)"}, "claude-code"),
        ({"user-agent": "codex_cli_rs/0.80.0 (Ubuntu 24.4.0; x86_64) xterm"}, "codex"),
        ({"user-agent": "x", "originator": "codex_vscode"}, "codex"),
        ({"user-agent": "GeminiCLI/0.20.0/gemini-3-pro (linux; x64)"}, "gemini-cli"),
        ({"user-agent": "opencode/1.1.4 ai-sdk/provider-utils/4.0.8"}, "opencode"),
        ({"user-agent": "ai-sdk/openai/3.0.12 opencode/1.1.4"}, "opencode"),
        ({"user-agent": "GitHubCopilotChat/0.26.7"}, "github-copilot"),
        ({"user-agent": "node", "copilot-integration-id": "vscode-chat"}, "github-copilot"),
        ({"user-agent": "OpenAI/Python 2.3.0", "x-title": "Night Report"}, "night-report"),
        ({"user-agent": "OpenAI/Python 2.3.0"}, "openai-python"),
        ({"user-agent": "AsyncAzureOpenAI/Python 1.99.7"}, "openai-python"),
        ({"user-agent": "OpenAI/NodeJS/3.3.0"}, "openai-node"),
        ({"user-agent": "OpenAI/JS 6.18.0"}, "openai-node"),
        ({"user-agent": "Anthropic/Python 0.78.0"}, "anthropic-python"),
        ({"user-agent": "AsyncAnthropicBedrock/Python 0.78.0"}, "anthropic-python"),
        ({"user-agent": "Agents/Python 0.0.0"}, "openai-agents-python"),
        ({"x-stainless-lang": "js"}, "openai-node"),
        ({"x-stainless-lang": "python", "anthropic-version": "2023-06-01"}, "anthropic-python"),
        ({"user-agent": "google-genai-sdk/1.31.0 gl-python/3.12.6"}, "google-genai-sdk"),
        ({"user-agent": "Boto3/1.36.5 md/Botocore#1.36.5 ua/2.0"}, "boto3"),
        ({"user-agent": "litellm/1.80.7"}, "litellm"),
        ({"user-agent": "curl/8.5.0"}, "curl"),
        ({}, None),
        ({"user-agent": ""}, None),
        ({"user-agent": "\x00\x1b[31m"}, "31m"),
    ],
)
def test_the_speaker_is_named(headers: dict[str, str], agent: str | None) -> None:
    """An agent's own mark wins over the application's title, that over the SDK below."""
    assert agent_of(headers) == agent


def test_names_and_lengths_are_bounded() -> None:
    """A megabyte of User-Agent ends as a short name without control characters."""
    headers = {"user-agent": "A" * 1_000_000, "x-title": "b" * 1_000_000}
    assert len(clean_user_agent(headers) or "") == 256
    assert len(agent_of(headers) or "") <= 64
    assert clean_user_agent({"user-agent": "a\r\nSet-Cookie: x\x7f"}) == "aSet-Cookie: x"


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ({"session_id": "0198c-77"}, "0198c-77"),
        ({"x-session-id": "s1", "agent-session-id": "s2"}, "s2"),
        ({"baggage": "user.id=7, session.id=abc;ttl=1"}, "abc"),
        ({"baggage": "gen_ai.conversation.id=c-9"}, "c-9"),
        ({"baggage": ",,=;=,session.id"}, None),
        ({"x-session-id": "two words"}, None),
        ({"x-session-id": "x" * 129}, None),
        ({}, None),
    ],
)
def test_a_session_is_a_plain_identifier(headers: dict[str, str], session: str | None) -> None:
    """Standard headers and baggage name a session; anything but an identifier is dropped."""
    assert session_of(headers) == session
