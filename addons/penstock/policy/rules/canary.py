"""``canary``: a marker is planted in the system prompt, to be known again elsewhere.

What happens when it turns up says another rule: ``deny: {find: [leakage.canary], in: [both]}``.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.detect.leakage.canary import planted
from penstock.exchange import Leaf
from penstock.policy import target
from penstock.policy.call import Call, kind_of
from penstock.policy.language.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.target import Target, read_target
from penstock.wire.edits import Edit

# The fields that hold a prompt's words; a role or a type beside them is no place for more.
FIELDS = frozenset(("content", "text", "system", "instructions", "preamble", "prompt"))


@dataclass(slots=True, frozen=True)
class Canary:
    """Which calls get one; ``canary: {}``: all calls to models that have a system prompt."""

    target: Target

    def names(self, call: Call) -> bool:
        """True when the rule speaks of the call."""
        return kind_of(call) == "model" and self.target.names(call)


def planting(call: Call, canary: str) -> Edit | None:
    """The edit that adds the canary at the end of the first system text; None without one.

    It depends on nothing but that text, so the bytes are the same turn after turn.
    """
    leaf = next((leaf for leaf in call.exchange.leaves if _holds_prompt(leaf)), None)
    if leaf is None:
        return None
    return Edit(leaf, len(leaf.text), len(leaf.text), planted(canary))


def _holds_prompt(leaf: Leaf) -> bool:
    if leaf.zone != "system" or leaf.blob or leaf.is_key or not leaf.editable or not leaf.text:
        return False
    field = next((name for name in reversed(leaf.path) if isinstance(name, str)), None)
    return field is None or field in FIELDS


def build(section: Section) -> Canary:
    """The rule of a ``canary`` section."""
    rule = Canary(read_target(section))
    if rule.target.is_nothing:
        section.report("an empty list matches nothing: the rule can never plant")
    return rule


KIND = Kind(
    "canary",
    "Where a marker is planted in the system prompt; leakage.canary finds it elsewhere. {} is "
    "every call to a model.",
    target.KEYS,
    build,
)
