"""Read values out of parsed JSON whose types nobody promised.

Each function answers the value when it has the wanted type, and the empty value of that
type (or None) when it has not: hostile or broken bodies never raise here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.exchange import Usage

# Token counts and sizes above 2**53 are not exact in JSON (RFC 8259, section 6); no true
# count comes near it, so a larger number is a broken or hostile one.
COUNT_MAX = 2**53


def as_dict(value: Any) -> dict[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """``value`` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """The objects among the elements of ``value``; other elements are left out."""
    return [element for element in as_list(value) if isinstance(element, dict)]


def as_text(value: Any) -> str | None:
    """``value`` if it is a string, else None."""
    return value if isinstance(value, str) else None


def name_of(value: Any) -> str:
    """The ``name`` of an object that has one; else nothing."""
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


def as_count(value: Any) -> int | None:
    """``value`` if it is a whole number from 0 to COUNT_MAX (12.0 is one), else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= COUNT_MAX:
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def at(value: Any, *path: str | int) -> Any:
    """What stands at ``path`` below ``value``, or None where the path breaks off."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def renamed(values: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of ``values`` that have a common name, under that."""
    fields = as_dict(values)
    found = {common: fields.get(name) for name, common in names.items()}
    return {common: value for common, value in found.items() if value is not None}


def counted(fresh: int | None, output: int | None, names: tuple[str, str]) -> Usage:
    """A usage of two counts that include all there is; ``names`` are the provider's."""
    if fresh is None and output is None:
        return Usage()
    raw = {names[0]: fresh or 0, names[1]: output or 0}
    return Usage(fresh, output, input_total=fresh, output_total=output, raw=raw)


def total(*counts: int | None) -> int | None:
    """The sum of the known counts; None when none is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
