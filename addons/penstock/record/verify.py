"""Proves that an audit log is whole, or says which line is not.

Reads files and nothing else. Found are: a changed line, missing, repeated and swapped
lines, a line cut in the middle, and, against the head file or a signed checkpoint, a
missing end and a log that was rewritten as a whole. What the log's own process said about
lines it could not write (``missing``) is reported apart: it is no sign of tampering.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from penstock.record.chain import FIRST, Chain, chain_before, chain_from_json, hexes
from penstock.record.checkpoint import Checkpoint

Kind = Literal["unreadable", "changed", "missing", "misplaced", "torn", "cut", "rewritten"]

# A destroyed log would list every line; the first hundred say what happened.
PROBLEMS_MAX = 100
# Longest line read; ours are some kilobytes at most.
LINE_BYTES_MAX = 1024 * 1024


@dataclass(slots=True, frozen=True)
class Problem:
    """One thing that is wrong. ``line`` counts from 1 in ``file``."""

    file: str
    line: int
    kind: Kind
    message: str


@dataclass(slots=True)
class Report:
    """What verification found. ``proved`` is the number of lines a checkpoint vouches for."""

    lines: int = 0
    first_seq: int | None = None
    last_seq: int | None = None
    missing: int = 0  # lines the log itself says it could not write
    proved: int = 0
    root: str = ""
    key: str | None = None  # the key the log announces
    problems: list[Problem] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def verify(
    files: Sequence[Path],
    checkpoint: Checkpoint | None = None,
    head: Chain | None = None,
) -> Report:
    """Check ``files`` (one log, oldest file first). OSError when one cannot be read."""
    check = _Check(checkpoint, head)
    for file in files:
        for number, line in _lines(file):
            check.line(file, number, line)
    check.end()
    return check.report


def head_of(file: Path) -> Chain | None:
    """The head file beside a log; None when there is none that can be read."""
    try:
        return chain_from_json(json.loads(file.with_suffix(".head.json").read_bytes()))
    except (OSError, ValueError, AttributeError):
        return None


def announced_key(files: Sequence[Path]) -> str | None:
    """The key that the newest start line in ``files`` names. OSError passes."""
    key = None
    for file in files:
        for _, line in _lines(file):
            if b'"type":"start"' in line:
                try:
                    key = json.loads(line).get("key", key)
                except (ValueError, AttributeError):
                    continue
    return key if isinstance(key, str) else None


class _Check:
    """The state of one verification: the chain so far and what is wrong with it."""

    def __init__(self, checkpoint: Checkpoint | None, head: Chain | None) -> None:
        self.report = Report()
        self._checkpoint = checkpoint
        self._head = head
        self._chain: Chain | None = None
        self._before = ("", 0)  # file and number of the line before
        self._seen_root: bytes | None = None  # at the checkpoint's size
        self._seen_last: str | None = None  # at the head's size

    def line(self, file: Path, number: int, line: bytes) -> None:
        """Take the next line, newline included."""
        here = (file.name, number)
        if not line.endswith(b"\n"):
            self._wrong(here, "torn", "the line has no end: it was cut in the middle")
        line = line.removesuffix(b"\n")
        values = self._read(here, line)
        self.report.lines += 1
        if values is None:
            if self._chain:
                self._chain.add(line)
            self._before = here
            return
        self._linked(here, line, values)
        self._before = here

    def end(self) -> None:
        """Compare with the head and the checkpoint, which know how long the log was."""
        if not self.report.lines:
            self._wrong(("the log", 1), "missing", "it is empty, and a log begins with a line")
        chain = self._chain or Chain()
        self.report.root = chain.root().hex()
        if self._head:
            if chain.size < self._head.size:
                lost = self._head.size - chain.size
                self._wrong(self._before, "cut", f"{lost} lines are missing after the last one")
            elif self._seen_last != self._head.last and self._is_covered(self._head.size):
                self._wrong(self._before, "changed", "the end is not what the head file says")
        if self._checkpoint:
            self._prove(chain, self._checkpoint)

    def _prove(self, chain: Chain, checkpoint: Checkpoint) -> None:
        if chain.size < checkpoint.size:
            text = f"the checkpoint signs {checkpoint.size} lines, the log ends at {chain.size}"
            self._wrong(self._before, "cut", text)
        elif not self._is_covered(checkpoint.size):
            text = f"the checkpoint is of line {checkpoint.size}, before this file begins"
            self._wrong(self._before, "missing", text)
        elif self._seen_root != checkpoint.root:
            text = f"the first {checkpoint.size} lines are not those the checkpoint signs"
            self._wrong(self._before, "rewritten", text)
        else:
            self.report.proved = checkpoint.size

    def _is_covered(self, size: int) -> bool:
        return self.report.first_seq is not None and size > self.report.first_seq

    def _read(self, here: tuple[str, int], line: bytes) -> dict[str, Any] | None:
        try:
            values = json.loads(line)
        except ValueError:
            self._wrong(here, "unreadable", "the line is not JSON")
            return None
        if not isinstance(values, dict) or not isinstance(values.get("seq"), int):
            self._wrong(here, "unreadable", "the line has no number (seq)")
            return None
        return values

    def _linked(self, here: tuple[str, int], line: bytes, values: dict[str, Any]) -> None:
        seq, prev = values["seq"], values.get("prev")
        report = self.report
        if self._chain is None:
            self._chain = self._first(here, line, values)
            report.first_seq = seq
        chain = self._chain
        if seq != chain.size:
            self._out_of_order(here, seq, chain.size)
            if seq < chain.size:  # a repeated or swapped line: go on from where the log stands
                return
            self._chain = chain = Chain(seq, str(prev), [b""] * seq.bit_count())
        elif prev != chain.last:
            text = "the line is not the one its successor continues: it was changed"
            self._wrong(self._before, "changed", text)
        self._carried(here, chain, values)
        chain.add(line)
        report.last_seq = seq
        if self._checkpoint and chain.size == self._checkpoint.size:
            self._seen_root = chain.root()
        if self._head and chain.size == self._head.size:
            self._seen_last = chain.last

    def _first(self, here: tuple[str, int], line: bytes, values: dict[str, Any]) -> Chain:
        try:
            chain = chain_before(line)
        except ValueError:
            self._wrong(here, "missing", "the log does not begin here, nor say what came before")
            return Chain(values["seq"], str(values.get("prev")), [b""] * values["seq"].bit_count())
        if chain.size == 0 and chain.last != FIRST:
            self._wrong(here, "changed", "a first line that continues another")
        return chain

    def _out_of_order(self, here: tuple[str, int], seq: int, expected: int) -> None:
        if seq > expected:
            text = f"lines {expected} to {seq - 1} are missing before this one"
            self._wrong(here, "missing", text)
        else:
            text = f"line number {seq} stands where {expected} belongs: repeated or swapped"
            self._wrong(here, "misplaced", text)

    def _carried(self, here: tuple[str, int], chain: Chain, values: dict[str, Any]) -> None:
        """Read what lines say about the log itself."""
        if isinstance(values.get("missing"), int):
            self.report.missing += values["missing"]
        if values.get("type") == "start" and isinstance(values.get("key"), str):
            self.report.key = values["key"]
        edge = values.get("frontier")
        if edge is not None and not self.report.problems and edge != hexes(chain.frontier):
            self._wrong(here, "rewritten", "the file does not continue the one before it")

    def _wrong(self, where: tuple[str, int], kind: Kind, message: str) -> None:
        if len(self.report.problems) < PROBLEMS_MAX:
            self.report.problems.append(Problem(*where, kind, message))


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """The file's lines with their numbers; one that is too long comes in pieces."""
    with file.open("rb") as stream:
        number = 0
        while line := stream.readline(LINE_BYTES_MAX):
            number += 1
            yield number, line
