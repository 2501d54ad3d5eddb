"""What the demo's applications do: unmodified SDK calls, each in a process of its own.

Run as ``python -m penstock.cli.demo.clients NAME [ARGUMENT]``; prints one JSON object. The
proxy and the CA reach the SDKs through environment variables alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

KEY = "sk-demo-not-a-real-key"
MODEL = "gpt-5-mini"
FORBIDDEN_MODEL = "gpt-3.5-turbo"
CALLS_MAX = 40  # the limit of the demo's policy is spent long before


def clean(_argument: str) -> dict[str, Any]:
    """A plain question to OpenAI."""
    import openai

    answer = openai.OpenAI(api_key=KEY).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Name the gate of a dam."}]
    )
    usage = answer.usage
    return {
        "answer": answer.choices[0].message.content,
        "tokens": usage.total_tokens if usage else None,
    }


def secret(token: str) -> dict[str, Any]:
    """A prompt that carries a credential, to Anthropic, streamed."""
    import anthropic

    prompt = f"Deploy with the token {token} please."
    pieces = []
    with anthropic.Anthropic(api_key=KEY).messages.stream(
        model="claude-sonnet-4-5",
        max_tokens=200,
        messages=[{"role": "user", "content": prompt}],
    ) as stream:
        pieces = list(stream.text_stream)
    return {"answer": "".join(pieces), "pieces": len(pieces)}


def forbidden(_argument: str) -> dict[str, Any]:
    """A model the policy does not allow."""
    import openai

    try:
        openai.OpenAI(api_key=KEY).chat.completions.create(
            model=FORBIDDEN_MODEL, messages=[{"role": "user", "content": "Hello"}]
        )
    except openai.PermissionDeniedError as error:
        return {"exception": type(error).__name__, "code": error.code, "message": error.message}
    return {"exception": None}


def limit(_argument: str) -> dict[str, Any]:
    """Calls until the token limit is spent."""
    import openai

    client = openai.OpenAI(api_key=KEY)
    for number in range(1, CALLS_MAX + 1):
        try:
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Tell me more. " * 20}]
            )
        except openai.RateLimitError as error:
            return {
                "exception": type(error).__name__,
                "calls_answered": number - 1,
                "code": error.code,
                "message": error.message,
                "retry_after": error.response.headers.get("retry-after"),
            }
    return {"exception": None}


def tools(url: str) -> dict[str, Any]:
    """List the tools of an MCP server, call one, and one that is not granted."""

    async def session() -> dict[str, Any]:
        from mcp import Client, MCPError

        async with Client(url) as client:
            listed = [tool.name for tool in (await client.list_tools()).tools]
            weather = await client.call_tool("get_weather", {"city": "Bern"})
            text = getattr(weather.content[0], "text", "")
            try:
                refused = await client.call_tool("delete_repository", {"name": "penstock"})
                refusal = getattr(refused.content[0], "text", "") if refused.is_error else None
            except MCPError as error:
                refusal = str(error)
        return {"listed": listed, "weather": text, "refusal": refusal}

    return asyncio.run(session())


CLIENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "clean": clean,
    "secret": secret,
    "forbidden": forbidden,
    "limit": limit,
    "tools": tools,
}

if __name__ == "__main__":
    name, argument = [*sys.argv[1:], ""][:2]
    json.dump(CLIENTS[name](argument), sys.stdout)
