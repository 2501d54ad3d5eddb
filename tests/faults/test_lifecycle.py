"""Start, stop, crash, a full disk: clear words, nothing half-open, an audit log that holds."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import (
    DONE,
    LAST,
    OBSERVE,
    POLICY,
    STREAM_HEAD,
    World,
    ask,
    chat,
    chunk,
    event,
    eventually,
    world,
)

Arguments = Callable[[Path], list[str]]


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``penstock run`` that is expected to end by itself."""
    run = [sys.executable, "-m", "penstock", "run", "--state-dir", str(folder / "state")]
    return subprocess.run(
        [*run, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@contextmanager
def busy_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def file_with(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def nothing_but(_file: str) -> list[str]:
    """The file is there; no option names it."""
    return []


WRONG: dict[str, tuple[Arguments, str]] = {
    "an unknown option": (lambda _: ["--polcy", "x"], "--polcy"),
    "a policy that is not there": (lambda f: ["--policy", str(f / "no.yaml")], "no.yaml"),
    "a policy that is a folder": (lambda f: ["--policy", str(f)], ""),
    "broken YAML": (lambda f: ["--policy", file_with(f, "p.yaml", "rules: [")], "p.yaml:"),
    "an unknown key": (
        lambda f: ["--policy", file_with(f, "p.yaml", "version: 1\nrulez: []\n")],
        "rulez",
    ),
    "a policy of binary bytes": (
        lambda f: ["--policy", file_with(f, "p.yaml", b"\xff\xfe\x00\x01")],
        "p.yaml",
    ),
    "a mode that is none": (lambda _: ["--mode", "block"], "observe"),
    "an address without a port": (lambda _: ["--listen", "localhost"], "HOST:PORT"),
    "a port out of range": (lambda _: ["--listen", "127.0.0.1:70000"], "HOST:PORT"),
    "an address of another machine": (lambda _: ["--listen", "192.0.2.1:8080"], "192.0.2.1"),
    "a name that is no address": (lambda _: ["--admin", "no.such.name.invalid:1"], "no.such.name"),
    "a bad connect-to": (lambda _: ["--connect-to", "a:1"], "HOST:PORT=ADDR:PORT"),
    "a connect-to port of nobody": (lambda _: ["--connect-to", "a:1=b:99999"], "HOST:PORT"),
    "a body size of nothing": (lambda _: ["--body-mib", "0"], "1<=x<=1024"),
    "a CA that is none": (
        lambda f: ["--upstream-ca", file_with(f, "ca.pem", "hello")],
        "ca.pem",
    ),
    "a state directory that is a file": (
        lambda f: ["--state-dir", file_with(f, "state", "x")],
        "state",
    ),
    "a state directory nobody may make": (lambda _: ["--state-dir", "/proc/penstock"], "/proc"),
    "a key that is none": (
        lambda f: nothing_but(file_with(f, "state/ca-key.pem", "hello")),
        "",
    ),
    "budgets that are none": (
        lambda f: nothing_but(file_with(f, "state/budgets.json", "hello")),
        "budgets.json",
    ),
    "a ready file in no folder": (
        lambda f: ["--ready-file", str(f / "nowhere" / "ready.json")],
        "nowhere",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_start_says_what_is_wrong_and_ends_with_code_two(tmp_path: Path, name: str) -> None:
    arguments, said = WRONG[name]
    ended = start(tmp_path, *arguments(tmp_path))
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert 0 < len(ended.stderr.strip().splitlines()) < 12


@pytest.mark.parametrize("option", ["--listen", "--admin"])
def test_a_busy_port_is_named_and_nothing_stays_behind(tmp_path: Path, option: str) -> None:
    with busy_port() as address:
        ended = start(tmp_path, option, address)
        assert ended.returncode == 2 and "Traceback" not in ended.stderr
        assert address.rpartition(":")[2] in ended.stderr, ended.stderr
    again = tmp_path / "again"
    with world(again, arguments=["--state-dir", str(tmp_path / "state")]) as made:
        audit = json.loads((again / "penstock" / "ready.json").read_text())["audit"]
        assert audit.endswith("/audit.jsonl"), "the log of the failed start is free again"
        assert made.proxy.process.poll() is None


def test_a_variable_with_nonsense_is_a_clear_error(tmp_path: Path) -> None:
    ended = start(tmp_path, PENSTOCK_MODE="sometimes")
    assert ended.returncode == 2 and "sometimes" in ended.stderr


# ---------------------------------------------------------------------- ending


def streaming(gate: threading.Event) -> Any:
    def script(peer: socket.socket, request: bytes, _: int) -> None:
        peer.sendall(STREAM_HEAD + chunk(event("first ")))
        gate.wait(10)
        peer.sendall(chunk(event("last")) + chunk(event(None, "stop") + DONE) + LAST)

    return script


def test_sigterm_finishes_a_running_stream_and_takes_no_new_connection(tmp_path: Path) -> None:
    gate = threading.Event()
    with world(tmp_path, script=streaming(gate)) as made:
        client, idle = made.tunnel(), made.tunnel()
        ask(client, chat(stream=True))
        client.until(b"first")
        made.proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(made))
        assert made.proxy.process.poll() is None
        gate.set()
        rest = client.until(LAST)
        assert b"last" in rest and rest.endswith(LAST)
        assert made.proxy.process.wait(10) == 0
        idle.close()
        (record,) = made.proxy.records(1)
        assert record["outcome"] == "answered"
        assert verified(made) == 0
        assert "Traceback" not in made.proxy.log.read_text()


def refuses(made: World) -> bool:
    try:
        made.raw().close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_grace_period_ends_and_the_cut_call_is_recorded(tmp_path: Path) -> None:
    gate = threading.Event()
    arguments = ["--drain-seconds", "0.5"]
    with world(tmp_path, script=streaming(gate), arguments=arguments) as made:
        client = made.tunnel()
        ask(client, chat(stream=True))
        client.until(b"first")
        began = time.monotonic()
        assert made.proxy.stop() == 0
        assert time.monotonic() - began < 5
        gate.set()
        (record,) = made.proxy.records(1)
        assert record["outcome"] in ("cut", "aborted")


def test_readiness_ends_with_the_drain(tmp_path: Path) -> None:
    gate = threading.Event()
    with world(tmp_path, script=streaming(gate)) as made:
        assert admin(made, "/readyz") == 200
        client = made.tunnel()
        ask(client, chat(stream=True))
        client.until(b"first")
        made.proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: admin(made, "/readyz") == 503)
        assert admin(made, "/healthz") == 200
        gate.set()
        assert made.proxy.process.wait(10) == 0


def admin(made: World, path: str) -> int:
    host, _, port = made.proxy.admin.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return int(peer.recv(4096).split()[1])


def verified(made: World) -> int:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "penstock",
            "audit",
            "verify",
            str(made.proxy.state / "audit.jsonl"),
        ],
        capture_output=True,
        timeout=30,
        check=False,
    ).returncode


def test_after_sigkill_the_audit_chain_goes_on(tmp_path: Path) -> None:
    for _ in range(3):
        with world(tmp_path) as made:
            for _ in range(5):
                with made.tunnel() as client:
                    ask(client, chat())
                    assert client.answer().status == 200
            made.proxy.records(1)
            made.proxy.process.kill()
            made.proxy.process.wait()
        (tmp_path / "penstock" / "ready.json").unlink()
    with world(tmp_path) as made:
        assert len(made.proxy.records(15)) == 15, "no line is lost with the process"
        assert made.proxy.stop() == 0
        assert verified(made) == 0


def test_a_torn_last_line_is_cut_and_the_chain_goes_on(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        with made.tunnel() as client:
            ask(client, chat())
            client.answer()
        made.proxy.records(1)
        made.proxy.process.kill()
        made.proxy.process.wait()
        log = made.proxy.state / "audit.jsonl"
        log.write_bytes(log.read_bytes() + b'{"type":"call","id":"torn')
    (tmp_path / "penstock" / "ready.json").unlink()
    with world(tmp_path) as made:
        with made.tunnel() as client:
            ask(client, chat())
            client.answer()
        assert made.proxy.stop() == 0
        assert len(made.proxy.records(2)) == 2 and verified(made) == 0


def test_two_proxies_on_one_state_directory(tmp_path: Path) -> None:
    """Each writes a log of its own; both chains hold; both use one authority."""
    with world(tmp_path / "one") as first:
        shared = ["--state-dir", str(first.proxy.state)]
        with world(tmp_path / "two", arguments=shared) as second:
            second.proxy.state = first.proxy.state
            for made in (first, second):
                with made.tunnel() as client:
                    ask(client, chat())
                    assert client.answer().status == 200
            eventually(lambda: (first.proxy.state / "audit-2.jsonl").read_text().count('"call"'))
            assert second.proxy.stop() == 0
        assert first.proxy.stop() == 0
        assert len(first.proxy.records(1)) == 1
        assert verified(first) == 0


# ---------------------------------------------------------------------- a full disk

FULL_BYTES = 24 * 1024


def limit_files() -> None:
    """Writes beyond FULL_BYTES of a file fail with EFBIG, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, FULL_BYTES))


@pytest.fixture(scope="module", params=["enforce", "observe"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A proxy whose audit log cannot grow any more."""
    folder = tmp_path_factory.mktemp("full")
    policy = POLICY if request.param == "enforce" else OBSERVE
    with world(folder, policy) as made:
        pid = made.proxy.process.pid
        log = made.proxy.state / "audit.jsonl"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        while made.metric("penstock_audit_dropped_total") == 0:
            with made.tunnel() as client:
                ask(client, chat())
                client.answer()
            assert log.stat().st_size <= FULL_BYTES
        yield request.param, made, pid


def test_a_full_disk_refuses_in_enforce_mode_and_is_counted(full: Any) -> None:
    mode, made, pid = full
    made.upstream.requests.clear()
    with made.tunnel() as client:
        statuses = []
        for _ in range(5):
            ask(client, chat())
            statuses.append(client.answer().status)
    if mode == "observe":
        assert statuses == [200] * 5
    else:
        assert 403 in statuses and statuses.count(200) <= 1
    assert made.metric("penstock_audit_dropped_total") >= 2
    assert made.metric("penstock_record_failures_total") >= 2
    assert made.proxy.process.poll() is None

    # and when there is room again, calls pass, and the log says what is missing
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    before = made.recorded

    def passes() -> bool:
        with made.tunnel() as client:
            ask(client, chat())
            return bool(client.answer().status == 200 and made.recorded > before)

    eventually(passes, 10)
    lines = [json.loads(line) for line in (made.proxy.state / "audit.jsonl").open()]
    assert sum(line.get("missing", 0) for line in lines) >= 2
    assert made.proxy.stop() == 0
    assert verified(made) == 0
