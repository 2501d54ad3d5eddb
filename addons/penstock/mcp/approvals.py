"""Calls that wait for a person: one small file each, in a folder only the proxy's user reads.

A ticket stands for one call exactly: caller, server, tool, arguments and policy are in it (a
keyed hash made by the policy). A yes is good for one call and for a short time. The file names
what a person has to know, never the arguments: those may hold secrets; the ticket binds them.

Files, because several processes share them (proxies, gateways, the command a person types),
because they outlive a restart, and because who may write them is a matter of the folder alone.
Who waits here is woken by ``wake``; the file is what counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

# A person answers within the quarter of an hour, or the call is made again.
LIFE_SECONDS = 900.0
APPROVALS = "approvals"  # the folder, below the state directory
# More open tickets than a person would read; the oldest stay, new ones are not written.
OPEN_MAX = 200
# Calls held open at one time, each with a connection.
HELD_MAX = 64
# How often who waits looks at the file: nobody can wake it without an admin socket; with one, a
# yes from a process that cannot reach the socket is still found.
LOOK_SECONDS = 0.25
LOOK_WITH_SOCKET_SECONDS = 5.0
_TICKET = re.compile(r"[0-9a-f]{16}")

Standing = Literal["open", "approved", "denied"]


@dataclass(slots=True, frozen=True)
class Person:
    """Who answered: what the kernel says (``uid``, its ``user``), and what they say themselves."""

    uid: int
    user: str
    name: str = ""
    reason: str = ""


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
    by: Person | None = None


@dataclass(slots=True)
class Held:
    """One call that waits for a person."""

    ticket: str
    cancelled: bool = False


@dataclass(slots=True, frozen=True)
class Announce:
    """Where new tickets are announced, and the file with what that is signed with."""

    url: str
    secret_file: str
    ca: str = ""


class Approvals:
    """The tickets in ``folder``, which is made when the first one is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held = 0  # calls that wait here
        self.woken = False  # somebody calls ``wake`` when a ticket is answered
        self._waiting: dict[str, set[asyncio.Event]] = {}  # by ticket

    def ask(self, approval: Approval) -> bool:
        """Put a ticket up, unless it already stands there or there are too many: then False."""
        private(self.folder)
        with self._locked():
            if self.get(approval.ticket) is not None or len(list(self.all())) >= OPEN_MAX:
                return False
            self._write(approval)
        return True

    async def wait(
        self, ticket: str, seconds: float, gone: Callable[[], bool]
    ) -> Literal["approved", "denied"] | None:
        """The person's answer; None when there is none: the time is over, the ticket was used,
        the caller is ``gone``, or too many calls wait already.
        """
        if self.held >= HELD_MAX:
            return None
        end = time.monotonic() + seconds
        self.held += 1
        woken = asyncio.Event()
        self._waiting.setdefault(ticket, set()).add(woken)
        try:
            while not gone():
                found = self.get(ticket)
                if found is not None and found.standing != "open":
                    return found.standing
                left = end - time.monotonic()
                if found is None or left <= 0:
                    return None  # another call used it, or nobody answered
                look = LOOK_WITH_SOCKET_SECONDS if self.woken else LOOK_SECONDS
                woken.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), min(look, left))
            return None
        finally:
            self.held -= 1
            self._waiting[ticket].discard(woken)
            if not self._waiting[ticket]:
                del self._waiting[ticket]

    def wake(self, ticket: str) -> bool:
        """Let the calls that wait under ``ticket`` look again; True when there are any.

        To be called on the loop they wait on.
        """
        waiting = self._waiting.get(ticket, ())
        for woken in waiting:
            woken.set()
        return bool(waiting)

    @property
    def waited_for(self) -> frozenset[str]:
        """The tickets under which calls wait in this process."""
        return frozenset(self._waiting)

    def get(self, ticket: str) -> Approval | None:
        """The ticket, None when there is none or its time is over."""
        if not _TICKET.fullmatch(ticket):
            return None
        try:
            found = json.loads(self._file(ticket).read_text("utf-8"))
            by = found.pop("by", None)
            told = {"arguments": tuple(found["arguments"]), "by": by and Person(**by)}
            approval = Approval(**{**found, **told})
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

    def answer(self, ticket: str, standing: Standing, by: Person | None = None) -> Approval | None:
        """A person's yes or no; None when there is no such ticket."""
        if not self.folder.is_dir():
            return None
        with self._locked():
            approval = self.get(ticket)
            if approval is None:
                return None
            until = time.time() + LIFE_SECONDS
            answered = replace(approval, standing=standing, until=until, by=by)
            self._write(answered)
        return answered

    def approved(self, ticket: str) -> bool:
        """True when a person said yes and the call was not made yet."""
        found = self.get(ticket)
        return found is not None and found.standing == "approved"

    def use(self, ticket: str) -> Approval | None:
        """The call is being made: the yes is used up. None when it was already."""
        if not self.folder.is_dir():
            return None
        with self._locked():
            found = self.get(ticket)
            if found is None or found.standing != "approved":
                return None
            self._file(ticket).unlink()
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, over all processes: a yes must not be written over its use."""
        handle = self._open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _open(self, file: Path, flags: int) -> int:
        """A file that belongs to whom the folder belongs: root may answer for the proxy."""
        handle = os.open(file, flags | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            owner = self.folder.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle

    def _file(self, ticket: str) -> Path:
        return self.folder / f"{ticket}.json"

    def _write(self, approval: Approval) -> None:
        new = self._file(approval.ticket).with_suffix(".new")
        handle = self._open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(approval), out)
        new.replace(self._file(approval.ticket))


def private(folder: Path) -> None:
    """Make ``folder`` one that only this user can enter: who may write there may approve.

    Raises:
        PermissionError: it belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of this user's: nothing in it is trusted")
    if found.st_mode & 0o077:  # a volume's owner or an umask opened it
        folder.chmod(0o700)
