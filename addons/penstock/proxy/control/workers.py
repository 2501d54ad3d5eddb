"""Several proxies on one port, where one core is not enough.

Each worker is a ``penstock run`` of its own that opens the same port (SO_REUSEPORT): the kernel
shares new connections out between them. The process here opens nothing but the admin address; it
starts the workers, starts one that dies again, ends them all, and puts their metrics together.
What workers do not share is told in docs/performance.md; a policy that cannot do without is
refused (``policy/language/apart.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from penstock.proxy.control.workers_admin import WorkersAdmin
from penstock.proxy.settings import Address

# A worker that dies at once is not started a thousand times a second; one that ran for a while
# and died by accident is missed for a second only.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
# A worker ends by itself when its answers have ended or its time for them is over.
KILL_SECONDS = 15.0
START_SECONDS = 60.0
LOOK_SECONDS = 0.05
PARENT_SECONDS = 1.0
CONFIGURATION = 2  # the exit code of what no second start would mend


def reserve(address: Address) -> socket.socket:
    """A socket that holds the port without listening: what port 0 stands for is known early."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("this system cannot share a port between processes (SO_REUSEPORT)")
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind(address)
    except OSError as error:
        held.close()
        raise OSError(f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error
    return held


def end_with_parent() -> None:
    """In a worker: end as on SIGTERM when whoever started it is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@dataclass(slots=True)
class Workers:
    """``number`` of them; ``arguments`` are the command line, each worker's own are added."""

    arguments: Sequence[str]
    number: int
    listen: Address
    admin: Address
    drain_seconds: float
    tell: Callable[[str], None]
    ready_file: Path | None = None
    addresses: dict[int, Address] = field(default_factory=dict)  # admin, of those that serve
    processes: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    restarts: int = 0
    code: int = 0
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Serve until a signal; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        admin = WorkersAdmin(*self.admin, self.addresses, lambda: self.ending.is_set(), self.facts)
        with reserve(self.listen) as held, tempfile.TemporaryDirectory() as folder:
            self.listen = held.getsockname()[:2]
            await admin.start()
            try:
                keeping = [
                    asyncio.create_task(self.keep(number, Path(folder)))
                    for number in range(1, self.number + 1)
                ]
                await self.introduce(admin.address)
                await asyncio.gather(*keeping)
            finally:
                await admin.stop()
        return self.code

    def end(self) -> None:
        """No new connections; running answers may finish."""
        if not self.ending.is_set():
            self.tell("stopping: no new connections, running answers may finish")
        self.ending.set()
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()

    async def keep(self, number: int, folder: Path) -> None:
        """One worker, again and again until the end."""
        pause = FIRST_PAUSE_SECONDS
        for start in count():
            began = time.monotonic()
            code = await self.work(number, folder / f"{number}-{start}.json")
            if self.ending.is_set():
                self.code = max(self.code, abs(code))
                return
            if code == CONFIGURATION:
                self.code = CONFIGURATION
                self.end()
                return
            lived = time.monotonic() - began
            pause = FIRST_PAUSE_SECONDS if lived > STEADY_SECONDS else pause
            self.tell(f"worker {number} ended (code {code}); it is started again in {pause:.0f} s")
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), pause)
            if self.ending.is_set():
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def work(self, number: int, ready: Path) -> int:
        """Start a worker and wait for its end."""
        process = self.processes[number] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "penstock", *self.arguments),
            *("--listen", written(self.listen), "--admin", "127.0.0.1:0"),
            *("--ready-file", str(ready), "--worker", str(number)),
        )
        if self.ending.is_set():
            process.terminate()
        noting = asyncio.create_task(self.note(number, ready))
        try:
            return await self.ended(process)
        finally:
            noting.cancel()
            self.addresses.pop(number, None)

    async def note(self, number: int, ready: Path) -> None:
        """Wait until the worker serves, and note its admin address."""
        address = None
        while address is None:
            await asyncio.sleep(LOOK_SECONDS)
            address = admin_in(ready)
        self.addresses[number] = address

    async def ended(self, process: asyncio.subprocess.Process) -> int:
        waiting = asyncio.create_task(process.wait())
        told = asyncio.create_task(self.ending.wait())
        await asyncio.wait([waiting, told], return_when="FIRST_COMPLETED")
        told.cancel()
        if not waiting.done():
            await asyncio.wait([waiting], timeout=self.drain_seconds + KILL_SECONDS)
        if not waiting.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return await waiting

    async def introduce(self, admin: Address) -> None:
        """Say where, once all workers serve."""
        deadline = time.monotonic() + START_SECONDS
        while len(self.addresses) < self.number and not self.ending.is_set():
            if time.monotonic() > deadline:
                self.tell(f"only {len(self.addresses)} of {self.number} workers serve so far")
                break
            await asyncio.sleep(LOOK_SECONDS)
        if self.ending.is_set():
            return
        self.tell(
            f"{self.number} workers listening on {written(self.listen)}, "
            f"health and metrics on {written(admin)}"
        )
        if self.ready_file is not None:
            where = {"listen": written(self.listen), "admin": written(admin), "pid": os.getpid()}
            draft = self.ready_file.with_name(f".{self.ready_file.name}.{os.getpid()}")
            draft.write_text(json.dumps(where))
            draft.replace(self.ready_file)

    def facts(self) -> dict[str, int]:
        """What is counted here, by metric name."""
        return {
            "penstock_workers": len(self.addresses),
            "penstock_worker_restarts_total": self.restarts,
        }


def admin_in(ready: Path) -> Address | None:
    """The admin address a worker wrote into its file; None while there is no file."""
    if not ready.exists():
        return None
    host, _, port = json.loads(ready.read_text())["admin"].rpartition(":")
    return host, int(port)


def written(address: Address) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"
