"""A tool as its server last showed it: kept as written, and pinned when a rule asks.

Most proxies have no lock file, and pinning 500 definitions costs more than all else about them.
"""

from __future__ import annotations

from typing import Any

import orjson

from penstock.mcp.definitions import mark
from penstock.mcp.pins import Pin, pin_hash, pin_of
from penstock.wire.loose import as_dict


class Shown:
    """Either ``written``, a definition as compact strict JSON, or what was made of it at once."""

    __slots__ = ("_hash", "_mark", "_pin", "written")

    def __init__(self, written: bytes | None = None, pin: Pin | None = None) -> None:
        self.written = written
        self._mark: bytes | None = None  # of what was written and is not kept
        self._pin = None if pin is None else Pin(pin.name, pin.hash, pin.fields)  # no texts
        self._hash = None if pin is None else pin.hash

    def stays(self, written: bytes) -> bool:
        """True when this is the definition that was shown. What was not written never is."""
        if self.written is not None:
            return self.written == written
        return self._mark is not None and self._mark == mark(written)

    def settle(self) -> None:
        """Pin it now, so that what was written need not be kept."""
        if self.written is not None:
            self._hash = self.pin.hash
            self._mark, self.written = mark(self.written), None

    @property
    def hash(self) -> str:
        """The pin's hash."""
        if self._hash is None:
            self._hash = pin_hash(self._definition())
        return self._hash

    @property
    def pin(self) -> Pin:
        """The pin, without its texts."""
        if self._pin is None:
            whole = pin_of(self._definition())
            self._pin = Pin(whole.name, whole.hash, whole.fields)
        return self._pin

    def _definition(self) -> dict[str, Any]:
        assert self.written is not None  # or the pin was made at once
        return as_dict(orjson.loads(self.written))
