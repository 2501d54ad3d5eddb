"""What `penstock doctor` looks at: one file per area, each a list of checks.

A check does the thing it speaks of (starts the proxy, makes the call, reads the file) and
never guesses from configuration alone. It changes nothing outside a temporary folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ok: works. note: works, or is off; somebody may want to know. broken: does not work.
Status = Literal["ok", "note", "broken"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of the doctor: what was looked at, what was found, how to mend it."""

    area: str
    name: str
    status: Status
    found: str
    mend: str = ""
