"""The policy language as JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.policy.language.keys import RULE, SETTINGS, Key, shape_schema
from penstock.policy.language.read import with_parents
from penstock.policy.rules import KINDS


def policy_schema(types: Sequence[str]) -> dict[str, Any]:
    """The schema; ``types`` are the finding types a rule may name."""
    verbs = {
        kind.verb: {"description": kind.doc, **section(kind.keys), **kind.also} for kind in KINDS
    }
    rule = section(RULE)
    rule["properties"] |= verbs
    rule["oneOf"] = [{"required": [verb]} for verb in verbs]
    whole = section(SETTINGS)
    whole["properties"]["rules"] = {
        "description": "A flat list; its order never matters.",
        "type": "array",
        "items": rule,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock policy",
        **whole,
        "$defs": {
            "finding_type": {
                "anyOf": [{"enum": sorted(with_parents(types))}, {"pattern": "^custom(\\.|$)"}]
            }
        },
    }


def section(keys: Iterable[Key]) -> dict[str, Any]:
    """One mapping: its keys, which of them must be there, and no others."""
    keys = tuple(keys)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: shape_schema(key) for key in keys},
    }
    required = [key.name for key in keys if key.required]
    if required:
        schema["required"] = required
    return schema
