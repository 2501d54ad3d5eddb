"""The policy in force, and the files it comes from.

A changed file is checked whole and swapped in at once; a bad one changes nothing and is
remembered with its problems. Looking is cheap: the files' stat, and their bytes only when
that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.policy.load import load
from penstock.policy.policy import Policy
from penstock.policy.problem import ConfigError, Problem
from penstock.policy.shipped import resolve

Unsuited = Callable[[Policy], Sequence[Problem]]
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(slots=True, frozen=True)
class SourceStatus:
    """``problems`` of the newest files are empty when they are in force."""

    hash: str
    loads: int
    refusals: int
    problems: tuple[Problem, ...] = ()


class PolicySource:
    """Loads at once; raises ConfigError when that is not possible."""

    def __init__(self, paths: Sequence[Path | str], unsuited: Unsuited = lambda _: ()) -> None:
        """``paths`` are files or names of shipped policies; none means ``default``.

        ``unsuited`` says what of a valid policy cannot be kept by this process.
        """
        self.paths = resolve(paths)
        self.unsuited = unsuited
        self.also_read: tuple[Path, ...] = ()
        self.stamp = self.stamps()
        self.policy = self.loaded()
        self.also_read = self.policy.also_read  # the next look reads once more, and watches them
        self.loads = 1
        self.refusals = 0
        self.problems: tuple[Problem, ...] = ()

    def loaded(self) -> Policy:
        """The files as a policy that this process can keep; raises ConfigError."""
        policy = load(self.paths)
        if problems := list(self.unsuited(policy)):
            raise ConfigError(problems)
        return policy

    def poll(self) -> bool:
        """Look at the files; True when another policy is in force now."""
        stamp = self.stamps()
        if stamp == self.stamp:
            return False
        self.stamp = stamp
        try:
            policy = self.loaded()
        except ConfigError as error:
            self.refusals += 1
            self.problems = error.problems
            return False
        self.problems = ()
        if policy.also_read != self.also_read:
            self.also_read, self.stamp = policy.also_read, ()
        if policy.hash == self.policy.hash:
            return False
        self.policy = policy
        self.loads += 1
        return True

    def status(self) -> SourceStatus:
        """How loading went, for metrics and the status page."""
        return SourceStatus(self.policy.hash, self.loads, self.refusals, self.problems)

    def stamps(self) -> Stamp:
        """Inode, size and time of change of each file (a ConfigMap swaps inodes)."""

        def stamp(path: Path) -> tuple[int, int, int] | None:
            try:
                found = path.stat()
            except OSError:
                return None
            return found.st_ino, found.st_size, found.st_mtime_ns

        return tuple(stamp(path) for path in (*self.paths, *self.also_read))
