"""Pins: what a tool was when somebody looked at it, so that a later change is seen.

A server may change a tool's description after it was approved (a "rug pull"), and the model
reads the new one. A pin is a hash over everything of a definition that a model or a client acts
on; the lock file keeps pins with the readable texts, for review in a pull request. Pure
functions; the file format is in ``lock``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from penstock.wire.loose import as_dict, as_text

# What a definition consists of. Everything else (``_meta``) reaches neither model nor policy.
FIELDS = ("title", "description", "inputSchema", "outputSchema", "annotations", "icons")

ChangeKind = Literal["added", "removed", "changed"]

# Floats are the one thing in strict JSON that the quick writer and the canonical one write
# differently. Texts may look like one: they are only written the slow way then.
_MAY_BE_FLOAT = re.compile(rb"[0-9][.e]")


@dataclass(slots=True, frozen=True)
class Pin:
    """One tool as recorded: a hash for each field, and the texts a person reads."""

    name: str
    hash: str
    fields: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    description: str | None = None


@dataclass(slots=True, frozen=True)
class Change:
    """How a server's tool differs from its pin. ``fields`` are the ones that changed."""

    tool: str
    kind: ChangeKind
    fields: tuple[str, ...] = ()
    before: Pin | None = None
    after: Pin | None = None


Tools = Mapping[str, Pin]


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of ``value``: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def pin_hash(definition: Mapping[str, Any]) -> str:
    """``pin_of(definition).hash``, ten times as fast, of what was read from strict JSON.

    Not of anything else: the quick writer takes NaN, which strict JSON has not, for null.
    """
    name, present = _parts(definition)
    written = orjson.dumps({"name": name, **present}, option=orjson.OPT_SORT_KEYS)
    if _MAY_BE_FLOAT.search(written) is not None:
        return digest({"name": name, **present})
    return "sha256:" + hashlib.sha256(written).hexdigest()


def pin_of(definition: Mapping[str, Any]) -> Pin:
    """The pin of a tool definition as it stands in a ``tools/list`` answer."""
    name, present = _parts(definition)
    return Pin(
        name=name,
        hash=digest({"name": name, **present}),
        fields={key: digest(value) for key, value in present.items()},
        title=as_text(present.get("title")),
        description=as_text(present.get("description")),
    )


def _parts(definition: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name, and the fields that are there."""
    present = {key: definition[key] for key in FIELDS if definition.get(key) is not None}
    return as_text(definition.get("name")) or "", present


def pins_of(definitions: Iterable[Any]) -> dict[str, Pin]:
    """Pins of all readable definitions, by name; a name given twice is pinned as both together."""
    pins: dict[str, Pin] = {}
    for definition in definitions:
        pin = pin_of(as_dict(definition))
        if not pin.name:
            continue
        earlier = pins.get(pin.name)
        if earlier is not None:
            pin = Pin(pin.name, digest([earlier.hash, pin.hash]), {}, pin.title, pin.description)
        pins[pin.name] = pin
    return pins


def compare(recorded: Tools, found: Tools) -> list[Change]:
    """What changed from ``recorded`` to ``found``, by tool name."""
    changes: list[Change] = []
    for name in sorted(recorded.keys() | found.keys()):
        before, after = recorded.get(name), found.get(name)
        if before is None:
            changes.append(Change(name, "added", after=after))
        elif after is None:
            changes.append(Change(name, "removed", before=before))
        elif before.hash != after.hash:
            keys = sorted(before.fields.keys() | after.fields.keys())
            differing = tuple(k for k in keys if before.fields.get(k) != after.fields.get(k))
            changes.append(Change(name, "changed", differing, before, after))
    return changes


def changed_fields(locked: Pin | None, shown: Pin | None) -> tuple[str, ...] | None:
    """How a tool differs from its pin: names of fields; None when it is as pinned.

    What nobody pinned is ``("not pinned",)``. What the server did not show is taken to be as
    pinned: a client may call without listing, and then no model read a definition.
    """
    if locked is None:
        return ("not pinned",)
    if shown is None or shown.hash == locked.hash:
        return None
    names = sorted(locked.fields.keys() | shown.fields.keys())
    differing = [n for n in names if locked.fields.get(n) != shown.fields.get(n)]
    return tuple(differing) or ("name",)
