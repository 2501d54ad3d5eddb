"""Names of many servers' things at one address, so that no two can be the same.

``server__tool`` for tools and prompts, ``server+uri`` for resources and their templates (a URI's
scheme may hold a plus sign). A server's own name has no underscore and no plus sign: what comes
before the first is always the server.
"""

from __future__ import annotations

from typing import Any

from penstock.wire.loose import as_dict, as_list, as_text

BETWEEN = "__"
BEFORE_URI = "+"


def tool_of(name: str) -> tuple[str, str]:
    """Server and its own name of a tool or prompt; an empty server when there is none."""
    server, between, own = name.partition(BETWEEN)
    return (server, own) if between else ("", name)


def uri_of(uri: str) -> tuple[str, str]:
    """Server and its own URI of a resource."""
    server, between, own = uri.partition(BEFORE_URI)
    return (server, own) if between else ("", uri)


def named_list(server: str, member: str, elements: list[Any]) -> list[dict[str, Any]]:
    """A server's list with names that are unique here; what has no name is left out."""
    key = {"resources": "uri", "resourceTemplates": "uriTemplate"}.get(member, "name")
    between = BETWEEN if key == "name" else BEFORE_URI
    named = []
    for element in elements:
        own = as_text(as_dict(element).get(key))
        if own is not None:
            named.append({**element, key: f"{server}{between}{own}"})
    return named


def with_named_resources(server: str, result: dict[str, Any]) -> dict[str, Any]:
    """A result whose links and embedded resources can be read here."""
    for member in ("content", "contents"):
        if isinstance(result.get(member), list):
            result = {**result, member: [_named(server, one) for one in result[member]]}
    messages = as_list(result.get("messages"))
    if messages:
        named = [
            {**one, "content": _named(server, one["content"])}
            if isinstance(as_dict(one).get("content"), dict)
            else one
            for one in messages
        ]
        result = {**result, "messages": named}
    return result


def _named(server: str, block: Any) -> Any:
    fields = as_dict(block)
    if isinstance(fields.get("resource"), dict):
        return {**fields, "resource": _named(server, fields["resource"])}
    uri = as_text(fields.get("uri"))
    return block if uri is None else {**fields, "uri": f"{server}{BEFORE_URI}{uri}"}
