"""Keeps day and month budgets over a restart, in one small file of the state directory.

Only calendar windows are kept: a rate is over before a process is back. What was spent in
the last seconds before a crash may be missing, never more than SAVE_SECONDS' worth. The
file is this process's own; limits over several pods need a shared store.
"""

from __future__ import annotations

import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from penstock.meter.quotas import Key, Quotas, Scope
from penstock.meter.windows import Amount

# How often the budgets are written at most, when something was spent.
SAVE_SECONDS = 5.0
# A file of all scopes of three rules is about 1.5 MB; a larger one is not ours.
FILE_BYTES_MAX = 16 * 1024 * 1024
FILE_MODE = 0o600  # scopes name users

Row = tuple[Key, Scope, int, Amount]


class Journal:
    """Loads once, then saves when due. ``save`` may run in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_at = 0.0
        self._saved_change = 0

    def load(self, now: float, quotas: Quotas) -> int:
        """Add what the file has of periods that still run; the number of budgets found.

        A missing file is a first start. ValueError when the file cannot be read as a
        journal: the caller decides whether to start with empty budgets.
        """
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return 0
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"{self._path} is too large for a journal of budgets")
        try:
            rows = [_row(values) for values in json.loads(content)["budgets"]]
        except (ValueError, KeyError, TypeError, IndexError, InvalidOperation) as error:
            raise ValueError(f"{self._path} is not a journal of budgets") from error
        return quotas.restore(now, rows)

    def due(self, now: float, quotas: Quotas) -> bool:
        """True when something was spent since the last save, and that is long enough ago."""
        return quotas.changed != self._saved_change and now - self._saved_at >= SAVE_SECONDS

    def save(self, now: float, quotas: Quotas) -> None:
        """Write all budgets, whole or not at all. OSError when the disk refuses.

        Takes its copy first: call it on the event loop's thread, or hold the loop.
        """
        self._saved_at, self._saved_change = now, quotas.changed
        rows = [
            {
                "rule": key[0],
                "unit": key[1],
                "every_seconds": key[2],
                "zone": key[3],
                "scope": dict(scope),
                "period": piece,
                "amount": str(amount),
            }
            for key, scope, piece, amount in quotas.budgets(now)
        ]
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "budgets": rows}, file)
        temporary.replace(self._path)


def _row(values: dict[str, Any]) -> Row:
    amount = Decimal(values["amount"])
    if not amount.is_finite():
        raise ValueError("an amount that is no number")
    exact: Amount = int(amount) if amount == amount.to_integral_value() else amount
    scope = tuple((str(name), str(value)) for name, value in values["scope"].items())
    zone = str(values.get("zone", "UTC"))
    key = (str(values["rule"]), str(values["unit"]), int(values["every_seconds"]), zone)
    return key, scope, int(values["period"]), exact
