"""A server process of ours: a clean environment, a group of its own, limits, and its end.

Nothing of the environment is passed on that is not named here or asked for: what a server needs
of secrets is listed, and nothing else of this process's reaches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from penstock.gateway.stdio.lines import CHUNK_BYTES

# What programs need to run at all (as the official SDKs pass on), and to find files and time.
BASE_VARIABLES = (
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LANGUAGE", "TMPDIR", "TZ",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
)  # fmt: skip
BASE_PREFIXES = ("LC_",)
# How long a server may take to end once its input is closed, and again once it was asked to; the
# official SDKs wait two seconds, but they have no child that starts another (npx).
END_SECONDS = 5.0


@dataclass(slots=True, frozen=True)
class Limits:
    """Resource limits of a server process (setrlimit); None: as this process's own."""

    memory_mib: int | None = None  # address space: runtimes reserve more than they use
    cpu_seconds: int | None = None
    open_files: int | None = None
    processes: int | None = None  # of the user, not of the server alone
    file_mib: int | None = None  # the largest file it may write

    def set(self) -> None:
        """Lower this process's own limits; called in the child before it runs."""
        mib = 1024 * 1024
        for which, value in (
            (resource.RLIMIT_AS, self.memory_mib and self.memory_mib * mib),
            (resource.RLIMIT_CPU, self.cpu_seconds),
            (resource.RLIMIT_NOFILE, self.open_files),
            (resource.RLIMIT_NPROC, self.processes),
            (resource.RLIMIT_FSIZE, self.file_mib and self.file_mib * mib),
            (resource.RLIMIT_CORE, 0),  # a core file holds what the server was told
        ):
            if value is not None:
                hard = resource.getrlimit(which)[1]
                kept = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(which, (kept, kept))


def clean_environment(
    environ: Mapping[str, str], wanted: Sequence[str], also: Sequence[str] = ()
) -> dict[str, str]:
    """The variables a server starts with.

    ``wanted``: ``NAME`` (passed on if set) or ``NAME=VALUE``; ``also``: names passed on besides
    (the way out through a proxy, so that a server's own calls do not go around it).
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name in BASE_VARIABLES or name in also or name.startswith(BASE_PREFIXES)
    }
    for one in wanted:
        name, equals, value = one.partition("=")
        if equals:
            kept[name] = value
        elif name in environ:
            kept[name] = environ[name]
    return kept


class Child:
    """A running server. Its error output is this process's own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        limits: Limits = Limits(),
        folder: str | None = None,
    ) -> Child:
        """Start it. Raises OSError when it cannot be started."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            limit=CHUNK_BYTES,
            start_new_session=True,  # a group of its own: signals reach what it starts as well
            preexec_fn=_prepare(limits),
        )
        return cls(process)

    async def read(self) -> bytes:
        """Some of what it says; empty at the end."""
        assert self.process.stdout is not None  # see start
        return await self.process.stdout.read(CHUNK_BYTES)

    async def discard(self) -> None:
        """Read on for nobody: a server that cannot write does not end, nor is its end seen."""
        while await self.read():
            pass

    async def write(self, lines: list[bytes]) -> None:
        """Tell it, and wait while it is slow. What a server that is gone would have been told
        is lost; that it is gone is known by its end."""
        assert self.process.stdin is not None  # see start
        if lines:
            with contextlib.suppress(BrokenPipeError, ConnectionError):
                self.process.stdin.writelines(lines)
                await self.process.stdin.drain()

    def signal(self, number: int) -> None:
        """To the server and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def wait(self) -> int:
        """Its exit code as a shell would give it, once it has ended."""
        code = await self.process.wait()
        return code if code >= 0 else 128 - code

    async def stop(self) -> int:
        """Close its input; ask it to end; make it end. The exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self.signal(number)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self.wait()), END_SECONDS)
        return await self.wait()


def _prepare(limits: Limits) -> Callable[[], None]:
    """What the child does before it runs. Between fork and exec other threads' locks stay taken,
    so nothing is imported or looked up there.
    """
    prctl = None
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    pr_set_pdeathsig, number = 1, int(signal.SIGTERM)  # prctl(2)

    def prepare() -> None:
        limits.set()
        if prctl is not None:  # end with whoever started it, however that ended
            prctl(pr_set_pdeathsig, number)

    return prepare
