"""Calls that wait for a person: one small file each, in a folder only the proxy's user reads.

A ticket stands for one call exactly: caller, server, tool, arguments and policy are in it (a
hash made by the policy). A yes is good for one call and for a short time. The file names what
a person has to know, never the arguments: those may hold secrets; the ticket binds them.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

# A person answers within the quarter of an hour, or the call is made again.
LIFE_SECONDS = 900.0
APPROVALS = "approvals"  # the folder, below the state directory
# More open tickets than a person would read; the oldest stay, new ones are not written.
OPEN_MAX = 200
_TICKET = re.compile(r"[0-9a-f]{16}")

Standing = Literal["open", "approved", "denied"]


@dataclass(slots=True, frozen=True)
class Approval:
    """One ticket. ``until`` is in seconds since the epoch."""

    ticket: str
    server: str
    tool: str
    arguments: tuple[str, ...]  # names only
    caller: str
    rule: str
    until: float
    standing: Standing = "open"


class Approvals:
    """The tickets in ``folder``, which is made when the first one is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, approval: Approval) -> None:
        """Put a ticket up, unless it already stands there or there are too many."""
        if self.get(approval.ticket) is not None or len(list(self.all())) >= OPEN_MAX:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(approval)

    def get(self, ticket: str) -> Approval | None:
        """The ticket, None when there is none or its time is over."""
        if not _TICKET.fullmatch(ticket):
            return None
        try:
            found = json.loads(self._file(ticket).read_text("utf-8"))
            approval = Approval(**{**found, "arguments": tuple(found["arguments"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return approval if approval.until > time.time() else None

    def all(self) -> Iterator[Approval]:
        """Every ticket whose time is not over; the others' files are removed."""
        for file in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            approval = self.get(file.stem)
            if approval is not None:
                yield approval
            else:
                file.unlink(missing_ok=True)

    def answer(self, ticket: str, standing: Standing) -> Approval | None:
        """A person's yes or no; None when there is no such ticket."""
        approval = self.get(ticket)
        if approval is None:
            return None
        answered = replace(approval, standing=standing, until=time.time() + LIFE_SECONDS)
        self._write(answered)
        return answered

    def approved(self, ticket: str) -> bool:
        """True when a person said yes and the call was not made yet."""
        found = self.get(ticket)
        return found is not None and found.standing == "approved"

    def use(self, ticket: str) -> bool:
        """The call is being made: the yes is used up. False when it was already."""
        try:
            self._file(ticket).unlink()
        except OSError:
            return False
        return True

    def _file(self, ticket: str) -> Path:
        return self.folder / f"{ticket}.json"

    def _write(self, approval: Approval) -> None:
        new = self._file(approval.ticket).with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(approval), out)
        new.replace(self._file(approval.ticket))
