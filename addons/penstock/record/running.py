"""The processes that live on a state directory, and what each says it enforces.

Every one of them holds the lock of its audit log, and writes into the lock's file what is in
force. A file nobody holds is a process that has ended.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

# A process writes some 200 bytes.
SAID_BYTES_MAX = 4096


@dataclass(slots=True, frozen=True)
class Running:
    """A living process. All but ``log`` is unknown for a moment, while it starts."""

    log: str  # the name of its audit log
    pid: int | None = None
    policy: str | None = None  # the hash of what is in force
    order: str | None = None  # the newest order to contain, or to release, that it has taken up
    problem: str | None = None  # why it could not


def running(state: Path) -> list[Running]:
    """Every living process of the state directory. OSError when it cannot be read."""
    locks = sorted(state.glob(".audit*.lock")) if state.is_dir() else []
    found = []
    for lock in locks:
        said = _said(lock)
        if said is not None:
            found.append(_read(lock.name.removeprefix(".").removesuffix(".lock"), said))
    return found


def _said(lock: Path) -> bytes | None:
    """The content of a lock's file; None when nobody holds the lock."""
    try:
        handle = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, SAID_BYTES_MAX, 0)
    finally:
        os.close(handle)
    return None


def _read(log: str, said: bytes) -> Running:
    try:
        values = json.loads(said)
        pid, policy = values.get("pid"), values.get("policy")
        order, problem = values.get("order"), values.get("problem")
    except (ValueError, AttributeError):
        return Running(log)
    texts = [one if isinstance(one, str) and one else None for one in (policy, order, problem)]
    return Running(log, pid if isinstance(pid, int) else None, *texts)
