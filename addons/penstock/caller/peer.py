"""Who is at the other end of a Unix-domain socket, as the kernel says.

Linux: SO_PEERCRED, unix(7). macOS: LOCAL_PEERCRED, struct xucred of <sys/ucred.h>.
"""

from __future__ import annotations

import contextlib
import pwd
import socket
import struct
from typing import Protocol

# macOS: SOL_LOCAL and LOCAL_PEERCRED are not in Python's socket module; version and uid come first.
SOL_LOCAL, LOCAL_PEERCRED = 0, 1
XUCRED_BYTES, XUCRED_HEAD = 76, "II"
UCRED = "3i"  # pid, uid, gid


class HasOptions(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes:
        """As ``socket.socket.getsockopt``."""


def peer_uid(connection: HasOptions) -> int | None:
    """The user id of the process that opened the connection; None where nobody says."""
    with contextlib.suppress(OSError, struct.error):
        if hasattr(socket, "SO_PEERCRED"):
            size = struct.calcsize(UCRED)
            said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            uid: int = struct.unpack(UCRED, said)[1]
            return uid
        said = connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES)
        version, found = struct.unpack_from(XUCRED_HEAD, said)
        return int(found) if version == 0 else None
    return None


def user_name(uid: int) -> str:
    """The name of a user; "" where the system knows none (a container's number)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
