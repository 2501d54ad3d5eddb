"""Several proxies on one port: connections are shared out, one that dies is started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.proxy.control.workers_admin import merged
from tests.faults.world import (
    DONE,
    LAST,
    STREAM_HEAD,
    World,
    ask,
    chat,
    chunk,
    event,
    eventually,
    world,
)

POLICY = """
version: 1
name: workers
mode: enforce
rules:
  - id: no-secrets-out
    redact: {find: [secret], in: [request], with: placeholder}
"""
LIMIT = POLICY + "  - {id: hourly, limit: {tokens: 1000, every: 1h}}\n"
REQUIRE = POLICY + "  - {id: asked, tools: {server: '*', require: model_request}}\n"
SECONDS = 30.0  # a worker starts in a second; a loaded machine takes its time


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, POLICY, arguments=["--workers", "2"]) as started:
        yield started


def workers(made: World) -> dict[str, int]:
    """Process ids of the workers, as their parent's children."""
    task = f"/proc/{made.proxy.process.pid}/task/{made.proxy.process.pid}/children"
    return {pid: int(pid) for pid in Path(task).read_text().split()}


def samples(made: World, name: str) -> dict[str, float]:
    """A metric's sum for each worker ("" where the parent itself counts)."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(made.proxy.metrics()):
        for sample in family.samples:
            if sample.name == name:
                worker = sample.labels.get("worker", "")
                found[worker] = found.get(worker, 0.0) + sample.value
    return found


def status(made: World) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{made.proxy.admin}/status", timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def call(made: World) -> None:
    with made.tunnel() as client:
        ask(client, chat())
        assert client.answer().status == 200


def audit_lines(made: World) -> list[dict[str, Any]]:
    files = made.proxy.state.glob("audit*.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if line["type"] == "call"]


def test_connections_are_shared_out_and_every_call_is_told_once(made: World) -> None:
    """One CA, one admin address, an audit log that is whole for each worker."""
    calls = 0
    while calls < 20 or len([n for n in served(made).values() if n]) < 2:
        call(made)
        calls += 1
        assert calls < 200, "one worker got every connection"
    eventually(lambda: len(audit_lines(made)) == calls, SECONDS)
    assert samples(made, "penstock_workers") == {"": 2.0}
    assert set(status(made)["workers"]) == {"1", "2"}
    assert made.proxy.stop() == 0
    for file in made.proxy.state.glob("audit*.jsonl"):
        command = [sys.executable, "-m", "penstock", "audit", "verify", str(file)]
        verified = subprocess.run(command, capture_output=True, text=True)
        assert verified.returncode == 0, verified.stderr


def served(made: World) -> dict[str, float]:
    return samples(made, "gen_ai_client_operation_duration_seconds_count")


def test_a_worker_that_dies_is_started_again_and_the_port_stays_open(made: World) -> None:
    before = workers(made)
    os.kill(min(before.values()), signal.SIGKILL)
    eventually(lambda: len(workers(made)) == 1, SECONDS)
    for _ in range(5):
        call(made)
    eventually(lambda: samples(made, "penstock_workers") == {"": 2.0}, SECONDS)
    assert samples(made, "penstock_worker_restarts_total") == {"": 1.0}
    assert len(set(workers(made)) - set(before)) == 1
    assert "is started again in 1 s" in made.proxy.log.read_text()
    for _ in range(5):
        call(made)


def test_sigterm_lets_running_answers_finish_and_leaves_nobody_behind(made: World) -> None:
    """The stream ends as it would have; the code is 0; the port is closed."""

    def script(peer: socket.socket, request: bytes, number: int) -> None:
        peer.sendall(STREAM_HEAD + chunk(event("one ")))
        eventually(lambda: "stopping" in made.proxy.log.read_text(), SECONDS)
        peer.sendall(chunk(event("two") + event(None, "stop") + DONE) + LAST)

    made.upstream.script = script
    pids = workers(made)
    with made.tunnel() as client:
        ask(client, chat(stream=True))
        client.until(b"one ")
        made.proxy.process.send_signal(signal.SIGTERM)
        rest = client.until(b"[DONE]")
    assert b"two" in rest and b"[DONE]" in rest
    assert made.proxy.process.wait(SECONDS) == 0
    for pid in pids:
        assert not Path(f"/proc/{pid}/cmdline").exists()
    with pytest.raises(OSError):
        socket.create_connection(made.proxy.address, timeout=1).close()


def test_workers_end_when_whoever_started_them_is_killed(made: World) -> None:
    pids = workers(made)
    made.proxy.process.kill()
    made.proxy.process.wait(SECONDS)

    def gone(pid: str) -> bool:
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

    eventually(lambda: all(map(gone, pids)), SECONDS)


def refused(folder: Path, policy: str, *more: str) -> str:
    """What a start says that must not succeed."""
    file = folder / "policy.yaml"
    file.write_text(policy)
    command = [sys.executable, "-m", "penstock", "run", "--workers", "2", "--policy", str(file)]
    where = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state-dir", str(folder / "s")]
    ended = subprocess.run(
        [*command, *where, *more], capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("policy", "more", "said"),
    [
        (LIMIT, [], "policy.yaml:8: hourly: each worker would count this limit apart"),
        (REQUIRE, ["--limits-per-worker"], "policy.yaml:8: asked: a worker knows only"),
        ("version: 2\n", [], "policy.yaml:1"),
        (POLICY, ["--reverse", "127.0.0.1:0=http://h.example"], "need a port of their own"),
        (POLICY, ["--listen", "192.0.2.1:8080"], "cannot listen on 192.0.2.1:8080"),
    ],
)
def test_what_several_workers_cannot_keep_stops_the_start(
    tmp_path: Path, policy: str, more: list[str], said: str
) -> None:
    assert said in refused(tmp_path, policy, *more)


def test_limits_apart_are_told_and_a_changed_policy_cannot_bring_what_one_process_needs(
    tmp_path: Path,
) -> None:
    arguments = ["--workers", "2", "--limits-per-worker"]
    with world(tmp_path, LIMIT, arguments=arguments) as made:
        assert "limits count in each worker apart: up to 2 times" in made.proxy.log.read_text()
        (tmp_path / "penstock" / "policy.yaml").write_text(REQUIRE)
        refusals = "a worker knows only what models asked for"
        eventually(lambda: made.proxy.log.read_text().count(refusals) == 2, SECONDS)
        call(made)


def test_expositions_are_put_together_family_by_family() -> None:
    """Labels, their odd values, and samples without any; heads once."""
    one = '# HELP a Of it.\n# TYPE a counter\na 1\na{} 2\na{b="c} d \\" {",e="f"} 3\n'
    two = "# HELP a Of it.\n# TYPE a counter\na 5\n# HELP z Last.\n# TYPE z gauge\nz 7\n"
    text = merged({1: one, 2: two}, {"penstock_workers": 2})
    assert text.count("# HELP a ") == 1 and text.index("# HELP z") > text.rindex("\na")
    assert 'a{worker="1",b="c} d \\" {",e="f"} 3\n' in text
    assert 'a{worker="1"} 1\n' in text and 'a{worker="2"} 5\n' in text
    assert 'a{worker="1"} 2\n' in text
    assert text.endswith("\npenstock_workers 2\n")
    names = [family.name for family in text_string_to_metric_families(text)]
    assert names == ["a", "z", "penstock_workers"]


def test_a_port_somebody_else_holds_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, POLICY, "--listen", f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}" in said
