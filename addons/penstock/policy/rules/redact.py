"""``redact``: findings are replaced, in what is sent, in what comes back, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from penstock.policy import find
from penstock.policy.find import Find, read_find
from penstock.policy.keys import Key
from penstock.policy.read import Section
from penstock.policy.rules.kind import Kind
from penstock.policy.state import State

Method = Literal["placeholder", "mask", "hash", "remove"]
# Where rules disagree about the same characters, the one that keeps least wins.
METHODS: tuple[Method, ...] = ("remove", "mask", "hash", "placeholder")


@dataclass(slots=True, frozen=True)
class Redact:
    """What is looked for, where, and what stands in its place."""

    find: Find
    method: Method = "placeholder"


def replacement(method: Method, type_name: str, value: str, state: State) -> str:
    """The text that stands for ``value``; only a placeholder can be turned back."""
    match method:
        case "placeholder":
            return state.seal(type_name, value)
        case "hash":
            return f"[{type_name}:{state.digest(type_name, value)}]"
        case "mask":
            return f"[{type_name}]"
        case "remove":
            return ""


def build(section: Section) -> Redact | None:
    """The rule of a ``redact`` section; None (and a problem) without ``find``."""
    wanted = read_find(section)
    return Redact(wanted, section.values.get("with", "placeholder")) if wanted else None


KIND = Kind(
    "redact",
    "What is replaced. A finding in a part that cannot be changed (signed, hashed) refuses "
    "the call instead.",
    (
        Key("find", "types", find.KEYS[0].doc, required=True),
        find.KEYS[1],
        Key(
            "with",
            "choice",
            "placeholder (default; restored in the answer), mask (the type's name), hash (keyed: "
            "the same value gives the same hash) or remove.",
            ("placeholder", "mask", "hash", "remove"),
        ),
    ),
    build,
)
