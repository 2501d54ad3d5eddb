"""Which MCP tools a call may use: on the path, and on the provider's side of a model call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.exchange import Exchange
from penstock.mcp import provider_servers
from penstock.policy.call import Call
from penstock.policy.policy import Rule
from penstock.policy.rules.tools import Tools, plain_url, server_url

CALL = "tools/call"


def tools_called(exchange: Exchange) -> list[str]:
    """Names of the tools a request calls; several in a batch."""
    document = exchange.document
    messages = document if isinstance(document, list) else [document]
    names = []
    for message in messages:
        if isinstance(message, dict) and message.get("method") == CALL:
            parameters = message.get("params")
            name = parameters.get("name") if isinstance(parameters, dict) else None
            names.append(name if isinstance(name, str) else "")
    return names


def tool_denials(rules: Sequence[Rule[Tools]], call: Call) -> list[tuple[Rule[Tools], str]]:
    """Every rule that refuses the call's tools, and why."""
    if call.exchange.mcp is not None:
        about = [rule for rule in rules if rule.act.speaks_of(server_url(call))]
        names = tools_called(call.exchange) if about else []
        return [denial for name in names if (denial := refused(about, name)) is not None]
    return list(provider_side_denials(rules, call.exchange))


def refused(about: Sequence[Rule[Tools]], name: str) -> tuple[Rule[Tools], str] | None:
    """The rule that refuses a tool, None when it may be called.

    ``about`` are the rules that speak of the server. A deny list wins; where there is an
    allow list, what no list names is refused.
    """
    for rule in about:
        if rule.act.denies(name):
            return rule, f"the tool '{name[:64]}' is denied"
    listing = [rule for rule in about if rule.act.allow is not None]
    if listing and not any(rule.act.admits(name) for rule in listing):
        return listing[0], f"the tool '{name[:64]}' is not granted"
    return None


def provider_side_denials(
    rules: Sequence[Rule[Tools]], exchange: Exchange
) -> list[tuple[Rule[Tools], str]]:
    """A model call that hands the provider MCP servers must grant only tools the rules allow."""
    denials = []
    for server in provider_servers(exchange) if rules else ():
        if server.url is None:
            continue
        about = [rule for rule in rules if rule.act.speaks_of(plain_url(server.url))]
        if not about:
            continue
        if server.allowed is None:
            why = "the call lets the provider use every tool of a governed MCP server"
            denials.append((about[0], why))
            continue
        denials += [d for name in server.allowed if (d := refused(about, name)) is not None]
    return denials


def hidden_tools(rules: Sequence[Rule[Tools]], call: Call) -> Callable[[str], bool] | None:
    """What a tool list of this server must not show; None when nothing is hidden."""
    about: list[Rule[Any]] = [
        rule for rule in rules if rule.enforced and rule.act.speaks_of(server_url(call))
    ]
    if call.exchange.mcp is None or not about:
        return None
    return lambda name: refused(about, name) is not None
