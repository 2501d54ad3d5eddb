"""The process on this machine behind a loopback connection, asked of the Linux kernel.

/proc/net/tcp[6] gives the socket's inode and owner, /proc/<pid>/fd the process that holds it.
Only the executable's name and path are read, never command lines or environments: they hold
secrets. Other systems, other PID namespaces and remote peers simply give None. The search is
bounded and remembers recent processes; it may still cost milliseconds, so call it from a
worker thread, once per connection.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from penstock.exchange import Process

# A socket table of 8 MiB has some 50,000 rows: more than a machine with a local agent has.
TABLE_BYTES_MAX = 8 * 2**20
# Descriptors looked at in one search, and its duration: whichever ends first.
DESCRIPTORS_MAX = 65_536
SECONDS_MAX = 0.25
# An agent opens many connections: its process is looked at first the next time.
RECENT_MAX = 16
PROC = Path("/proc")

Address = tuple[str, int]


class ProcessFinder:
    """Finds processes by their end of a connection. ``proc`` is replaced in tests."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._recent: deque[str] = deque(maxlen=RECENT_MAX)

    def find(self, client: Address) -> Process | None:
        """The process whose socket's own address is ``client`` (IP literal, port).

        None when the system cannot tell: no /proc, a remote peer, another PID namespace,
        a process that is gone, or a search beyond its bounds. Never raises on any of these.
        """
        try:
            row = _socket(self._proc, client)
            if row is None:
                return None
            inode, owner = row
            pid = self._holder(f"socket:[{inode}]", owner)
            return _describe(self._proc, pid) if pid else None
        except (OSError, ValueError):
            return None

    def named(self, pid: int) -> Process | None:
        """The process with this number, as far as the system tells. Never raises."""
        try:
            return _describe(self._proc, str(pid))
        except (OSError, ValueError):
            return None

    def _holder(self, link: str, owner: int) -> str | None:
        deadline = time.monotonic() + SECONDS_MAX
        seen = 0
        for pid in self._candidates(owner):
            for target in _descriptors(self._proc / pid / "fd"):
                seen += 1
                if target == link:
                    if pid not in self._recent:
                        self._recent.append(pid)
                    return pid
                if seen > DESCRIPTORS_MAX:
                    return None
            if time.monotonic() > deadline:
                return None
        return None

    def _candidates(self, owner: int) -> Iterator[str]:
        """Process ids: recent ones first, then those of the socket's owner, newest first."""
        recent = list(self._recent)
        yield from reversed(recent)
        pids = [entry.name for entry in os.scandir(self._proc) if entry.name.isdigit()]
        for pid in sorted(pids, key=int, reverse=True):
            if pid not in recent and _owner(self._proc / pid) == owner:
                yield pid


def _kernel_spelling(address: Address) -> set[bytes]:
    """How the kernel prints an address: each 32-bit word in host order, hexadecimal."""
    parsed = ipaddress.ip_address(address[0].partition("%")[0])
    spellings = [parsed.packed]
    if isinstance(parsed, ipaddress.IPv4Address):
        spellings.append(b"\0" * 10 + b"\xff\xff" + parsed.packed)
    elif parsed.ipv4_mapped:
        spellings.append(parsed.ipv4_mapped.packed)
    step = -1 if sys.byteorder == "little" else 1
    return {
        b"".join(packed[at : at + 4][::step] for at in range(0, len(packed), 4))
        .hex()
        .upper()
        .encode()
        + b":%04X" % address[1]
        for packed in spellings
    }


def _socket(proc: Path, client: Address) -> tuple[int, int] | None:
    """Inode and owner's uid of the established socket with local address ``client``."""
    wanted = _kernel_spelling(client)
    for table in ("tcp", "tcp6"):
        try:
            with (proc / "net" / table).open("rb") as file:
                text = file.read(TABLE_BYTES_MAX)
        except OSError:
            continue
        for spelling in wanted:
            found = _row(text, spelling)
            if found:
                return found
    return None


def _row(text: bytes, spelling: bytes) -> tuple[int, int] | None:
    at = text.find(b": " + spelling + b" ")
    while at >= 0:
        end = text.find(b"\n", at)
        columns = text[at:end].split()
        # ": local remote state queues timer retransmits uid timeout inode"; 01 is ESTABLISHED
        if end > 0 and len(columns) > 9 and columns[3] == b"01" and columns[9] != b"0":
            return int(columns[9]), int(columns[7])
        at = text.find(b": " + spelling + b" ", at + 1)
    return None


def _descriptors(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)  # noqa: PTH115 (Path costs ten times the call)
                except OSError:
                    continue
    except OSError:
        return


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except OSError:
        return None


def _describe(proc: Path, pid: str) -> Process | None:
    folder = proc / pid
    path: str | None
    try:
        path = str((folder / "exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        path = None
    name = Path(path).name if path else (folder / "comm").read_text("utf-8", "replace").strip()
    return Process(pid=int(pid), name=name, path=path, user=_user(_owner(folder)))


def _user(uid: int | None) -> str | None:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
