"""`penstock contain` over real processes: now, for all of them, through restarts, and back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.world import STREAM_HEAD, World, ask, chat, chunk, event, eventually, world
from tests.proxy.raw import Client

OPEN = "version: 1\nname: open\nmode: observe\nrules: []\n"
NARROW = "version: 1\nname: narrow\nrules:\n  - {id: only, allow: {models: [o4-*]}}\n"
PINNED = "pinned.example.com"  # nobody's business: passes undecrypted
HOSTS = ["api.openai.com", PINNED]
SECONDS = 20.0


def contain(state: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "contain", "--state-dir", str(state)]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False, **more
    )


def contained(made: World, *arguments: str) -> None:
    done = contain(made.proxy.state, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def notes(state: Path) -> list[dict[str, Any]]:
    """What the audit logs say of orders, in each log's order."""
    lines = [
        json.loads(line)
        for file in sorted(state.glob("audit*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    return [line for line in lines if line["type"] == "containment"]


def asked(made: World, path: str) -> str:
    with urllib.request.urlopen(f"http://{made.proxy.admin}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def status_of(made: World, model: str = "gpt-5-mini") -> int:
    with made.tunnel() as client:
        ask(client, chat(model=model))
        return int(client.answer().status)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    """A proxy that lets all pass, told to look only: an order stands above both."""
    with world(tmp_path, OPEN, hosts=HOSTS, arguments=["--mode", "observe"]) as started:
        yield started


def test_contain_and_release_are_seen_everywhere(made: World, tmp_path: Path) -> None:
    assert status_of(made) == 200
    contained(made, "--reason", "INC-42", "--by", "Jo")
    assert status_of(made) == 403, "the command ends when the order is in force, not before"
    assert asked(made, "/readyz") == "ready, contained\n"
    assert asked(made, "/healthz") == "ok, contained\n"
    assert "penstock_contained 1.0" in made.proxy.metrics()
    assert json.loads(asked(made, "/status"))["contained"]["since"]
    assert not {"Jo", "INC-42"} & set(asked(made, "/status").split('"')), "for nobody in the pod"
    seen = json.loads(contain(made.proxy.state, "--status", "--format", "json").stdout)
    assert seen["contained"] and [one["as_ordered"] for one in seen["processes"]] == [True]
    record = made.proxy.records(2)[-1]
    assert record["policy"] == seen["order"]["hash"] and record["verdict"] == "deny"
    with made.raw() as client:  # what is not AI neither, nor in a format that is plain
        client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        assert client.answer(connect=True).status == 403
    with made.raw() as client:
        client.send(b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n")
        assert client.answer().status == 403

    contained(made, "--release", "--reason", "keys rotated")
    assert status_of(made) == 200 and asked(made, "/readyz") == "ready\n"
    assert "penstock_contained 0.0" in made.proxy.metrics()
    first, second = notes(made.proxy.state)
    assert (first["state"], first["by"], first["reason"]) == ("contained", "Jo", "INC-42")
    assert first["policy"] == record["policy"] and first["user"]
    assert (second["state"], second["reason"]) == ("released", "keys rotated")
    assert made.proxy.stop() == 0
    command = [sys.executable, "-m", "penstock", "audit"]
    log = str(made.proxy.state / "audit.jsonl")
    verified = subprocess.run([*command, "verify", log], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout
    shown = subprocess.run(
        [*command, "show", "--containment", log], capture_output=True, text=True
    ).stdout
    assert "INC-42" in shown and "keys rotated" in shown and "Jo" in shown


def streaming(connection: socket.socket, _request: bytes, _number: int) -> bool:
    """An answer that begins, and goes on for as long as anybody listens."""
    connection.sendall(STREAM_HEAD + chunk(event("one")))
    while True:
        time.sleep(0.1)
        connection.sendall(chunk(event("more")))


def test_what_is_open_is_ended(made: World) -> None:
    """A stream, an idle connection and a tunnel nobody reads: none goes on under the old policy."""
    made.upstream.script = streaming
    with made.tunnel() as stream, made.tunnel() as idle, opaque(made) as tunnel:
        ask(stream, chat(stream=True))
        assert b"one" in stream.until(b"one")
        contained(made)
        for client in (stream, idle, tunnel):
            client.rest()  # ends, or the test's own timeout says that it did not
    assert made.proxy.records(1)[0]["outcome"] == "aborted"
    assert "3 connections ended" in made.proxy.log.read_text()


def test_calls_may_be_let_finish_and_tunnels_not(made: World) -> None:
    made.upstream.script = streaming
    with made.tunnel() as stream, opaque(made) as tunnel:
        ask(stream, chat(stream=True))
        assert b"one" in stream.until(b"one")
        contained(made, "--let-finish")
        tunnel.rest()
        for _ in range(5):
            assert b"more" in stream.until(b"more")
    made.upstream.script = b""
    assert status_of(made) == 403


def test_a_start_while_contained_is_contained_until_the_time_is_over(tmp_path: Path) -> None:
    with world(tmp_path, OPEN, hosts=HOSTS) as made:
        contained(made, "--for", "1h", "--profile", policy(tmp_path, NARROW))
        assert (status_of(made), status_of(made, "o4-mini")) == (403, 200)
        made.proxy.process.kill()
        made.proxy.process.wait()
        (tmp_path / "penstock" / "ready.json").unlink()
    said = json.loads(contain(made.proxy.state, "--status", "--format", "json").stdout)
    assert said["contained"] and said["processes"] == []
    with world(tmp_path, OPEN, hosts=HOSTS) as again:
        assert (status_of(again), status_of(again, "o4-mini")) == (403, 200)
        assert "warning: contained" in again.proxy.log.read_text()
        shorten(again.proxy.state)
        eventually(lambda: "penstock_contained 0.0" in again.proxy.metrics(), SECONDS)
        assert status_of(again) == 200
        states = [note["state"] for note in notes(again.proxy.state)]
        assert states[:2] == ["contained", "contained"] and states[-1] == "expired"


def test_every_worker_is_contained_and_one_started_anew_too(tmp_path: Path) -> None:
    with world(tmp_path, OPEN, hosts=HOSTS, arguments=["--workers", "2"]) as made:
        contained(made, "--reason", "INC-42")
        said = json.loads(contain(made.proxy.state, "--status", "--format", "json").stdout)
        assert [one["as_ordered"] for one in said["processes"]] == [True, True]
        assert [status_of(made) for _ in range(8)] == [403] * 8
        assert asked(made, "/readyz") == "ready, contained\n"
        os.kill(said["processes"][0]["pid"], signal.SIGKILL)
        restarted = "penstock_worker_restarts_total 1"
        eventually(lambda: restarted in made.proxy.metrics(), SECONDS)
        eventually(lambda: "penstock_workers 2" in made.proxy.metrics(), SECONDS)
        assert [status_of(made) for _ in range(8)] == [403] * 8
        contained(made, "--release")
        assert [status_of(made) for _ in range(8)] == [200] * 8


def test_a_profile_one_process_cannot_keep_refuses_everything_and_is_told(tmp_path: Path) -> None:
    limited = NARROW + "  - {id: few, limit: {requests: 5, every: 1h}}\n"
    with world(tmp_path, OPEN, hosts=HOSTS, arguments=["--workers", "2"]) as made:
        done = contain(made.proxy.state, "--profile", policy(tmp_path, limited))
        assert done.returncode == 1 and "refuses everything instead" in done.stdout
        assert (status_of(made), status_of(made, "o4-mini")) == (403, 403)


WRONG: dict[str, tuple[list[str], str]] = {
    "a profile that is not there": (["--profile", "no.yaml"], "no.yaml:1: no such file"),
    "a near miss": (["--profile", "containmnt"], "did you mean 'containment'"),
    "a folder": (["--profile", "."], "is a directory"),
    "one that only watches": (["--profile", "observe"], "has to enforce"),
    "one with a mistake": (["--profile", "{mistake}"], "did you mean 'rules'"),
    "one of bytes": (["--profile", "{binary}"], "binary.yaml:1"),
    "a time that is none": (["--for", "soon"], "30m, 2h or 7d"),
    "no time": (["--for", "0h"], "30m, 2h or 7d"),
    "a year and more": (["--for", "900d"], "longer than a year"),
    "two things at once": (["--release", "--status"], "one of them"),
    "a release with a profile": (["--release", "--profile", "strict"], "--profile"),
    "a secret in the reason": (
        ["--reason", "leaked glpat-Zk3vQ8sLw1XyT5bNcR2d"],
        "secret.gitlab_token",
    ),
    "a reason of a mile": (["--reason", "x" * 201], "200 characters"),
    "an option that is none": (["--relase"], "--release"),
}


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("steady"), OPEN, hosts=HOSTS) as started:
        yield started


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_and_changes_nothing(
    steady: World, tmp_path: Path, name: str
) -> None:
    arguments, said = WRONG[name]
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    files = {
        "mistake": policy(tmp_path, NARROW.replace("rules:", "rule:")),
        "binary": str(tmp_path / "binary.yaml"),
    }
    done = contain(steady.proxy.state, *(one.format(**files) for one in arguments))
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    if name == "a secret in the reason":
        assert "glpat-Zk3vQ8sLw1XyT5bNcR2d" not in done.stderr
    assert not (steady.proxy.state / "containment").exists() and status_of(steady) == 200


def test_a_release_of_nothing_says_so(steady: World) -> None:
    done = contain(steady.proxy.state, "--release")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "not contained")


def test_a_state_directory_of_somebody_else(tmp_path: Path) -> None:
    """Who may not write there may not contain; what cannot be written changes nothing."""
    done = contain(Path("/proc/penstock"))
    assert done.returncode == 2 and "nothing was changed" in done.stderr
    (tmp_path / "file").write_text("")
    done = contain(tmp_path / "file")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_nobody_runs_yet(tmp_path: Path) -> None:
    state = tmp_path / "penstock" / "state"
    done = contain(state, "--reason", "before the start")
    assert done.returncode == 0 and "the next one starts like this" in done.stdout
    with world(tmp_path, OPEN, hosts=HOSTS) as made:
        assert status_of(made) == 403
        assert notes(state)[0]["reason"] == "before the start"


def test_a_wrapped_server_is_contained(tmp_path: Path) -> None:
    """The same order reaches programs that speak over pipes."""
    echo = (
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    said = json.loads(line)\n"
        "    said |= {'result': {'content': [{'type': 'text', 'text': 'done'}]}}\n"
        "    print(json.dumps({k: said[k] for k in ('jsonrpc', 'id', 'result')}), flush=True)\n"
    )
    command = [
        *(sys.executable, "-m", "penstock", "mcp", "wrap", "--policy", policy(tmp_path, OPEN)),
        *(
            "--state-dir",
            str(tmp_path / "state"),
            "--name",
            "echo",
            "--",
            sys.executable,
            "-c",
            echo,
        ),
    ]
    call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "t", "arguments": {}}}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout

    def answer(number: int) -> str:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(call | {"id": number}).encode() + b"\n")
        process.stdin.flush()
        return process.stdout.readline().decode()

    try:
        assert "done" in answer(1)
        assert contain(tmp_path / "state").returncode == 0
        assert "contained because of an incident" in answer(2)
        assert contain(tmp_path / "state", "--release").returncode == 0
        assert "done" in answer(3)
    finally:
        process.stdin.close()
        process.wait(timeout=20)


# ---------------------------------------------------------------------------------- helpers


def policy(folder: Path, text: str) -> str:
    file = folder / "profile.yaml"
    file.write_text(text)
    return str(file)


def shorten(state: Path) -> None:
    """Let the time of the order be over in a moment, as if the clock had gone on."""
    file = state / "containment" / "order.json"
    order = json.loads(file.read_text()) | {"until": time.time() + 0.5}
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(order))
    draft.replace(file)


def opaque(made: World) -> Client:
    """A tunnel the proxy does not look into: the certificate is the server's own."""
    client = made.raw()
    assert client.connect(PINNED, 443).startswith(b"HTTP/1.1 200")
    client.start_tls(PINNED, made.ca.pem)
    return client
