"""The audit log: one line per call in STATE_DIR/audit.jsonl, chained, rotated, signed off.

Each line is on its way to the disk (``write``) before the call's Record is done with, so
it survives the death of this process; it survives the death of the machine from the next
``flush`` on (``fsync``, about once a second, and at rotation and close). ``flush`` also
writes the head file and, every CHECKPOINT_SECONDS, a signed checkpoint.

A line that cannot be written (disk full) is dropped whole and counted; the next line that
can be written says how many are missing. ``available`` is False until then, and the
proxy refuses or serves calls as ``on_error`` says. No prompt, answer or secret is written
(clean.py). Two processes on one state directory write two logs (audit-2.jsonl), because
the first holds a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from penstock import __version__
from penstock.detect.hindsight.second_look import Late
from penstock.record.chain import Chain, chain_before, chain_from_json, hexes
from penstock.record.files import FILE_MODE, write_atomically
from penstock.record.line import content_of, late_content, timestamp
from penstock.record.record import Record

# One file: some 60 000 calls; verified in about a second.
ROTATE_BYTES = 64 * 1024 * 1024
# Rotated files kept, so that the log takes 1 GiB at most. Ship them elsewhere to keep more.
FILES_KEPT = 15
# One signature and one small file per minute: what a cut end can hide at most.
CHECKPOINT_SECONDS = 60.0
# Logs on one state directory at a time; each belongs to one living process.
LOGS_MAX = 16
# The head covers all but the last second of a log; what is read again after a crash is little.
READ_BYTES = 1024 * 1024
APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND
NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
# A disk that was full is asked again this often while calls are refused for it.
RETRY_SECONDS = 1.0


class AuditLog:
    """An open audit log. ``written`` and ``dropped`` count lines of this process."""

    name = "audit"

    def __init__(
        self,
        directory: Path,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        files_kept: int = FILES_KEPT,
        checkpointed: Callable[[str], None] | None = None,
    ) -> None:
        """Open or continue the log in ``directory``. OSError when that is not possible.

        ``checkpointed`` is given each signed checkpoint, to send it off this machine.
        """
        self.written = 0
        self.dropped = 0
        self._rotate_bytes = rotate_bytes
        self._files_kept = files_kept
        self._checkpointed = checkpointed
        self._guard = threading.Lock()  # the chain; never held while the disk is waited for
        self._flushing = threading.Lock()
        self._missing = 0  # lines dropped since the last one written
        self._failed_at: float | None = None
        self._unsynced = False
        self._checkpoint_due = 0.0
        self._checkpoint_size = -1
        self._lock, stem = _locked(directory)
        self.suffix = stem.removeprefix("audit")  # "" or "-2": for this process's other files
        self.path = directory / f"{stem}.jsonl"
        self._head_path = directory / f"{stem}.head.json"
        self._checkpoint_path = directory / f"{stem}.checkpoint"
        self._key_path = directory / "audit.key"
        self._next_path = directory / f".{stem}.next"
        if self._next_path.exists() and not self.path.exists():  # a crash in a rotation
            self._next_path.rename(self.path)
        self._file = os.open(self.path, APPEND, FILE_MODE)
        self._length, torn = self._cut_torn_line()
        self._chain = self._continued()
        self._start(torn)

    def record(self, record: Record) -> None:
        """Append one line. OSError when it could not be written; it is counted before."""
        self._add(content_of(record))

    def late(self, found: Late) -> None:
        """Append the line of what was found after its call, in the same way."""
        self._add(late_content(found, time.time()))

    def note(self, kind: str, values: Mapping[str, object]) -> None:
        """Append a line about the process: what came into force, and by whom. As ``record``."""
        head = {"type": kind, "time": timestamp(time.time())}
        given = {name: value for name, value in values.items() if value not in (None, "")}
        self._add(orjson.dumps(head | given))

    def enforces(self, values: Mapping[str, object]) -> None:
        """Say in the lock's file what this process does, for who asks (running.py)."""
        content = orjson.dumps({"pid": os.getpid(), **values})
        os.ftruncate(self._lock, os.pwrite(self._lock, content, 0))

    def _add(self, content: bytes) -> None:
        with self._guard:
            try:
                if self._length + len(content) > self._rotate_bytes:
                    self._rotate()
                self._append(content)
            except OSError:
                self.dropped += 1
                self._missing += 1
                self._failed_at = time.monotonic()
                raise
            self._failed_at = None
            self.written += 1

    @property
    def available(self) -> bool:
        """False while the last line could not be written; True again to try after a second."""
        failed_at = self._failed_at
        return failed_at is None or time.monotonic() - failed_at >= RETRY_SECONDS

    def flush(self) -> None:
        """To the disk: the lines, the head, and a checkpoint when one is due."""
        with self._flushing:
            self._sync()
            if time.monotonic() >= self._checkpoint_due:
                self._checkpoint()

    def close(self) -> None:
        """Sync, sign off, and let the next process have the log."""
        with self._flushing:
            self._sync()
            self._checkpoint()
            os.close(self._file)
            os.close(self._lock)

    def status(self) -> dict[str, object]:
        """For the status page."""
        return {
            "file": str(self.path),
            "lines": self._chain.size,
            "written": self.written,
            "dropped": self.dropped,
            "available": self._failed_at is None,
        }

    def _append(self, content: bytes) -> None:
        """Write one chained line whole, or leave the file as it was."""
        line = self._chain.line(self._with_missing(content))
        count = os.write(self._file, line + b"\n")
        if count != len(line) + 1:
            os.ftruncate(self._file, self._length)
            raise OSError("the disk took a part of a line")
        self._written(line)
        self._length += count

    def _with_missing(self, content: bytes) -> bytes:
        return b'{"missing":%d,%s' % (self._missing, content[1:]) if self._missing else content

    def _written(self, line: bytes) -> None:
        self._chain.add(line)
        self._missing = 0
        self._unsynced = True

    def _start(self, torn: int) -> None:
        """The first line of this process: who writes, with which key its checkpoints are signed."""
        from penstock.record.checkpoint import load_key, verifier_key

        self._key = load_key(self._key_path)
        start: dict[str, object] = {
            "type": "start",
            "time": timestamp(time.time()),
            "version": __version__,
            "key": verifier_key(self._key.public_key()),
        }
        if torn:
            start["torn_bytes"] = torn
        if self._length == 0:
            start["frontier"] = hexes(self._chain.frontier)
        self._append(orjson.dumps(start))

    def _rotate(self) -> None:
        """Give the full file a name of its own and go on in a new one.

        The new file has its first line, which says what it continues, before it takes the
        place of the old: a crash at any moment leaves a log that can be continued.
        """
        continued = {
            "type": "continued",
            "time": timestamp(time.time()),
            "frontier": hexes(self._chain.frontier),
        }
        line = self._chain.line(self._with_missing(orjson.dumps(continued)))
        with os.fdopen(os.open(self._next_path, NEW, FILE_MODE), "wb") as fresh:
            fresh.write(line + b"\n")
            fresh.flush()
            os.fsync(fresh.fileno())
            os.fsync(self._file)
            if self.path.exists():
                self._rename(f"{_first_seq(self._file):012d}")
            self._next_path.rename(self.path)
        os.close(self._file)
        self._file = os.open(self.path, APPEND, FILE_MODE)
        self._length = len(line) + 1
        self._written(line)
        for old in rotated_files(self.path)[: -self._files_kept]:
            with contextlib.suppress(OSError):  # tried again at the next rotation
                old.unlink()

    def _rename(self, mark: str) -> None:
        self.path.rename(self.path.with_name(f"{self.path.stem}.{mark}.jsonl"))

    def _sync(self) -> None:
        with self._guard:
            if not self._unsynced:
                return
            self._unsynced = False
            head = self._chain.to_json() | {"offset": self._length}
            file = os.dup(self._file)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        write_atomically(self._head_path, orjson.dumps(head) + b"\n")

    def _checkpoint(self) -> None:
        from penstock.record.checkpoint import sign

        with self._guard:
            size, root = self._chain.size, self._chain.root()
        self._checkpoint_due = time.monotonic() + CHECKPOINT_SECONDS
        if size == self._checkpoint_size:
            return
        note = sign(self._key, size, root)
        write_atomically(self._checkpoint_path, note.encode())
        self._checkpoint_size = size
        if self._checkpointed:
            self._checkpointed(note)

    def _cut_torn_line(self) -> tuple[int, int]:
        """Cut what a crash left of a last line: (bytes of whole lines, bytes cut)."""
        size = os.fstat(self._file).st_size
        end = size
        while end:
            start = max(0, end - READ_BYTES)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._file, end)
        return end, size - end

    def _continued(self) -> Chain:
        """The chain so far: from the head file, and the lines written after it.

        A file shorter than its head says was cut by someone else: the chain goes on from
        the head, so that the gap shows.
        """
        head = self._head()
        if head:
            chain, offset = head
            if offset > self._length:
                return chain
        elif not self._length:
            return Chain()
        else:
            try:
                chain, offset = chain_before(_first_line(self._file)), 0
            except ValueError:  # not a line of ours: kept as evidence, a new chain begins
                self._rename(f"unreadable-{time.time_ns()}")
                os.close(self._file)
                self._file, self._length = os.open(self.path, APPEND, FILE_MODE), 0
                return Chain()
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(offset)
            for line in file:
                chain.add(line.removesuffix(b"\n"))
        return chain

    def _head(self) -> tuple[Chain, int] | None:
        """The head file's chain and how far into the file it reaches; None when there is none."""
        try:
            values = orjson.loads(self._head_path.read_bytes())
            chain, offset = chain_from_json(values), int(values["offset"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self._length and _first_seq(self._file) >= chain.size:
            return None  # the head is of the file before this one
        return chain, offset


def logs_of(directory: Path) -> tuple[Path, ...]:
    """The logs in the directory: one for each process that ran on it beside others."""
    stems = ["audit", *(f"audit-{number}" for number in range(2, LOGS_MAX + 1))]
    files = (directory / f"{stem}.jsonl" for stem in stems)
    return tuple(file for file in files if file.exists())


def rotated_files(path: Path) -> list[Path]:
    """The files that ``path`` (audit.jsonl) was rotated into, oldest first."""
    return sorted(path.parent.glob(f"{path.stem}.[0-9]*.jsonl"))


def _locked(directory: Path) -> tuple[int, str]:
    """The first log of the directory that no living process writes: (lock, name)."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(1, LOGS_MAX + 1):
        stem = "audit" if number == 1 else f"audit-{number}"
        lock = os.open(directory / f".{stem}.lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock, stem
    raise OSError(f"{LOGS_MAX} processes write audit logs in {directory} already")


def _first_line(file: int) -> bytes:
    return os.pread(file, READ_BYTES, 0).partition(b"\n")[0]


def _first_seq(file: int) -> int:
    """The number of the file's first line; 0 when it cannot be read."""
    try:
        return chain_before(_first_line(file)).size
    except ValueError:
        return 0
