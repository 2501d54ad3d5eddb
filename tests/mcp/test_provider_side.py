"""MCP servers that a model provider is asked to call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Exchange
from penstock.mcp.provider_side import provider_servers


def servers_in(document: Any) -> list[Any]:
    return provider_servers(Exchange("any", document=document))


def test_openai_mcp_tools() -> None:
    """URL, label, both forms of the allow-list, the token noted but not kept."""
    tools = [
        {"type": "function", "name": "f"},
        {
            "type": "mcp",
            "server_label": "dw",
            "server_url": "https://mcp.deepwiki.com/mcp",
            "allowed_tools": ["ask"],
            "authorization": "canary-token",
        },
        {
            "type": "mcp",
            "server_label": "two",
            "server_url": "https://b",
            "allowed_tools": {"tool_names": ["x"]},
        },
        {"type": "mcp", "server_label": "drive", "connector_id": "connector_googledrive"},
    ]
    first, second, third = servers_in({"tools": tools})
    assert (first.url, first.label, first.allowed) == (
        "https://mcp.deepwiki.com/mcp",
        "dw",
        ("ask",),
    )
    assert first.path == ("tools", 1) and first.has_credential
    assert second.allowed == ("x",) and not second.has_credential
    assert (third.url, third.connector, third.allowed) == (None, "connector_googledrive", None)
    assert "canary" not in repr((first, second, third))


def test_anthropic_servers_and_toolsets() -> None:
    """The older per-server configuration and the newer toolset that names a server."""
    document = {
        "mcp_servers": [
            {"type": "url", "name": "a", "url": "https://a/mcp", "authorization_token": "t"},
            {"name": "b", "url": "https://b/mcp", "tool_configuration": {"allowed_tools": ["x"]}},
            {"name": "c", "url": "https://c/mcp", "tool_configuration": {"enabled": False}},
        ],
        "tools": [
            {
                "type": "mcp_toolset",
                "mcp_server_name": "a",
                "default_config": {"enabled": False},
                "configs": {"q": {"enabled": True}, "r": {"enabled": False}},
            }
        ],
    }
    a, b, c = servers_in(document)
    assert (a.url, a.allowed, a.has_credential) == ("https://a/mcp", ("q",), True)
    assert (b.allowed, c.allowed) == (("x",), ())


def test_gemini_servers() -> None:
    """Both of Gemini's forms."""
    tools = [
        {"type": "mcp_server", "name": "w", "url": "https://w/mcp"},
        {
            "mcp_servers": [
                {
                    "name": "g",
                    "streamable_http_transport": {"url": "https://g", "headers": {"a": "b"}},
                }
            ]
        },
    ]
    w, g = servers_in({"tools": tools})
    assert (w.url, g.url, g.has_credential) == ("https://w/mcp", "https://g", True)


@pytest.mark.parametrize(
    "document",
    [None, [], "x", {"tools": "x"}, {"tools": [1, None, {"type": 5}]}, {"mcp_servers": {"a": 1}}],
)
def test_odd_bodies_have_no_servers(document: Any) -> None:
    """Bodies of any other shape give an empty list."""
    assert servers_in(document) == []


def test_a_server_nobody_can_read_is_still_listed() -> None:
    """A description without URL is there, so that a rule can refuse what it cannot name."""
    assert servers_in({"mcp_servers": [{"url": 5}]})[0].url is None


def test_recorded_calls_name_their_servers(recordings: list[dict[str, Any]]) -> None:
    """The recorded provider-side calls to a public server are found."""
    urls = set()
    for line in recordings:
        body = line["request"]["body"] or ""
        if "mcp.deepwiki.com" in body and line["api"] != "mcp.streamable_http":
            urls |= {server.url for server in servers_in(json.loads(body))}
    assert urls == {"https://mcp.deepwiki.com/mcp"}
