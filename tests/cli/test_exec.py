"""`penstock exec`: the command's own behaviour, as if the proxy were not there."""

from __future__ import annotations

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.harness import Upstream, https_server
from tests.npm_tools import node_honouring_the_variables

HOST = "api.openai.com"
TOKEN = "ghp_" + "x7Kd93LmQpR2vT8wZb5NcYf1HjG4sA0e6U9q"  # shaped like one; valid nowhere


async def completion(request: Request) -> JSONResponse:
    """A chat completion that repeats what arrived, as the API documents its shape."""
    body = json.loads(await request.body() or b"{}")
    said = body.get("messages", [{}])[-1].get("content", "")
    return JSONResponse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": f"arrived: {said}"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
        }
    )


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    application = Starlette(
        routes=[Route("/v1/chat/completions", completion, methods=["GET", "POST"])]
    )
    with https_server(tmp_path_factory.mktemp("upstream"), application, [HOST]) as one:
        yield one


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def arguments(state: Path, *options: str, command: tuple[str, ...]) -> list[str]:
    return [
        *(sys.executable, "-m", "penstock", "exec", "--state-dir", str(state)),
        *options,
        "--",
        *command,
    ]


def execute(
    state: Path, *command: str, options: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(state, *options, command=command),
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **environment},
    )


def to(upstream: Upstream) -> tuple[str, ...]:
    pair = f"{HOST}:443=127.0.0.1:{upstream.port}"
    return ("--upstream-ca", str(upstream.ca), "--connect-to", pair)


def summary(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(finished.stderr.strip().splitlines()[-1])
    return data


BODY = json.dumps(
    {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"my token is {TOKEN}"}]}
)
URL = f"https://{HOST}/v1/chat/completions"
PYTHON = f"""
import json, urllib.request
request = urllib.request.Request({URL!r}, {BODY!r}.encode(), {{"Content-Type": "application/json"}})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


def check_call(finished: subprocess.CompletedProcess[str]) -> None:
    """The call arrived, its secret did not, and the summary says both."""
    assert finished.returncode == 0, finished.stderr
    content = json.loads(finished.stdout)["choices"][0]["message"]["content"]
    assert content == f"arrived: my token is {TOKEN}"  # put back into the answer
    said = summary(finished)
    assert said["calls"] == 1
    assert said["hosts"] == {HOST: 1}
    assert said["tokens"] == {"input": 12, "output": 5}
    assert sum(said["redacted"].values()) == 1
    assert said["restored"] == 1
    assert TOKEN not in finished.stderr


def test_curl_calls_through_it(state: Path, upstream: Upstream) -> None:
    command = ("curl", "-sS", "-H", "Content-Type: application/json", "-d", BODY, URL)
    check_call(execute(state, *command, options=(*to(upstream), "--format", "json")))


def test_python_calls_through_it(state: Path, upstream: Upstream) -> None:
    options = (*to(upstream), "--format", "json")
    check_call(execute(state, sys.executable, "-c", PYTHON, options=options))


def test_a_command_keeps_its_output_and_its_code(state: Path) -> None:
    finished = execute(state, "sh", "-c", "echo out; echo err >&2; exit 41", options=("-q",))
    assert (finished.returncode, finished.stdout, finished.stderr) == (41, "out\n", "err\n")


def test_standard_input_reaches_the_command(state: Path) -> None:
    finished = subprocess.run(
        arguments(state, "-q", command=("cat",)), input=b"\x00bytes\xff", capture_output=True
    )
    assert finished.stdout == b"\x00bytes\xff"


def test_options_after_the_command_are_the_commands(state: Path) -> None:
    finished = execute(state, "echo", "--policy", "-q", "--", "--help", options=("-q",))
    assert finished.stdout == "--policy -q -- --help\n"


def test_a_command_ended_by_a_signal_gives_the_shells_code(state: Path) -> None:
    assert execute(state, "sh", "-c", "kill -9 $$", options=("-q",)).returncode == 137


def test_the_variables_name_files_that_exist_and_a_port_that_answers(state: Path) -> None:
    script = """
import json, os, socket, ssl, urllib.parse
ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
assert "BEGIN CERTIFICATE" in open(os.environ["NODE_EXTRA_CA_CERTS"]).read()
address = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
socket.create_connection((address.hostname, address.port)).close()
print(os.environ["https_proxy"] == os.environ["HTTPS_PROXY"], os.environ["NODE_USE_ENV_PROXY"])
"""
    finished = execute(state, sys.executable, "-c", script, options=("-q",))
    assert finished.stdout == "True 1\n", finished.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command(state: Path, number: signal.Signals) -> None:
    """Without a terminal, which would deliver them itself; the command decides what to do."""
    script = (
        "import signal, sys\n"
        f"signal.signal({int(number)}, lambda n, f: sys.exit(7))\n"
        "print('up', flush=True)\nsignal.pause()\n"
    )
    process = subprocess.Popen(
        arguments(state, "-q", command=(sys.executable, "-c", script)),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    assert process.wait(30) == 7


def test_no_proxy_is_left_behind(state: Path) -> None:
    """Neither after an ordinary end nor after the starter was killed outright."""
    show = "import os; print(os.environ['HTTPS_PROXY'], flush=True); import time; time.sleep(60)"
    process = subprocess.Popen(
        arguments(state, command=(sys.executable, "-c", show)), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = int(process.stdout.readline().rpartition(":")[2])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    try:
        while listening(port):
            assert time.monotonic() < deadline, "the proxy outlived its starter"
            time.sleep(0.05)
    finally:
        for child in children:
            if Path(f"/proc/{child}").exists():
                os.kill(int(child), signal.SIGKILL)


def listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_command_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    finished = execute(tmp_path / "state", "no-such-command-at-all")
    assert finished.returncode == 127
    assert "no-such-command-at-all" in finished.stderr
    assert not (tmp_path / "state").exists()
    (tmp_path / "script").write_text("echo")
    assert execute(tmp_path / "state", str(tmp_path / "script")).returncode == 126


def test_a_wrong_policy_is_said_with_its_place_and_nothing_runs(tmp_path: Path) -> None:
    policy = tmp_path / "team.yaml"
    policy.write_text("version: 1\nname: team\nmode: enforce\nrules:\n  - id: a\n    dney: {}\n")
    mark = tmp_path / "ran"
    finished = execute(tmp_path / "state", "touch", str(mark), options=("--policy", str(policy)))
    assert finished.returncode == 2
    assert "team.yaml:6" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not mark.exists()


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finished = execute(tmp_path, "true", options=("--listen", f"127.0.0.1:{port}"))
    assert finished.returncode == 2
    assert str(port) in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_refusal_is_counted_with_its_rule(tmp_path: Path, upstream: Upstream) -> None:
    policy = tmp_path / "team.yaml"
    policy.write_text(
        "version: 1\nname: team\nmode: enforce\nrules:\n"
        "  - id: no-openai\n    deny: {providers: [openai]}\n"
    )
    options = (*to(upstream), "--policy", str(policy))
    finished = execute(tmp_path / "s", "curl", "-sS", "-d", BODY, URL, options=options)
    assert finished.returncode == 0
    assert "no-openai" in json.loads(finished.stdout)["error"]["message"]
    assert "1 call (api.openai.com 1), 1 refused by no-openai" in finished.stderr
    assert str(tmp_path / "s" / "audit.jsonl") in finished.stderr


def test_two_at_once_on_one_state_directory_count_their_own_calls(
    tmp_path: Path, upstream: Upstream
) -> None:
    """Two sessions of an agent on one laptop: the second proxy writes a log of its own."""
    options = (*to(upstream), "--format", "json")
    inner = arguments(
        tmp_path, *options, command=("sh", "-c", f"curl -sS -d '{{}}' {URL}; curl -sS {URL}")
    )
    outer = execute(tmp_path, "sh", "-c", shlex.join(inner), options=options)
    inside, outside = (json.loads(line) for line in outer.stderr.strip().splitlines())
    assert (inside["calls"], outside["calls"]) == (2, 0)
    assert inside["audit"] != outside["audit"]


def test_the_certificate_clients_see_is_the_proxys(state: Path, upstream: Upstream) -> None:
    """So that the calls above were read on their way and not tunnelled."""
    script = f"""
import http.client, os, ssl, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
connection = http.client.HTTPSConnection(proxy.hostname, proxy.port)
connection.set_tunnel({HOST!r}, 443)
connection.connect()
print(dict(pair for part in connection.sock.getpeercert()["issuer"] for pair in part))
"""
    finished = execute(state, sys.executable, "-c", script, options=(*to(upstream), "-q"))
    assert "Penstock" in finished.stdout, finished.stderr


def test_node_calls_through_it(state: Path, upstream: Upstream) -> None:
    """Node since 22.21 by NODE_USE_ENV_PROXY; older ones go direct, which doctor says."""
    node = node_honouring_the_variables()
    script = (
        f"fetch({URL!r}, {{method: 'POST', body: {json.dumps(BODY)}, "
        "headers: {'content-type': 'application/json'}})"
        ".then(r => r.text()).then(console.log)"
    )
    options = (*to(upstream), "--format", "json")
    check_call(execute(state, node, "-e", script, options=options, NODE_NO_WARNINGS="1"))


def test_the_bundle_is_a_trust_store_openssl_reads(state: Path) -> None:
    execute(state, "true", options=("-q",))
    context = ssl.create_default_context(cafile=str(state / "ca-bundle.pem"))
    names = [str(one["subject"]) for one in context.get_ca_certs()]
    assert len(names) > 100
    assert any("Penstock" in name for name in names)
