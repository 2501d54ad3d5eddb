"""``tools``: which tools, resources and prompts of an MCP server may be seen and used.

Also what the server may ask of its client, how large arguments and results may be, and
whether definitions must be those of a lock file.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from penstock.mcp import governs, server_problem, url_of
from penstock.mcp.lock import load as load_lock
from penstock.mcp.pins import Pin
from penstock.policy.call import Call
from penstock.policy.globs import Globs, covers
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind

Form = Literal["hidden", "advise", "error"]
OnChange = Literal["alert", "hide", "deny"]
Thing = Literal["tool", "resource", "prompt"]
EVERY_SERVER = "*"
# What one side may ask of the other besides tools, resources and prompts.
FEATURES = (
    "sampling", "elicitation", "roots", "completion", "logging", "tasks", "subscriptions",
)  # fmt: skip
# How long a call waits for a person before it is refused with a ticket. Clients give up on their
# own after a minute (TypeScript) or five (Python), and then nobody reads the refusal.
HOLD_SECONDS = 45
HOLD_SECONDS_MAX = 600
# Where confined values may not go.
CONFINED_FROM = ("servers", "models")
# A rule says something with at least one of these.
EFFECTS = (
    "allow", "deny", "resources", "prompts", "features",
    "max_argument_bytes", "max_result_bytes", "pins", "approve", "require",
    "taint", "confine", "audience", "questions",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Locked:
    """The pins of a lock file. Two are the same when they come from the same bytes."""

    path: Path
    digest: str
    servers: Mapping[str, Mapping[str, Pin]] = field(compare=False, repr=False)

    def pin(self, url: str, tool: str) -> Pin | None:
        """The tool as it was recorded for the server at ``url``."""
        return self.servers.get(url, {}).get(tool)


@dataclass(slots=True, frozen=True)
class Tools:
    """A list that is None leaves its kind of thing alone. ``server`` ``*``: every server."""

    server: str = EVERY_SERVER
    allow: Globs | None = None
    deny: Globs | None = None
    resources: Globs | None = None
    prompts: Globs | None = None
    features: tuple[str, ...] | None = None
    questions: Literal["no_secrets"] | None = None
    max_argument_bytes: int | None = None
    max_result_bytes: int | None = None
    oversized: Literal["refuse", "truncate"] = "refuse"
    taint: Globs | None = None
    confine: tuple[str, ...] | None = None  # finding types
    confine_from: tuple[str, ...] = CONFINED_FROM
    pins: Locked | None = None
    on_change: OnChange = "deny"
    approve: Globs | None = None
    hold_seconds: int = HOLD_SECONDS
    require: Literal["model_request"] | None = None
    audience: Globs | None = None
    refuse: Form = "advise"

    def speaks_of(self, url: str | None) -> bool:
        """True when the rule is about the server at ``url``.

        A server without an address (a provider's own connector) is named by ``*`` only.
        """
        if url is None:
            return self.server == EVERY_SERVER
        return governs(self.server, url)

    def denies(self, thing: Thing, name: str) -> bool:
        """True when the rule's deny list names the tool."""
        return thing == "tool" and self.deny is not None and self.deny.match(name)

    def listing(self, thing: Thing) -> Globs | None:
        """The list of what may be used, for one kind of thing."""
        return {"tool": self.allow, "resource": self.resources, "prompt": self.prompts}[thing]

    def admits(self, thing: Thing, name: str) -> bool:
        """True when the rule's list names it."""
        listed = self.listing(thing)
        return listed is not None and listed.match(name)


OWN = "server"  # the server's own address, among audiences


def for_another(act: Tools, call: Call) -> bool:
    """True for a token that says it is for somebody else than the rule lets it be for."""
    said = call.caller.audiences
    if act.audience is None or said is None:
        return False
    url = server_url(call)
    origin = url_of(call.scheme, call.destination.host, call.destination.port, "")
    own = {url, url.rstrip("/"), origin, f"{origin}/", call.destination.host}
    named = OWN in act.audience.patterns
    return not any(act.audience.match(one) or (named and one in own) for one in said)


def server_url(call: Call) -> str:
    """The MCP server a call goes to."""
    destination = call.destination
    return url_of(call.scheme, destination.host, destination.port, call.path)


def build(section: Section) -> Tools | None:
    """The rule of a ``tools`` section."""
    values = section.values
    allow, deny = values.get("allow"), values.get("deny")
    if not any(name in section.lines for name in EFFECTS):
        section.report(
            "a tools rule needs 'allow' or 'deny': a list of tool names; "
            f"or one of {', '.join(EFFECTS[2:])}"
        )
        return None
    if allow and deny and all(covers(deny, pattern) for pattern in allow):
        section.report("every tool that is allowed is denied too: the list has no effect", "allow")
    if "confine_from" in values and "confine" not in section.lines:
        section.report("has no effect without 'confine'", "confine_from")
    for name in ("deny", "approve", "taint", "audience"):
        if values.get(name) == ():
            section.report(f"an empty list {_EMPTY[name]} nothing", name)
    if "hold" in values and "approve" not in section.lines:
        section.report("has no effect without 'approve'", "hold")
    if values.get("hold", 0) > HOLD_SECONDS_MAX:
        section.report(f"no call is held longer than {HOLD_SECONDS_MAX // 60}m", "hold")
    if "oversized" in values and "max_result_bytes" not in section.lines:
        section.report("has no effect without 'max_result_bytes'", "oversized")
    if "on_change" in values and "pins" not in section.lines:
        section.report("has no effect without 'pins'", "on_change")
    server = values.get("server", EVERY_SERVER)
    wrong = server_problem(server)
    if wrong is not None:
        section.report(wrong, "server")
    lists: dict[str, Any] = {
        name: Globs(values[name], fold=False)
        for name in ("allow", "deny", "resources", "prompts", "approve", "taint", "audience")
        if name in values
    }
    plain = (
        "features", "questions", "max_argument_bytes", "max_result_bytes", "oversized",
        "on_change", "require", "refuse", "confine", "confine_from",
    )  # fmt: skip
    return Tools(
        server,
        pins=_locked(section) if "pins" in values else None,
        hold_seconds=values.get("hold", HOLD_SECONDS),
        **lists,
        **{name: values[name] for name in plain if name in values},
    )


_EMPTY = {"deny": "denies", "approve": "asks for", "taint": "taints", "audience": "admits"}


def _locked(section: Section) -> Locked | None:
    """The lock file a rule names, relative to the policy's own folder."""
    path = Path(section.reader.file).parent / section.values["pins"]
    try:
        return Locked(path, *load_lock_file(path))
    except OSError as error:
        section.report(f"{path} cannot be read: {error.strerror or error}", "pins")
    except ValueError as error:
        section.report(str(error), "pins")
    return None


def load_lock_file(path: Path) -> tuple[str, Mapping[str, Mapping[str, Pin]]]:
    """Digest and pins of a lock file; raises OSError and ValueError."""
    return blake2b(path.read_bytes(), digest_size=16).hexdigest(), load_lock(path)


def pinned(act: Hashable) -> Locked | None:
    """The lock file of a rule's act, if it has one."""
    return act.pins if isinstance(act, Tools) else None


KIND = Kind(
    "tools",
    "Which tools, resources and prompts of an MCP server may be seen and used. With a list, the "
    "server's others are refused and left out of its lists.",
    (
        Key("server", "text", "The server's URL, or a pattern for it. Default: every server."),
        Key("allow", "globs", "Tools that may be called; an empty list allows none."),
        Key("deny", "globs", "Tools that may not, whatever else allows them."),
        Key("resources", "globs", "URIs of resources that may be read; an empty list allows none."),
        Key("prompts", "globs", "Prompts that may be got; an empty list allows none."),
        Key(
            "features",
            "choices",
            "What server and client may ask of each other besides; the others are refused.",
            FEATURES,
        ),
        Key(
            "questions",
            "choice",
            "no_secrets: a server that asks the person for a password, key, code or the like, or "
            "sends them to another host, is refused.",
            ("no_secrets",),
        ),
        Key("max_argument_bytes", "count", "Largest arguments of one call, as compact JSON."),
        Key("max_result_bytes", "count", "Largest result of one call."),
        Key(
            "oversized",
            "choice",
            "refuse (default): a larger result is refused whole. truncate: its long texts are cut, "
            "alike in content and structured content; what does not fit even so is refused.",
            ("refuse", "truncate"),
        ),
        Key("pins", "text", "A lock file (penstock mcp pin), beside the policy."),
        Key(
            "on_change",
            "choice",
            "A tool that is not as pinned: deny (default) and hide refuse it and leave it out of "
            "lists, hide as if there were none; alert only tells.",
            ("alert", "hide", "deny"),
        ),
        Key("approve", "globs", "Tools a person has to agree to, call by call."),
        Key(
            "hold",
            "duration",
            "How long such a call waits for the person before it is refused with a ticket. "
            "Default 45s, at most 10m.",
        ),
        Key(
            "require",
            "choice",
            "model_request: a tool may be called only after a model asked for it.",
            ("model_request",),
        ),
        Key(
            "audience",
            "globs",
            "Whom a token sent to the server has to be for; server stands for its own address. "
            "Tokens that do not say it (no JWT) pass.",
        ),
        Key(
            "taint",
            "globs",
            "Tools whose results may be hostile: caller.tainted is true for an hour after one.",
        ),
        Key(
            "confine",
            "types",
            "Finding types: what is found in the server's results may not go elsewhere.",
        ),
        Key(
            "confine_from",
            "choices",
            "Where it may not go: other servers, models. Default both.",
            CONFINED_FROM,
        ),
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
