"""The redirect rules, loaded into a network of their own and used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from penstock.cli.demo.story import github_token

RULES = Path(__file__).resolve().parents[2] / "deploy" / "redirect.nft"

# Runs inside the new network: servers, the rules twice, then calls by an
# application and by the proxy's user. 203.0.113.0/24 is for documentation (RFC 5737).
INSIDE = textwrap.dedent(
    """
    import json, os, socket, struct, subprocess, sys

    def sh(*command):
        subprocess.run(command, check=True)

    sh("ip", "link", "set", "lo", "up")
    sh("ip", "address", "add", "203.0.113.9/32", "dev", "lo")
    sh("ip", "address", "add", "169.254.169.254/32", "dev", "lo")
    for _ in range(2):
        sh("nft", "-f", sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 15001))
    reachable = ("127.0.0.1", 443), ("203.0.113.9", 443), ("203.0.113.9", 8443)
    servers = [socket.create_server(one) for one in (*reachable, ("169.254.169.254", 80))]

    def call(uid, address, kind=socket.SOCK_STREAM):
        child = os.fork()
        if child == 0:
            os.setuid(uid)
            with socket.socket(socket.AF_INET, kind) as one:
                one.settimeout(2)
                try:
                    one.connect(address)
                    if kind == socket.SOCK_DGRAM:
                        one.send(b"x")
                        one.recv(1)
                    os._exit(0)
                except TimeoutError:
                    os._exit(4)
                except (ConnectionRefusedError, PermissionError):
                    os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def original(server):
        server.settimeout(0.5)
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return None
        raw = connection.getsockopt(socket.SOL_IP, 80, 16)  # SO_ORIGINAL_DST
        connection.close()
        port, address = struct.unpack_from("!2xH4s", raw)
        return [socket.inet_ntoa(address), port]

    result = {}
    result["application"] = [call(1000, ("203.0.113.9", 443)), original(listener)]
    result["plain"] = [call(1000, ("203.0.113.9", 80)), original(listener)]
    result["proxy"] = [call(1337, ("203.0.113.9", 443)), original(listener)]
    result["other port"] = [call(1000, ("203.0.113.9", 8443)), original(listener)]
    result["metadata"] = [call(1000, ("169.254.169.254", 80)), original(listener)]
    result["loopback"] = [call(1000, ("127.0.0.1", 443)), original(listener)]
    result["quic"] = [call(1000, ("203.0.113.9", 443), socket.SOCK_DGRAM), None]
    listener.close()
    result["proxy down"] = [call(1000, ("203.0.113.9", 443)), None]
    print(json.dumps(result))
    """
)


def need_a_network() -> None:
    """Skip, by name, where a network namespace or the programs for it are not to be had."""
    for program in ("nft", "unshare", "ip", "setpriv", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a network namespace")


@pytest.fixture(scope="module")
def seen() -> dict[str, list[object]]:
    """What became of each call: [0 connected, 3 refused, 4 silence; where the proxy saw it go]."""
    need_a_network()
    finished = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", INSIDE, str(RULES)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 0, finished.stderr
    answers: dict[str, list[object]] = json.loads(finished.stdout)
    return answers


def test_the_application_arrives_at_the_proxy_with_its_destination(
    seen: dict[str, list[object]],
) -> None:
    assert seen["application"] == [0, ["203.0.113.9", 443]]
    assert seen["plain"] == [0, ["203.0.113.9", 80]]


@pytest.mark.parametrize("who", ["proxy", "other port", "metadata"])
def test_what_is_exempt_does_not_come_back_to_the_proxy(
    seen: dict[str, list[object]], who: str
) -> None:
    assert seen[who] == [0, None]  # connected, and not to the proxy


def test_the_pods_own_loopback_is_left_alone(seen: dict[str, list[object]]) -> None:
    assert seen["loopback"] == [0, None]


def test_http_3_is_refused_at_once(seen: dict[str, list[object]]) -> None:
    assert seen["quic"] == [3, None]


def test_without_the_proxy_nothing_gets_out(seen: dict[str, list[object]]) -> None:
    """The server is there and the proxy's own user reaches it; the application does not."""
    assert seen["proxy down"] == [3, None]


@pytest.mark.slow
def test_a_client_without_any_proxy_variable_is_governed_in_a_redirected_pod() -> None:
    """The real proxy as uid 1337, curl as uid 1000: read, its secret replaced, put back."""
    need_a_network()
    token = github_token()
    with tempfile.TemporaryDirectory() as name:  # not tmp_path: other users must reach it
        folder = Path(name)
        folder.chmod(0o755)
        finished = subprocess.run(
            [
                *("unshare", "--net", sys.executable, "-m", "tests.kube.redirected_pod"),
                *(str(RULES), name, f"the token is {token}"),
            ],
            capture_output=True,
            text=True,
            timeout=110,
            cwd=RULES.parents[1],
        )
        assert finished.returncode == 0, finished.stderr
        result = json.loads(finished.stdout)
        assert result["up"]["code"] == 0, result["up"]
        answer = json.loads(result["up"]["out"])
        assert answer["choices"][0]["message"]["content"] == f"the token is {token}"
        (body,) = result["arrived"]
        assert token not in body
        assert "PLACEHOLDER_" in body
        calls = [
            line
            for line in map(json.loads, (folder / "state" / "audit.jsonl").open())
            if line["type"] == "call"
        ]
        assert [line["destination"]["host"] for line in calls] == ["api.openai.com"]
        assert result["down"]["code"] == 7  # curl: could not connect
