"""``allow``: what may be called. What it covers and no allow rule admits is refused.

With ``credentials`` the rule is also a pin: a call to what it names must carry one of these
keys and no other, whatever other allow rules say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.policy import target
from penstock.policy.call import Call, kind_of
from penstock.policy.call import Kind as CallKind
from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import Target, read_target

FINGERPRINT = re.compile(r"[0-9a-f]{16}")  # as caller.credentials makes them


@dataclass(slots=True, frozen=True)
class Allow:
    """``allow: {hosts: []}`` covers everything and admits nothing: default deny."""

    target: Target
    credentials: frozenset[str] | None = None

    def covers(self, kind: CallKind) -> bool:
        """True when destinations of this kind need an allow rule because of this one.

        Keys alone open no destination: such a rule only pins.
        """
        return self.target.covers(kind) and not self._only_pins

    def admits(self, call: Call) -> bool:
        """True when this rule lets the call's destination and model through."""
        return self.target.admits(call)

    def pins(self, call: Call) -> bool:
        """True when the call must carry one of the rule's keys; any sign is enough."""
        if self.credentials is None:
            return False
        return kind_of(call) == "model" if self._only_pins else self.target.names(call)

    def knows_key(self, call: Call) -> bool:
        """True when the call carries keys, and all of them are the rule's."""
        assert self.credentials is not None  # asked of rules that pin
        carried = call.caller.credentials
        return bool(carried) and self.credentials.issuperset(carried)

    @property
    def _only_pins(self) -> bool:
        return self.credentials is not None and self.target.is_everything


def build(section: Section) -> Allow:
    """The rule of an ``allow`` section."""
    named = section.values.get("credentials")
    if named is not None and not all(FINGERPRINT.fullmatch(one) for one in named):
        # The value is not repeated: it may be a key.
        section.report(
            "a fingerprint has 16 hexadecimal digits: 'penstock keys' lists those seen, "
            "'penstock keys fingerprint' makes one. Never write a key here",
            "credentials",
        )
    return Allow(read_target(section), None if named is None else frozenset(named))


KIND = Kind(
    "allow",
    "What may be called. Where one allow rule covers a kind of destination (models, MCP "
    "servers, other), what no allow rule matches is refused.",
    (
        *target.KEYS,
        Key(
            "credentials",
            "globs",
            "Fingerprints of the keys that may be used there; every key a call carries must be "
            "one of them. Alone: for all calls to models.",
        ),
    ),
    build,
)
