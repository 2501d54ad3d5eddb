"""Which MCP tools a call may use: on the path, and on the provider's side of a model call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.exchange import Exchange
from penstock.mcp import provider_servers
from penstock.policy.call import Call
from penstock.policy.policy import Rule
from penstock.policy.rules.tools import Tools, server_url

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
    """Every rule that refuses the call's tools, and why.

    Rules that only watch are judged together with those that act, but never instead of them:
    what they would grant or refuse does not change what the acting ones say.
    """
    enforced = [rule for rule in rules if rule.enforced]
    denials = _denials(enforced, call)
    if not denials and len(enforced) < len(rules):
        denials = [denial for denial in _denials(rules, call) if not denial[0].enforced]
    return denials


def _denials(rules: Sequence[Rule[Tools]], call: Call) -> list[tuple[Rule[Tools], str]]:
    if call.exchange.mcp is None:
        return _provider_side_denials(rules, call.exchange)
    about = _about(rules, server_url(call))
    names = tools_called(call.exchange) if about else []
    return [denial for name in names if (denial := refused(about, name)) is not None]


def _about(rules: Sequence[Rule[Tools]], url: str | None) -> list[Rule[Tools]]:
    return [rule for rule in rules if rule.act.speaks_of(url)]


def refused(about: Sequence[Rule[Tools]], name: str) -> tuple[Rule[Tools], str] | None:
    """The rule that refuses a tool, None when it may be called.

    ``about`` are the rules that speak of the server. A deny list wins; where there is an
    allow list, what no list names is refused.
    """
    for rule in about:
        if rule.act.denies(name):
            return rule, "the tool is denied"
    listing = [rule for rule in about if rule.act.allow is not None]
    if listing and not any(rule.act.admits(name) for rule in listing):
        # One that only watches is named first: with the acting ones alone the tool was granted.
        listing.sort(key=lambda rule: rule.enforced)
        return listing[0], "the tool is not on the list of what is allowed"
    return None


def _provider_side_denials(
    rules: Sequence[Rule[Tools]], exchange: Exchange
) -> list[tuple[Rule[Tools], str]]:
    """A model call that hands the provider MCP servers must grant only tools the rules allow."""
    denials = []
    for server in provider_servers(exchange) if rules else ():
        about = _about(rules, server.url)
        if not about:
            continue
        if server.allowed is None:
            if refused_somewhere(about):
                why = "the call lets the provider use every tool of a governed MCP server"
                denials.append((about[0], why))
            continue
        denials += [d for name in server.allowed if (d := refused(about, name)) is not None]
    return denials


def refused_somewhere(about: Sequence[Rule[Tools]]) -> bool:
    """False when the rules together let every tool through."""
    listing = [rule.act.allow for rule in about if rule.act.allow is not None]
    everything = not listing or any("*" in allow.patterns for allow in listing)
    return not everything or any(rule.act.deny is not None for rule in about)


def hidden_tools(rules: Sequence[Rule[Tools]], call: Call) -> Callable[[str], bool] | None:
    """What a tool list of this server must not show; None when nothing is hidden.

    A rule with a condition hides nothing: it may hold for the next call and not for this one.
    Its calls are checked all the same.
    """
    if call.exchange.mcp is None:
        return None
    acting = [rule for rule in rules if rule.enforced and rule.when is None]
    about = _about(acting, server_url(call))
    return (lambda name: refused(about, name) is not None) if about else None
