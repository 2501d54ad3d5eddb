"""`penstock approvals` beside a running proxy: who said yes is recorded, and who may not cannot."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest

from penstock.proxy.control import local_socket
from tests.harness import Penstock
from tests.mcp_attacks.server import Hostile, Wire, refused, text_result

PATH = "/holding/mcp"
SECONDS_MAX = 30.0
SECRET = "ghp_" + "k4Jd83LmQpR2vT8wZb5NcYf1HjG4sA0e6U9q"  # shaped like one; valid nowhere


@pytest.fixture(autouse=True)
def obliging(server: Hostile) -> None:
    server.says[PATH] = {"tools/call": text_result("paid")}


def command(proxy: Penstock, *words: str) -> subprocess.CompletedProcess[str]:
    state = ("--state-dir", str(proxy.state))
    return proxy.run(sys.executable, "-m", "penstock", "approvals", *words, *state)


def until(wanted: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if found := wanted():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def waiting_call(proxy: Penstock, argument: str) -> tuple[Future[Any], str]:
    """A call that waits, and its ticket as the command lists it."""
    wire = Wire(proxy, streamed=False, modern=True)
    call = ThreadPoolExecutor(1).submit(wire.call, PATH, "pay", {argument: 1})

    def listed() -> str | None:
        rows = json.loads(command(proxy, "list", "--format", "json").stdout)
        waits = (row for row in rows if argument in row["arguments"] and row["held"])
        return next((row["ticket"] for row in waits), None)

    return call, until(listed)


def recorded(proxy: Penstock, ticket: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        said = (record.get("approval") for record in proxy.records())
        return next((one for one in said if one and one["ticket"] == ticket), None)

    told: dict[str, Any] = until(found)
    return told


def test_who_said_yes_is_in_the_audit_log(proxy: Penstock) -> None:
    call, ticket = waiting_call(proxy, "recorded")
    done = command(proxy, "approve", ticket, "--as", "Mia", "--reason", "INC-4711")
    assert done.returncode == 0 and "approved: pay" in done.stderr
    assert call.result(SECONDS_MAX)["result"] == text_result("paid")
    told = recorded(proxy, ticket)
    assert told["uid"] == os.geteuid() and told["user"]
    assert (told["answer"], told["name"], told["reason"]) == ("approved", "Mia", "INC-4711")
    assert f"approval {ticket}: approved by" in proxy.log.read_text()


def test_who_said_no_is_too_and_no_secret_of_theirs(proxy: Penstock) -> None:
    call, ticket = waiting_call(proxy, "denied")
    assert command(proxy, "deny", ticket, "--reason", f"it used {SECRET}").returncode == 0
    assert "said no" in refused(call.result(SECONDS_MAX))
    assert recorded(proxy, ticket)["answer"] == "denied"
    for kept in (proxy.state / "audit.jsonl", proxy.log):
        assert SECRET not in kept.read_text()


def test_a_ticket_is_answered_by_key(proxy: Penstock) -> None:
    """``penstock approvals watch`` on a terminal."""
    call, ticket = waiting_call(proxy, "watched")
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "penstock", "approvals", "watch", "--state-dir", str(proxy.state)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "60"},
    )
    try:
        shown: list[bytes] = []

        def read() -> None:
            with suppress(OSError):
                while piece := os.read(ours, 65536):
                    shown.append(piece)

        Thread(target=read, daemon=True).start()
        until(lambda: ticket.encode() in b"".join(shown))
        os.write(ours, b"a")
        assert call.result(SECONDS_MAX)["result"] == text_result("paid")
        os.write(ours, b"q")
        assert watching.wait(SECONDS_MAX) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
        os.close(theirs)


def test_the_application_has_no_way_to_the_socket_through_the_proxy(proxy: Penstock) -> None:
    """The proxy dials TCP to the name it was given, and its admin address knows no tickets."""
    call, ticket = waiting_call(proxy, "inside")
    (path,) = local_socket.found(proxy.state / local_socket.FOLDER)
    answer = f"/approvals/{ticket}/approve"
    encoded = str(path).replace("/", "%2F")
    targets = (
        f"http+unix://{encoded}{answer}",
        f"unix:{path}:{answer}",
        f"http://unix:{path}:{answer}",
        f"http://{encoded}{answer}",
        f"http://{proxy.admin}{answer}",
        f"http://localhost{answer}",
    )
    for target in targets:
        assert status(proxy, target) >= 400, target
    request = urllib.request.Request(f"http://{proxy.admin}{answer}", b"{}")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request, timeout=20)
    assert not call.done()
    assert command(proxy, "deny", ticket).returncode == 0
    assert "said no" in refused(call.result(SECONDS_MAX))


def status(proxy: Penstock, target: str) -> int:
    """What the proxy answers to a POST of this request target."""
    with socket.create_connection(proxy.address, timeout=20) as connection:
        head = f"POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{{}}"
        connection.sendall(head.encode())
        answer = connection.recv(4096)
        return int(answer.split()[1]) if answer else 400


def test_a_ticket_nobody_has_is_no_ticket(proxy: Penstock) -> None:
    missing = command(proxy, "approve", "f" * 16)
    assert missing.returncode == 1 and "no open ticket" in missing.stderr
