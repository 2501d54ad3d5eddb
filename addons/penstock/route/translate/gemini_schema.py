"""Google's own schema of a function's parameters, as JSON Schema.

Source: Gemini API reference, "Schema": a subset of OpenAPI 3.0 with types in capitals, int64
numbers that may be strings, ``nullable`` and ``propertyOrdering``. The other direction needs
nothing: ``parametersJsonSchema`` takes JSON Schema as it is.
"""

from __future__ import annotations

from typing import Any

from penstock.route.translate.conversation import UntranslatableError
from penstock.route.translate.fields import Fields

# Requests deeper than this are refused before anything reads them (wire.json_leaves).
DEPTH_MAX = 128
_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_SAME = ("format", "title", "description", "enum", "required", "pattern", "default")
_NUMBERS = ("minimum", "maximum")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def json_schema(value: Any, where: str, depth: int = 0) -> dict[str, Any]:
    """The schema in JSON Schema's words. UntranslatableError names what it has no word for."""
    if depth > DEPTH_MAX:
        raise UntranslatableError(where, "it is too deep")
    fields = Fields(value, where, camel=True)
    made: dict[str, Any] = {}
    kind = fields.text("type")
    if kind is not None:
        if kind.lower() not in _TYPES:
            raise fields.refuse("type", f"'{kind}'")
        made["type"] = kind.lower()
    for name in _SAME:
        if (one := fields.take(name)) is not None:
            made[name] = one
    for name in _NUMBERS:
        if (number := fields.number(name)) is not None:
            made[name] = number
    for name in _COUNTS:
        if (count := _count(fields, name)) is not None:
            made[name] = count
    if (example := fields.take("example")) is not None:
        made["examples"] = [example]
    properties = _properties(fields, depth)
    if properties is not None:
        made["properties"] = properties
    if (items := fields.take("items")) is not None:
        made["items"] = json_schema(items, fields.path("items"), depth + 1)
    choices = fields.listed("anyOf")
    if choices:
        place = fields.path("anyOf")
        made["anyOf"] = [json_schema(c, f"{place}[{i}]", depth + 1) for i, c in enumerate(choices)]
    if fields.flag("nullable"):
        _nullable(made)
    fields.done()
    return made


def _count(fields: Fields, name: str) -> int | None:
    value = fields.left.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        del fields.left[name]
        return int(value)
    return fields.count(name)


def _properties(fields: Fields, depth: int) -> dict[str, Any] | None:
    """The properties, in the order that is asked for."""
    order = fields.texts("propertyOrdering")
    properties = fields.object("properties")
    if properties is None:
        return None
    place = fields.path("properties")
    made = {k: json_schema(v, f"{place}.{k}", depth + 1) for k, v in properties.items()}
    first = {name: made[name] for name in order if name in made}
    return {**first, **made}


def _nullable(made: dict[str, Any]) -> None:
    if "type" in made:
        made["type"] = [made["type"], "null"]
    if "anyOf" in made:
        made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    if "enum" in made and None not in made["enum"]:
        made["enum"] = [*made["enum"], None]
