"""``allow``: what may be called. What it covers and no allow rule admits is refused."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.policy import target
from penstock.policy.call import Call
from penstock.policy.call import Kind as CallKind
from penstock.policy.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import Target, read_target


@dataclass(slots=True, frozen=True)
class Allow:
    """``allow: {hosts: []}`` covers everything and admits nothing: default deny."""

    target: Target

    def covers(self, kind: CallKind) -> bool:
        """True when destinations of this kind need an allow rule because of this one."""
        return self.target.covers(kind)

    def admits(self, call: Call) -> bool:
        """True when this rule lets the call's destination and model through."""
        return self.target.admits(call)


def build(section: Section) -> Allow:
    """The rule of an ``allow`` section."""
    return Allow(read_target(section))


KIND = Kind(
    "allow",
    "What may be called. Where one allow rule covers a kind of destination (models, MCP "
    "servers, other), what no allow rule matches is refused.",
    target.KEYS,
    build,
)
