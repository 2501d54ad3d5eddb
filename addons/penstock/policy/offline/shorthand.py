"""Short-hand calls of policy tests, turned into real requests in the provider's own format.

``{provider: openai, model: gpt-5-mini, messages: [...]}`` becomes the bytes an SDK would
send, and is read back through the wire room: a test runs the production path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from penstock.exchange import Caller, HttpRequest, Process, Workload

# Where a provider's chat endpoint is. Others need ``host`` (and speak OpenAI's format).
CHAT_ENDPOINTS = {
    "openai": ("api.openai.com", "/v1/chat/completions"),
    "anthropic": ("api.anthropic.com", "/v1/messages"),
    "gemini": ("generativelanguage.googleapis.com", "/v1beta/models/{model}:generateContent"),
    "azure": ("tests.openai.azure.com", "/openai/deployments/{model}/chat/completions"),
    "mistral": ("api.mistral.ai", "/v1/chat/completions"),
    "groq": ("api.groq.com", "/openai/v1/chat/completions"),
    "deepseek": ("api.deepseek.com", "/chat/completions"),
    "openrouter": ("openrouter.ai", "/api/v1/chat/completions"),
    "xai": ("api.x.ai", "/v1/chat/completions"),
}
KEYS = (
    "provider",
    "model",
    "messages",
    "system",
    "tools",
    "stream",
    "parameters",
    "host",
    "path",
    "body",
    "headers",
    "mcp",
    "caller",
)
CALLER_KEYS = (
    "workload",
    "namespace",
    "service_account",
    "user",
    "agent",
    "process",
    "claims",
    "credential",
    "spiffe",
)
DEFAULT_MAX_TOKENS = 1024  # Anthropic requires the field


def request_from(call: Mapping[str, Any]) -> HttpRequest:
    """The request a short-hand call stands for.

    Raises:
        ValueError: an unknown key, or nothing to call.
    """
    unknown = [name for name in call if name not in KEYS]
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}' in call; allowed: {', '.join(KEYS)}")
    if "mcp" in call:
        return mcp_request(call["mcp"])
    provider = call.get("provider", "")
    host, path = CHAT_ENDPOINTS.get(provider, (None, "/v1/chat/completions"))
    host = call.get("host", host)
    if host is None:
        raise ValueError(
            f"provider '{provider}' has no short-hand (known: {', '.join(CHAT_ENDPOINTS)}); "
            "name a 'host'"
        )
    path = call.get("path", path).format(model=call.get("model", ""))
    body = call["body"] if "body" in call else chat_body(provider, call)
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(call.get("headers") or {})}
    return HttpRequest("POST", "https", host, 443, path, headers, content)


def chat_body(provider: str, call: Mapping[str, Any]) -> dict[str, Any]:
    """The call in the provider's chat format."""
    messages = call.get("messages") or [{"role": "user", "content": "Hello"}]
    body: dict[str, Any] = dict(call.get("parameters") or {})
    if provider == "gemini":
        body["contents"] = [
            {
                "role": "model" if m["role"] == "assistant" else "user",
                "parts": [{"text": m["content"]}],
            }
            for m in messages
        ]
        if "system" in call:
            body["systemInstruction"] = {"parts": [{"text": call["system"]}]}
        return body
    body |= {"model": call.get("model", ""), "messages": list(messages)}
    if "system" in call and provider == "anthropic":
        body["system"] = call["system"]
    elif "system" in call:
        body["messages"] = [{"role": "system", "content": call["system"]}, *messages]
    if provider == "anthropic":
        body.setdefault("max_tokens", DEFAULT_MAX_TOKENS)
    if "tools" in call:
        body["tools"] = [tool_definition(provider, tool) for tool in call["tools"]]
    if call.get("stream"):
        body["stream"] = True
    return body


def tool_definition(provider: str, tool: Any) -> Any:
    """A tool by its name alone, or as the provider writes it."""
    if not isinstance(tool, str):
        return tool
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    if provider == "anthropic":
        return {"name": tool, "input_schema": schema}
    return {"type": "function", "function": {"name": tool, "parameters": schema}}


def mcp_request(described: Mapping[str, Any]) -> HttpRequest:
    """A JSON-RPC request to an MCP server (streamable HTTP, 2025-11-25).

    ``server`` is its URL; ``tool`` and ``arguments`` make a tools/call, else ``method``.
    """
    from penstock.policy.offline.recorded import request_of

    if "server" not in described:
        raise ValueError("an mcp call needs 'server', its URL")
    if "tool" in described:
        method = "tools/call"
        params = {"name": described["tool"], "arguments": described.get("arguments") or {}}
    else:
        method, params = str(described.get("method", "tools/list")), {}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"content-type": "application/json", "mcp-protocol-version": "2025-11-25"}
    url = str(described["server"])
    return request_of({"url": url, "headers": headers, "body": json.dumps(body)})


def caller_from(call: Mapping[str, Any]) -> Caller:
    """The caller a short-hand call names.

    Raises:
        ValueError: an unknown key.
    """
    given = call.get("caller") or {}
    unknown = [name for name in given if name not in CALLER_KEYS]
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}' in caller; allowed: {', '.join(CALLER_KEYS)}")
    workload = Workload(
        name=given.get("workload", "tests"),
        namespace=given.get("namespace"),
        service_account=given.get("service_account"),
    )
    process = Process(1, given["process"]) if "process" in given else None
    return Caller(
        workload=workload,
        user=given.get("user"),
        agent=given.get("agent"),
        process=process,
        credential=given.get("credential"),
        credentials=(given["credential"],) if "credential" in given else (),
        claims=given.get("claims") or {},
        spiffe=given.get("spiffe"),
    )
