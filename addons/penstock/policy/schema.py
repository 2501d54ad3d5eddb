"""The policy language as JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.policy.keys import RULE, SETTINGS, Key, shape_schema
from penstock.policy.rules import KINDS


def policy_schema(types: Sequence[str]) -> dict[str, Any]:
    """The schema; ``types`` are the finding types a rule may name."""
    names = tuple(sorted({*types, *(name.rpartition(".")[0] for name in types if "." in name)}))
    verbs = {kind.verb: {"description": kind.doc, **section(kind.keys, names)} for kind in KINDS}
    rule = section(RULE, names)
    rule["properties"] |= verbs
    rule["oneOf"] = [{"required": [verb]} for verb in verbs]
    whole = section(SETTINGS, names)
    whole["properties"]["rules"] = {
        "description": "A flat list; its order never matters.",
        "type": "array",
        "items": rule,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock policy",
        **whole,
    }


def section(keys: Iterable[Key], types: tuple[str, ...]) -> dict[str, Any]:
    """One mapping: its keys, which of them must be there, and no others."""
    keys = tuple(keys)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: shape_schema(key, types) for key in keys},
    }
    required = [key.name for key in keys if key.required]
    if required:
        schema["required"] = required
    return schema
