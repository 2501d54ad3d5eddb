"""What each rule kind offers: its verb, its keys, and how its section becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.policy.language.keys import Key
from penstock.policy.language.read import Section


@dataclass(slots=True, frozen=True)
class Kind:
    """One verb of the policy language. ``build`` reports problems through the section."""

    verb: str
    doc: str
    keys: tuple[Key, ...]
    build: Callable[[Section], Any]
    also: Mapping[str, Any] = field(default_factory=dict)  # JSON Schema: what keys need of others
