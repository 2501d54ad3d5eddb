"""Unix-domain sockets of the processes that share a state directory: opened, found, asked.

Each process has one of its own in ``STATE_DIR/admin``, a folder nobody but its user enters. A
process that was killed leaves its file behind; whoever finds that nobody listens there removes it.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from penstock.mcp.approvals import private

FOLDER = "admin"  # below the state directory
SUFFIX, DRAFT = ".sock", ".new"
# sun_path has 108 bytes on Linux and 104 on macOS, the last of them NUL.
ADDRESS_BYTES_MAX = 103
BACKLOG = 16  # a person, a script, and the other workers
# A process that does not answer within this time is stopped or stuck.
ASK_SECONDS = 5.0
ANSWER_BYTES_MAX = 1024 * 1024  # 200 tickets of at most some 2 KB each


class Answer(NamedTuple):
    """What a process said."""

    status: int
    body: dict[str, Any]


def listen(folder: Path) -> tuple[socket.socket, Path]:
    """A listening socket in ``folder`` and its file.

    Raises:
        OSError: the folder is somebody else's, cannot be written, or its name is too long.
    """
    private(folder)
    sweep(folder)
    name = f"{os.getpid()}-{secrets.token_hex(4)}"
    draft, final = folder / f"{name}{DRAFT}", folder / f"{name}{SUFFIX}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(draft) as address:
            listener.bind(address)
        draft.chmod(0o600)
        listener.listen(BACKLOG)
        draft.rename(final)  # whoever finds it finds somebody who listens
    except OSError:
        listener.close()
        draft.unlink(missing_ok=True)
        raise
    return listener, final


def found(folder: Path) -> list[Path]:
    """The sockets of ``folder``; of some the process may have died.

    Raises:
        PermissionError: the folder is somebody else's.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []


def sweep(folder: Path) -> None:
    """Remove the files of processes that are gone."""
    for path in found(folder):
        with contextlib.suppress(OSError), contextlib.closing(_connect(path, ASK_SECONDS)):
            pass


def ask(
    path: Path,
    method: str,
    target: str,
    body: Mapping[str, str] | None = None,
    seconds: float = ASK_SECONDS,
) -> Answer | None:
    """What the process behind ``path`` says; None when there is none any more.

    Raises:
        OSError: it cannot be reached, or does not answer in time.
    """
    try:
        connection = _connect(path, seconds)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    spoken = http.client.HTTPConnection("localhost", timeout=seconds)
    spoken.sock = connection
    content = None if body is None else json.dumps(body)
    try:
        with contextlib.suppress(BrokenPipeError):  # it refused before it was asked, and said so
            spoken.request(method, target, content, {"content-type": "application/json"})
        said = spoken.getresponse()
        document = json.loads(said.read(ANSWER_BYTES_MAX))
        return Answer(said.status, document if isinstance(document, dict) else {})
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{path} does not answer like an admin socket") from error
    finally:
        spoken.close()


def _connect(path: Path, seconds: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        with _address(path) as address:
            connection.connect(address)
    except OSError as error:
        connection.close()
        if isinstance(error, ConnectionRefusedError):
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return connection


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A name of ``path`` that fits a socket's address: Linux knows a folder by its descriptor."""
    if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
        yield str(path)
        return
    if not sys.platform.startswith("linux"):
        raise OSError(
            errno.ENAMETOOLONG,
            f"longer than {ADDRESS_BYTES_MAX} bytes, choose a shorter --state-dir",
            str(path),
        )
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
