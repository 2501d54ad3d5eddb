"""The order to contain: a file in the state directory that stands above the configured policy.

``STATE_DIR/containment/order.json`` says whether, since when, for how long, by whom and why; a
copy of the profile lies beside it, so that a later change of the original changes nothing. Who
may write there may contain and release. Files, because they outlive every process, reach all of
them at once and need nobody who listens.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from penstock.policy.language.load import load
from penstock.policy.language.problem import ConfigError, Problem
from penstock.policy.language.shipped import resolve, shipped
from penstock.policy.policy import Policy

FOLDER = "containment"
ORDER = "order.json"
PROFILE = "containment"  # the shipped profile: nothing leaves
FILE_MODE, FOLDER_MODE = 0o600, 0o700  # names people
# One sentence or two for whoever reads the audit log.
REASON_CHARACTERS_MAX = 200
# Ours have some 500 bytes; a larger file is not ours.
ORDER_BYTES_MAX = 16 * 1024
NAME_BYTES = 8
TIME_MAX = 253_402_300_800  # the year 10000, which no date can name

State = Literal["contained", "released"]


@dataclass(slots=True, frozen=True)
class Order:
    """What somebody ordered. Times are seconds since the epoch, None is until released."""

    id: str
    state: State
    time: float
    by: str  # who says so, in the words of the command
    user: str  # who the system says it was
    reason: str = ""
    until: float | None = None
    profile: str = PROFILE  # as it was named
    file: str = ""  # the copy's name, beside the order
    hash: str = ""  # of the profile as a policy
    let_finish: bool = False  # calls that run when it is taken up may end by themselves

    def holds(self, now: float) -> bool:
        """True while it keeps a process contained."""
        return self.state == "contained" and (self.until is None or now < self.until)


def read_order(state: Path) -> Order | None:
    """The newest order of a state directory; None when there never was one.

    Raises:
        ValueError, OSError: there is one that cannot be read.
    """
    file = state / FOLDER / ORDER
    try:
        with file.open("rb") as stream:
            content = stream.read(ORDER_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        order = Order(**json.loads(content))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} is not an order") from error
    texts = (order.id, order.by, order.user, order.reason, order.profile, order.file, order.hash)
    times = (order.time, order.until or 0)
    if (
        not all(isinstance(one, str) for one in texts)
        or not all(isinstance(one, int | float) and 0 <= one < TIME_MAX for one in times)
        or order.state not in ("contained", "released")
    ):
        raise ValueError(f"{file} is not an order")
    return order


def profile_of(state: Path, order: Order) -> Policy:
    """The order's profile. Raises ConfigError when the copy is not what was ordered."""
    file = state / FOLDER / Path(order.file).name
    policy = load([file])
    if policy.hash != order.hash:
        raise ConfigError([Problem(str(file), 1, "", "is not the profile that was ordered")])
    return policy


def prepare_profile(name: Path | str) -> tuple[bytes, Policy]:
    """A profile checked whole: its bytes and the policy they make.

    Raises:
        ConfigError: it cannot be loaded, or would contain nothing.
    """
    file = resolve([name])[0]
    policy = load([file])
    problems = []
    if policy.mode != "enforce":
        message = f"a containment profile has to enforce, this one says {policy.mode}"
        problems.append(Problem(str(file), 1, "mode", message))
    if not policy.denies and not policy.allows and policy.other_traffic != "deny":
        message = "a containment profile has to refuse something: an allow list or a deny rule"
        problems.append(Problem(str(file), 1, "rules", message))
    if problems:
        raise ConfigError(problems)
    return file.read_bytes(), policy


def give_order(state: Path, order: Order, content: bytes = b"") -> None:
    """Make ``order`` the newest of the state directory, its profile's ``content`` beside it.

    Raises:
        ConfigError: the profile's copy is not the policy that was checked; nothing changed.
        OSError: the state directory cannot be written; nothing changed.
    """
    state.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder = state / FOLDER
    folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    _give_to_owner(folder, state)
    if order.file:
        _replace(folder / order.file, content, state)
        try:
            profile_of(state, order)
        except ConfigError as error:
            message = "the profile works only where it lies: name its lock files by absolute paths"
            found = error.problems[0]
            raise ConfigError([Problem(order.profile, found.line, "pins", message)]) from error
    _replace(folder / ORDER, json.dumps(asdict(order), indent=1).encode() + b"\n", state)
    for old in folder.glob("profile-*.yaml"):
        if order.file and old.name != order.file:
            old.unlink(missing_ok=True)


def copy_name(content: bytes) -> str:
    """What a profile's copy is called: another content, another file."""
    return f"profile-{blake2b(content, digest_size=NAME_BYTES).hexdigest()}.yaml"


def new_id() -> str:
    """What a process says it has taken up."""
    return secrets.token_hex(NAME_BYTES)


def _replace(file: Path, content: bytes, state: Path) -> None:
    """Write whole or not at all, on the disk before it counts."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        _give_to_owner(draft, state)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give_to_owner(path: Path, state: Path) -> None:
    """What root writes belongs to whoever the proxy runs as: it has to be read."""
    if os.geteuid() == 0:
        owner = state.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


class Containment:
    """What the order of a state directory means for this process; ``poll`` looks again.

    ``policy`` is the profile while it holds, else None. An order that stands there and cannot
    be taken up is an order all the same: the shipped profile holds, and ``problem`` says why.
    """

    def __init__(self, state: Path, check: Callable[[Policy], Policy]) -> None:
        """``check`` raises ConfigError for what this process cannot keep of a policy."""
        self._state = state
        self._check = check
        self._stamp: tuple[int, int, int] | None = None
        self._fallback: Policy | None = None
        self.order: Order | None = None
        self.policy: Policy | None = None
        self.problem = ""

    def due(self, now: float) -> bool:
        """True when ``poll`` would find something: one `stat`, for whoever looks often."""
        over = self.policy is not None and self.order is not None and not self.order.holds(now)
        return self._look() != self._stamp or (over and not self.problem)

    def poll(self, now: float) -> bool:
        """Look at the order; True when what it means is another thing than before."""
        stamp = self._look()
        before = self.order, self.policy, self.problem
        if stamp != self._stamp:
            self._stamp = stamp
            self._take_up(now)
        elif not self.problem and self.order is not None and not self.order.holds(now):
            self.policy = None  # released, or its time is over
        return before != (self.order, self.policy, self.problem)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = (self._state / FOLDER / ORDER).stat()
        except FileNotFoundError:
            # A state directory that is gone releases nobody.
            return None if self._state.is_dir() else self._stamp
        except OSError:
            return (0, 0, 0)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _take_up(self, now: float) -> None:
        try:
            order = read_order(self._state)
            policy = None
            if order is not None and order.holds(now):
                policy = self._check(profile_of(self._state, order))
        except (OSError, ValueError, ConfigError) as error:
            self.problem = str(error)
            if self.policy is None:
                self.policy = self._nothing_leaves()
            return
        self.order, self.policy, self.problem = order, policy, ""

    def _nothing_leaves(self) -> Policy:
        if self._fallback is None:
            self._fallback = load([shipped(PROFILE)])
        return self._fallback
