"""The policy in force, and the files it comes from.

A changed file is checked whole and swapped in at once; a bad one changes nothing and is
remembered with its problems. Looking is cheap: the files' stat, and their bytes only when
that changed. While an order to contain holds, its profile is in force in their place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.policy.containment import Containment
from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError, Problem
from penstock.policy.language.shipped import resolve
from penstock.policy.policy import Policy

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

    def __init__(
        self,
        paths: Sequence[Path | str],
        unsuited: Unsuited = lambda _: (),
        state: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``paths`` are files or names of shipped policies; none means ``default``.

        ``unsuited`` says what of a valid policy cannot be kept by this process; ``state`` is the
        directory where orders to contain are looked for.
        """
        self.paths = resolve(paths)
        self.unsuited = unsuited
        self.also_read: tuple[Path, ...] = ()
        self.stamp = self.stamps()
        self.configured = self.loaded()
        self.also_read = (
            self.configured.also_read
        )  # the next look reads once more, and watches them
        self.loads = 1
        self.refusals = 0
        self.problems: tuple[Problem, ...] = ()
        self.clock = clock
        self.containment = None if state is None else Containment(state, self.suited)
        if self.containment is not None:
            self.containment.poll(clock())

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.contained or self.configured

    @property
    def contained(self) -> Policy | None:
        """The profile that is in force in place of the configured policy, if one is."""
        return None if self.containment is None else self.containment.policy

    def loaded(self) -> Policy:
        """The files as a policy that this process can keep; raises ConfigError."""
        return self.suited(load(self.paths))

    def suited(self, policy: Policy) -> Policy:
        """The same policy; raises ConfigError for what this process cannot keep of it."""
        if problems := list(self.unsuited(policy)):
            raise ConfigError(problems)
        return policy

    def ordered(self) -> bool:
        """True when there is an order that ``poll`` would take up, or whose time is over."""
        return self.containment is not None and self.containment.due(self.clock())

    def poll(self) -> bool:
        """Look at the files and the order; True when another policy is in force now."""
        before = self.policy
        self.look_at_files()
        if self.containment is not None:
            self.containment.poll(self.clock())
        return self.policy is not before

    def look_at_files(self) -> None:
        """Take up changed files, or say what is wrong with them."""
        stamp = self.stamps()
        if stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            policy = self.loaded()
        except ConfigError as error:
            self.refusals += 1
            self.problems = error.problems
            return
        self.problems = ()
        if policy.also_read != self.also_read:
            self.also_read, self.stamp = policy.also_read, ()
        if policy.hash != self.configured.hash:
            self.configured = policy
            self.loads += 1

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
