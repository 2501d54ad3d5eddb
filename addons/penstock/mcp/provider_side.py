"""MCP servers a model provider is asked to call by itself.

OpenAI's ``mcp`` tools, Anthropic's ``mcp_servers`` and toolsets and Gemini's ``mcp_server``
tools put a server's URL, often with a bearer token, into the body of a model call: the tool
calls then happen out of sight. This lists them, so that the same rules govern them. Tokens
are only noted as being there. Sources: OpenAI, "MCP and Connectors"; Anthropic, "MCP
connector"; Gemini API, "Interactions"; xAI, "Remote MCP tools".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.exchange import Exchange, Path
from penstock.wire.loose import as_dict, as_list, as_text

# Where credentials stand in the servers' descriptions, by provider.
_CREDENTIALS = ("authorization", "authorization_token", "headers")


@dataclass(slots=True, frozen=True)
class ProviderServer:
    """One server the provider may call.

    ``url`` is None for a provider's own connector (then ``connector`` names it). ``allowed``
    are the tools the call allows, None when it allows all. ``path`` is where the description
    stands in the body.
    """

    url: str | None
    label: str | None
    allowed: tuple[str, ...] | None
    path: Path
    connector: str | None = None
    has_credential: bool = False


def provider_servers(exchange: Exchange) -> list[ProviderServer]:
    """The MCP servers named in a model call, in the order of the body; empty for most calls."""
    document = as_dict(exchange.document)
    toolsets = _toolsets(document)
    found = [
        _server(as_dict(server), ("mcp_servers", index), toolsets)
        for index, server in enumerate(as_list(document.get("mcp_servers")))
    ]
    for index, tool in enumerate(as_list(document.get("tools"))):
        described = as_dict(tool)
        if described.get("type") in ("mcp", "mcp_server"):
            found.append(_server(described, ("tools", index), {}))
        for at, server in enumerate(as_list(described.get("mcp_servers"))):
            found.append(_server(as_dict(server), ("tools", index, "mcp_servers", at), {}))
    return found


def _server(
    described: dict[str, Any], path: Path, toolsets: dict[str, tuple[str, ...] | None]
) -> ProviderServer:
    label = as_text(described.get("server_label")) or as_text(described.get("name"))
    transport = as_dict(described.get("streamable_http_transport"))
    url = described.get("server_url") or described.get("url") or transport.get("url")
    allowed = toolsets[label] if label in toolsets else _allowed(described)
    return ProviderServer(
        url=as_text(url),
        label=label,
        allowed=allowed,
        path=path,
        connector=as_text(described.get("connector_id")),
        has_credential=any(described.get(name) for name in _CREDENTIALS)
        or bool(transport.get("headers")),
    )


def _allowed(described: dict[str, Any]) -> tuple[str, ...] | None:
    """The allow-list of one server, in any of the providers' spellings."""
    configuration = as_dict(described.get("tool_configuration"))
    if configuration.get("enabled") is False:
        return ()
    for value in (
        described.get("allowed_tools"),
        described.get("allowed_tool_names"),
        configuration.get("allowed_tools"),
    ):
        names = as_dict(value).get("tool_names") if isinstance(value, dict) else value
        if isinstance(names, list):
            return tuple(name for name in names if isinstance(name, str))
    return None


def _toolsets(document: dict[str, Any]) -> dict[str, tuple[str, ...] | None]:
    """Anthropic's ``mcp_toolset`` tools: what each allows of the server it names."""
    found: dict[str, tuple[str, ...] | None] = {}
    for tool in as_list(document.get("tools")):
        described = as_dict(tool)
        server = as_text(described.get("mcp_server_name"))
        if described.get("type") != "mcp_toolset" or server is None:
            continue
        default_on = as_dict(described.get("default_config")).get("enabled") is not False
        configured = as_dict(described.get("configs"))
        enabled = [name for name in configured if as_dict(configured[name]).get("enabled")]
        found[server] = None if default_on else tuple(enabled)
    return found
