"""An object of a request read strictly: each field is taken by name, the rest is refused.

``null`` is what a field that is not there is. Every refusal names the field as the caller
wrote it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from penstock.route.translate.conversation import UntranslatableError


class Fields:
    """What is left of one JSON object while it is read."""

    def __init__(self, value: Any, where: str = "", *, camel: bool = False) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise UntranslatableError(where or "body", "it is no object")
        self.left: dict[str, Any] = {}
        self._spelling: dict[str, str] = {}
        for key, one in value.items():
            name = _camel(key) if camel else key
            if one is None:
                continue
            if name in self.left:
                raise UntranslatableError(self.path(key), "it is said twice")
            self.left[name] = one
            self._spelling[name] = key

    def path(self, name: str) -> str:
        """A field of this object, as it is called in refusals."""
        name = self._spelling.get(name, name)
        return f"{self.where}.{name}" if self.where else name

    def refuse(self, name: str, why: str = "") -> UntranslatableError:
        """The error that names this field."""
        return UntranslatableError(self.path(name), why)

    def take(self, name: str) -> Any:
        """The field's value, None where it is not there."""
        return self.left.pop(name, None)

    def text(self, name: str) -> str | None:
        """The field as a string."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise self.refuse(name, "it is no string")
        return value

    def needed(self, name: str) -> str:
        """The field as a string that has to be there."""
        value = self.text(name)
        if value is None:
            raise self.refuse(name, "it is missing")
        return value

    def number(self, name: str) -> float | None:
        """The field as a number."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
            raise self.refuse(name, "it is no number")
        return value

    def count(self, name: str) -> int | None:
        """The field as a whole number, not negative."""
        value = self.number(name)
        if value is None:
            return None
        if value < 0 or value != int(value):
            raise self.refuse(name, "it is no whole number")
        return int(value)

    def flag(self, name: str) -> bool | None:
        """The field as true or false."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "it is neither true nor false")
        return value

    def listed(self, name: str) -> list[Any]:
        """The field as a list, empty where it is not there."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refuse(name, "it is no list")
        return value

    def texts(self, name: str) -> list[str]:
        """The field as a list of strings; one string is a list of one."""
        value = self.left.get(name)
        if isinstance(value, str):
            del self.left[name]
            return [value]
        found = self.listed(name)
        if not all(isinstance(one, str) for one in found):
            raise self.refuse(name, "it is no list of strings")
        return found

    def object(self, name: str) -> dict[str, Any] | None:
        """The field as an object that is handed on as it is."""
        value = self.take(name)
        if value is not None and not isinstance(value, dict):
            raise self.refuse(name, "it is no object")
        return value

    def says_nothing(self, name: str, *defaults: Any) -> None:
        """Refuse the field unless it says what its absence says."""
        value = self.take(name)
        if value is None or value in ([], {}, ""):
            return
        if not any(value == one and type(value) is type(one) for one in defaults):
            raise self.refuse(name)

    def done(self) -> None:
        """Refuse what nobody took."""
        for name in self.left:
            raise self.refuse(name)


def content_texts(fields: Fields, name: str, kind: str = "text") -> list[tuple[str, str]]:
    """Content that must be text, as (text, where): a string, or a list of text parts."""
    value = fields.left.get(name)
    where = fields.path(name)
    if isinstance(value, str):
        del fields.left[name]
        return [(value, where)]
    found = []
    for index, part in enumerate(fields.listed(name)):
        place = f"{where}[{index}]"
        found.append((text_part(part, place, kind), place))
    return found


def text_part(part: Any, where: str, kind: str = "text") -> str:
    """The words of a typed part; any other type is refused by its name."""
    fields = Fields(part, where)
    said = fields.text("type")
    if said != kind:
        raise UntranslatableError(f"{where}.type", f"'{said}'" if said else "")
    text = fields.needed("text")
    fields.done()
    return text


def arguments_of(text: str, where: str) -> dict[str, Any]:
    """Tool-call arguments as the object their JSON text is; no text is no arguments."""
    if not text.strip():
        return {}
    value = parsed(text)
    if not isinstance(value, dict):
        raise UntranslatableError(where, "it is no JSON object")
    return value


def parsed(text: str | bytes) -> Any:
    """The JSON value, integers of any size; None where it is none that everybody reads."""
    try:
        value = json.loads(text, parse_constant=_no_number)
        json.dumps(value, allow_nan=False)  # 1e999 is a number, and infinite
    except (ValueError, RecursionError):
        return None
    return value


def _no_number(word: str) -> None:
    raise ValueError(word)


def json_text(value: Any) -> str:
    """Compact JSON, as models write arguments."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def duplicates(names: Iterable[str]) -> bool:
    """True when a name comes twice."""
    seen = list(names)
    return len(set(seen)) != len(seen)


def _camel(name: str) -> str:
    """Google's JSON knows each field in camel case and in snake case."""
    if "_" not in name.strip("_"):
        return name
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
