"""A `penstock run` in a process of its own: started, waited for, stopped.

Used by `exec` and `doctor`, so that what they show is the product itself and not a look-alike.
It never reads policies or traffic.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.options import Address, ProxyOptions

# A start takes about a second; a loaded machine or a cold disk may take ten times that.
START_SECONDS_MAX = 30.0
# After CMD has ended nothing of it is in flight; what still is, another process left behind.
STOP_SECONDS_MAX = 10.0
POLL_SECONDS = 0.02
# What a proxy that did not start said; enough for a list of policy errors.
OUTPUT_CHARACTERS_MAX = 8000


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that answers: its addresses (HOST:PORT), process and trust files."""

    listen: str
    admin: str
    pid: int
    ca: Path
    ca_bundle: Path
    audit: Path


class ProxyFailed(Exception):
    """The proxy did not start, or died. The message is what it said on stderr."""


def run_arguments(options: ProxyOptions, ready_file: Path) -> list[str]:
    """The command line of the proxy process."""
    arguments = [
        *(sys.executable, "-m", "penstock", "run"),
        f"--listen={_text(options.listen)}",
        f"--admin={_text(options.admin)}",
        f"--state-dir={options.state_dir}",
        f"--ready-file={ready_file}",
        f"--drain-seconds={options.drain_seconds}",
        f"--body-mib={options.body_mib}",
        "--http2" if options.http2 else "--no-http2",
    ]
    arguments += [f"--policy={policy}" for policy in options.policies]
    arguments += [
        f"--connect-to={_text(name)}={_text(target)}" for name, target in options.connect_to.items()
    ]
    if options.mode:
        arguments.append(f"--mode={options.mode}")
    if options.upstream_ca:
        arguments.append(f"--upstream-ca={options.upstream_ca}")
    if options.transparent:
        arguments.append(f"--transparent={_text(options.transparent)}")
    if options.reverse:
        listen, scheme, target = options.reverse
        arguments.append(f"--reverse={_text(listen)}={scheme}://{_text(target)}")
    return arguments


@contextmanager
def running_proxy(options: ProxyOptions) -> Iterator[RunningProxy]:
    """Start a proxy, yield it when it is ready, stop it. Raises ProxyFailed."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        output = Path(folder, "output")
        ready_file = Path(folder, "ready.json")
        with output.open("wb") as stream:
            process = subprocess.Popen(
                run_arguments(options, ready_file),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, **({"PENSTOCK_STORE": options.store} if options.store else {})},
                # Its own session: Ctrl-C is for the command, the proxy outlives it.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            yield _wait(process, ready_file, output, options)
            if process.poll() is not None:
                raise _failed(process, output)
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, which lets running answers end; after STOP_SECONDS_MAX SIGKILL."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(
    process: subprocess.Popen[bytes], ready_file: Path, output: Path, options: ProxyOptions
) -> RunningProxy:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not ready_file.exists():
        if process.poll() is not None:
            raise _failed(process, output)
        if time.monotonic() > deadline:
            said = f"not ready after {START_SECONDS_MAX:.0f} s\n{_said(output)}"
            raise ProxyFailed(said.strip())
        time.sleep(POLL_SECONDS)
    ready = json.loads(ready_file.read_text(encoding="utf-8"))
    return RunningProxy(
        listen=ready["listen"],
        admin=ready["admin"],
        pid=ready["pid"],
        ca=options.state_dir / "ca.pem",
        ca_bundle=options.state_dir / "ca-bundle.pem",
        audit=Path(ready.get("audit") or options.state_dir / "audit.jsonl"),
    )


def _failed(process: subprocess.Popen[bytes], output: Path) -> ProxyFailed:
    said = _said(output) or f"it ended with code {process.returncode} and said nothing"
    return ProxyFailed(said)


def _said(output: Path) -> str:
    return output.read_text(encoding="utf-8", errors="replace")[-OUTPUT_CHARACTERS_MAX:].strip()


def _die_with_parent() -> None:
    """Linux: end the proxy when its starter is killed, so that none is left behind."""
    import ctypes

    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
