"""The process on this machine behind a loopback connection, asked of the Linux kernel.

The socket's inode and owner come from the kernel (``socket_table``), and /proc/<pid>/fd shows
the process that holds it: no number of a process is ever trusted from one time to the next.
Only the executable's name and path are read, never command lines or environments: they hold
secrets. Other systems, other PID namespaces and remote peers simply give None. A process that
was found lately is found again in a tenth of a millisecond (``at_once``); a search among all
of them may cost tens, so call ``find`` from a worker thread.
"""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from penstock.caller.socket_table import Address, socket_in_table, socket_of
from penstock.exchange import Process

# Descriptors looked at in one search, and the CPU time it takes: whichever ends first. By the
# clock a busy machine would not know today who called yesterday.
DESCRIPTORS_MAX = 65_536
SECONDS_MAX = 0.25
# The same on the loop, which has other things to do: half a millisecond at most.
DESCRIPTORS_AT_ONCE = 128
# An agent opens many connections: its process is looked at first the next time.
RECENT_MAX = 16
# Names of users that are remembered; a machine has few, and its name service may be far.
USERS_MAX = 64
PROC = Path("/proc")


class ProcessFinder:
    """Finds processes by their end of a connection. ``proc`` is replaced in tests. Thread-safe."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._recent: OrderedDict[str, None] = OrderedDict()  # the last found stands last
        self._lock = threading.Lock()

    def at_once(self, client: Address, server: Address | None = None) -> Process | None:
        """As ``find``, but only among the processes found lately, and few of their descriptors."""
        with self._lock:
            recent = list(reversed(self._recent))
        return self._found(client, server, recent, DESCRIPTORS_AT_ONCE) if recent else None

    def find(self, client: Address, server: Address | None = None) -> Process | None:
        """The process whose socket's own address is ``client`` (IP literal, port).

        ``server`` is the other end of the connection. None when the system cannot tell: no
        /proc, a remote peer, another PID namespace, a process that is gone, or a search beyond
        its bounds. Never raises on any of these.
        """
        return self._found(client, server, None, DESCRIPTORS_MAX)

    def named(self, pid: int) -> Process | None:
        """The process with this number, as far as the system tells. Never raises."""
        try:
            return _describe(self._proc, str(pid))
        except (OSError, ValueError):
            return None

    def _found(
        self, client: Address, server: Address | None, pids: list[str] | None, most: int
    ) -> Process | None:
        try:
            row = self._socket(client, server)
            if row is None:
                return None
            inode, owner = row
            candidates = self._candidates(owner) if pids is None else iter(pids)
            pid = self._holder(f"socket:[{inode}]", candidates, most)
            return _describe(self._proc, pid) if pid else None
        except (OSError, ValueError):
            return None

    def _socket(self, client: Address, server: Address | None) -> tuple[int, int] | None:
        if self._proc is PROC:
            try:
                return socket_of(client, server)
            except (OSError, ValueError):
                pass
        return socket_in_table(self._proc, client)

    def _holder(self, link: str, pids: Iterator[str], most: int) -> str | None:
        deadline = time.thread_time() + SECONDS_MAX
        seen = 0
        for pid in pids:
            for target in _descriptors(f"{self._proc}/{pid}/fd"):
                seen += 1
                if target == link:
                    self._remember(pid)
                    return pid
                if seen > most:
                    return None
            if time.thread_time() > deadline:
                return None
        return None

    def _remember(self, pid: str) -> None:
        with self._lock:
            self._recent[pid] = None
            self._recent.move_to_end(pid)
            if len(self._recent) > RECENT_MAX:
                gone = (old for old in self._recent if _owner(f"{self._proc}/{old}") is None)
                # A program that runs for a second makes no agent that goes on be forgotten.
                del self._recent[next(gone, next(iter(self._recent)))]

    def _candidates(self, owner: int) -> Iterator[str]:
        """Process ids: recent ones first, then those of the socket's owner, newest first."""
        with self._lock:
            recent = list(reversed(self._recent))
        yield from recent
        pids = [name for name in os.listdir(self._proc) if name.isdigit()]  # noqa: PTH208  names
        for pid in sorted(pids, key=int, reverse=True):
            if pid not in recent and _owner(f"{self._proc}/{pid}") == owner:
                yield pid


def _descriptors(path: str) -> Iterator[str]:
    """What a process's descriptors lead to. Newest first: the connection was just opened."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in reversed(os.listdir(folder)):  # noqa: PTH208  a descriptor is no Path
            try:
                yield os.readlink(name, dir_fd=folder)
            except OSError:
                continue
    except OSError:
        return
    finally:
        os.close(folder)


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid  # noqa: PTH116 (as above)
    except OSError:
        return None


def _describe(proc: Path, pid: str) -> Process | None:
    folder = f"{proc}/{pid}"
    path: str | None
    try:
        path = os.readlink(f"{folder}/exe").removesuffix(" (deleted)")  # noqa: PTH115
    except OSError:
        path = None
    name = Path(path).name if path else Path(folder, "comm").read_text("utf-8", "replace").strip()
    return Process(pid=int(pid), name=name, path=path, user=_user(_owner(folder)))


@lru_cache(maxsize=USERS_MAX)
def _user(uid: int | None) -> str | None:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
