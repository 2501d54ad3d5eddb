"""``tools``: which tools of an MCP server may be seen and called."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from penstock.policy.call import Call
from penstock.policy.globs import Globs, covers
from penstock.policy.keys import Key
from penstock.policy.read import Section
from penstock.policy.rules.kind import Kind

Form = Literal["hidden", "advise", "error"]


@dataclass(slots=True, frozen=True)
class Tools:
    """``allow`` None: every tool that is not denied. ``server`` None: every server."""

    server: Globs | None = None
    allow: Globs | None = None
    deny: Globs | None = None
    refuse: Form = "advise"

    def speaks_of(self, url: str) -> bool:
        """True when the rule is about the server at ``url`` (see ``server_url``)."""
        if self.server is None:
            return True
        bare = url.split("://", 1)[-1]
        return any(self.server.match(form) for form in (url, url + "/", bare, bare + "/"))

    def denies(self, tool: str) -> bool:
        """True when the rule's deny list names the tool."""
        return self.deny is not None and self.deny.match(tool)

    def admits(self, tool: str) -> bool:
        """True when the rule's allow list names the tool."""
        return self.allow is not None and self.allow.match(tool)


def server_url(call: Call) -> str:
    """The MCP server a call goes to, in one spelling: scheme, host, port if unusual, path."""
    destination = call.destination
    usual = {"https": 443, "http": 80}.get(call.scheme) == destination.port
    place = destination.host.lower() + ("" if usual else f":{destination.port}")
    return f"{call.scheme}://{place}{_plain_path(call.path)}"


def plain_url(url: str) -> str:
    """The same spelling for a URL that stands in a request (provider-side MCP)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url
    usual = port is None or {"https": 443, "http": 80}.get(parts.scheme) == port
    place = (parts.hostname or "") + ("" if usual else f":{port}")
    return f"{parts.scheme.lower()}://{place}{_plain_path(parts.path)}"


def _plain_path(path: str) -> str:
    """Without query, escapes, doubled slashes and dot segments: one server, one spelling."""
    clean = posixpath.normpath(unquote(path.split("?", 1)[0]) or "/")
    return "/" + clean.strip("/") if clean != "." else "/"


def build(section: Section) -> Tools | None:
    """The rule of a ``tools`` section."""
    values = section.values
    allow, deny = values.get("allow"), values.get("deny")
    if "allow" not in section.lines and "deny" not in section.lines:
        section.report("a tools rule needs 'allow' or 'deny': a list of tool names")
        return None
    if allow and deny and all(covers(deny, pattern) for pattern in allow):
        section.report("every tool that is allowed is denied too: the list has no effect", "allow")
    if deny == ():
        section.report("an empty list denies nothing", "deny")
    server = values.get("server")
    return Tools(
        Globs((server,)) if server else None,
        Globs(allow, fold=False) if allow is not None else None,
        Globs(deny, fold=False) if deny is not None else None,
        values.get("refuse", "advise"),
    )


KIND = Kind(
    "tools",
    "Which tools of an MCP server may be seen and called. With an allow list, the server's "
    "other tools are refused and left out of its lists.",
    (
        Key("server", "text", "The server's URL, or a pattern for it. Default: every server."),
        Key("allow", "globs", "Tools that may be called; an empty list allows none."),
        Key("deny", "globs", "Tools that may not, whatever else allows them."),
        Key(
            "refuse",
            "choice",
            "advise (default): a result the model can read. hidden: as if there were no such "
            "tool. error: a JSON-RPC error.",
            ("hidden", "advise", "error"),
        ),
    ),
    build,
)
