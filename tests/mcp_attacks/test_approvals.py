"""Calls held for a person: the client waits, the yes is good once, and for whoever still waits."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from penstock.cli.approval_desk import Desk
from penstock.mcp.approvals import APPROVALS, Approval, Approvals
from tests.harness import Penstock
from tests.mcp_attacks.server import HOST, Hostile, Wire, refused, text_result

PATH = "/holding/mcp"
SECONDS_MAX = 30.0
# More than the proxy has threads for work aside: the loop's six, and two that judge.
HELD = 12


@pytest.fixture(autouse=True)
def obliging(server: Hostile) -> None:
    server.says[PATH] = {"tools/call": text_result("paid")}


@pytest.fixture
def approvals(proxy: Penstock) -> Approvals:
    """The tickets in the proxy's state directory."""
    return Approvals(proxy.state / APPROVALS)


@pytest.fixture
def desk(proxy: Penstock) -> Desk:
    """What ``penstock approvals`` answers with: the proxy's admin socket."""
    return Desk(proxy.state)


def until(wanted: Callable[[], Any]) -> Any:
    """The first true value; fails when none comes."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        if found := wanted():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def open_ticket(approvals: Approvals, argument: str) -> Approval:
    """The ticket of the call with this argument's name."""
    return until(lambda: next((a for a in approvals.all() if argument in a.arguments), None))


def threads_of(proxy: Penstock) -> int:
    return len(list(Path(f"/proc/{proxy.process.pid}/task").iterdir()))


def in_background(work: Callable[[], Any]) -> Future[Any]:
    return ThreadPoolExecutor(1).submit(work)


def test_a_held_call_goes_on_once_a_person_agrees(
    wire: Wire, server: Hostile, approvals: Approvals, desk: Desk
) -> None:
    """The client waits all the while, and gets the server's own answer."""
    name = f"once_{wire.streamed}_{wire.modern}"
    before = len(server.calls(PATH))
    waiting = in_background(lambda: wire.call(PATH, "pay", {name: "4711-secret"}))
    ticket = open_ticket(approvals, name)
    assert (ticket.tool, ticket.server) == ("pay", f"https://{HOST}{PATH}")
    assert "4711" not in str(ticket) and not waiting.done()
    assert len(server.calls(PATH)) == before
    desk.answer(ticket.ticket, "approve")
    assert waiting.result(SECONDS_MAX)["result"] == text_result("paid")
    assert len(server.calls(PATH)) == before + 1
    assert approvals.get(ticket.ticket) is None  # used up


def test_a_no_is_told_at_once(
    wire: Wire, server: Hostile, approvals: Approvals, desk: Desk
) -> None:
    name = f"no_{wire.streamed}_{wire.modern}"
    before = len(server.calls(PATH))
    waiting = in_background(lambda: wire.call(PATH, "pay", {name: 1}))
    desk.answer(open_ticket(approvals, name).ticket, "deny")
    assert "said no" in refused(waiting.result(SECONDS_MAX))
    assert len(server.calls(PATH)) == before


def test_one_yes_is_good_for_one_of_two_waiting_calls(
    wire: Wire, server: Hostile, approvals: Approvals, desk: Desk
) -> None:
    name = f"two_{wire.streamed}_{wire.modern}"
    before = len(server.calls(PATH))
    wires = [Wire(wire.proxy, wire.streamed, wire.modern) for _ in range(2)]
    both = [in_background(partial(one.call, PATH, "pay", {name: 1})) for one in wires]
    ticket = open_ticket(approvals, name).ticket
    time.sleep(0.5)  # both are there by now, or the later one finds no yes
    desk.answer(ticket, "approve")
    answers = [one.result(SECONDS_MAX) for one in both]
    assert len(server.calls(PATH)) == before + 1
    assert sum("isError" not in one["result"] for one in answers) == 1


def test_a_yes_is_not_used_up_by_a_caller_who_left(
    proxy: Penstock, server: Hostile, approvals: Approvals, desk: Desk
) -> None:
    """A client that gave up gets nothing done behind its back; its retry finds the yes."""
    wire = Wire(proxy, streamed=False, modern=False)
    before = len(server.calls(PATH))
    connection = hanging_call(proxy, {"left": 1})
    ticket = open_ticket(approvals, "left")
    connection.close()
    time.sleep(1)  # longer than the proxy takes to look
    desk.answer(ticket.ticket, "approve")
    time.sleep(1)
    assert len(server.calls(PATH)) == before
    wire.number = 6  # the same arguments, whatever the id
    assert wire.call(PATH, "pay", {"left": 1})["result"] == text_result("paid")
    assert len(server.calls(PATH)) == before + 1


def hanging_call(proxy: Penstock, arguments: dict[str, Any]) -> socket.socket:
    """A connection on which a tool call was sent and nothing is read."""
    address = urlsplit(proxy.url)
    raw = socket.create_connection((address.hostname or "", address.port or 0), timeout=20)
    raw.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n".encode())
    assert raw.recv(4096).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=proxy.environment["SSL_CERT_FILE"])
    connection = context.wrap_socket(raw, server_hostname=HOST)
    params = {"name": "pay", "arguments": arguments}
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    ).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        "accept: application/json, text/event-stream\r\nuser-agent: Python-urllib/3.13\r\n"
        f"mcp-protocol-version: 2025-11-25\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_calls_that_wait_do_not_hold_up_others(
    wire: Wire, server: Hostile, approvals: Approvals, desk: Desk
) -> None:
    """Nor does one take a thread of the proxy for itself."""
    before = threads_of(wire.proxy)
    names = [f"beside_{wire.streamed}_{wire.modern}_{number}" for number in range(HELD)]
    clients = [Wire(wire.proxy, wire.streamed, wire.modern) for _ in names]
    waiting = [
        in_background(partial(client.call, PATH, "pay", {name: 1}))
        for client, name in zip(clients, names, strict=True)
    ]
    tickets = [open_ticket(approvals, name) for name in names]
    other = Wire(wire.proxy, wire.streamed, wire.modern)
    assert other.call(PATH, "look")["result"] == text_result("paid")
    assert not any(one.done() for one in waiting)
    assert threads_of(wire.proxy) < before + HELD
    for ticket in tickets:
        desk.answer(ticket.ticket, "deny")
    for one in waiting:
        assert "said no" in refused(one.result(SECONDS_MAX))
