"""``tools``: which tools of an MCP server may be seen and called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.mcp import governs, server_problem, url_of
from penstock.policy.call import Call
from penstock.policy.globs import Globs, covers
from penstock.policy.keys import Key
from penstock.policy.read import Section
from penstock.policy.rules.kind import Kind

Form = Literal["hidden", "advise", "error"]
EVERY_SERVER = "*"


@dataclass(slots=True, frozen=True)
class Tools:
    """``allow`` None: every tool that is not denied. ``server`` ``*``: every server."""

    server: str = EVERY_SERVER
    allow: Globs | None = None
    deny: Globs | None = None
    refuse: Form = "advise"

    def speaks_of(self, url: str | None) -> bool:
        """True when the rule is about the server at ``url``.

        A server without an address (a provider's own connector) is named by ``*`` only.
        """
        if url is None:
            return self.server == EVERY_SERVER
        return governs(self.server, url)

    def denies(self, tool: str) -> bool:
        """True when the rule's deny list names the tool."""
        return self.deny is not None and self.deny.match(tool)

    def admits(self, tool: str) -> bool:
        """True when the rule's allow list names the tool."""
        return self.allow is not None and self.allow.match(tool)


def server_url(call: Call) -> str:
    """The MCP server a call goes to."""
    destination = call.destination
    return url_of(call.scheme, destination.host, destination.port, call.path)


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
    server = values.get("server", EVERY_SERVER)
    wrong = server_problem(server)
    if wrong is not None:
        section.report(wrong, "server")
    return Tools(
        server,
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
