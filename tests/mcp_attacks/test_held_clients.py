"""A real client waits while a person decides, and one with less patience may come again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from penstock.cli.approval_desk import Desk
from penstock.mcp.approvals import APPROVALS, Approvals
from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST

POLICY = f"""
version: 1
name: held
mode: enforce
rules:
  - id: a-person-agrees
    tools: {{server: {HOST}, approve: [pay], hold: 1m}}
"""
PROGRAM = """
import asyncio, json, sys
from mcp import Client

async def main():
    url, mode, patience = sys.argv[1], sys.argv[2], float(sys.argv[3])
    async with Client(url, mode=mode) as client:
        said = []
        for _ in range(2 if patience < 10 else 1):
            try:
                call = client.call_tool("pay", {"amount": 7, "note": sys.argv[4]})
                result = await asyncio.wait_for(call, patience)
                said.append([result.is_error, result.content[0].text])
            except TimeoutError:
                said.append("gave up")
                print("gave up", file=sys.stderr, flush=True)
                await asyncio.sleep(3)
        look = await client.call_tool("look", {})
        print(json.dumps([said, look.content[0].text]))

asyncio.run(main())
"""
SECONDS_MAX = 40.0
paid: list[int] = []


def application() -> Any:
    made = MCPServer("bank")

    @made.tool()
    def pay(amount: int, note: str) -> str:
        paid.append(amount)
        return f"paid {amount}"

    @made.tool()
    def look() -> str:
        return "looked"

    open_to_all = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return made.streamable_http_app(transport_security=open_to_all)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("held")
    with (
        https_server(folder / "server", application(), [HOST]) as upstream,
        running_penstock(folder / "penstock", POLICY, upstream) as started,
    ):
        yield started


def client(proxy: Penstock, mode: str, patience: float) -> Future[Any]:
    """A client in a process of its own."""
    words = (sys.executable, "-c", PROGRAM, f"https://{HOST}/mcp", mode, str(patience))
    words = (*words, f"note {time.time_ns()}")
    return ThreadPoolExecutor(1).submit(proxy.run, *words)


def ticket_of(approvals: Approvals) -> str:
    """The open ticket, once there is one."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        for one in approvals.all():
            if one.standing == "open":
                return one.ticket
        time.sleep(0.05)
    raise AssertionError("nothing waits for a person")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_waits_for_the_person(proxy: Penstock, mode: str) -> None:
    """It gets the server's own result, and its session goes on."""
    approvals, before = Approvals(proxy.state / APPROVALS), len(paid)
    running = client(proxy, mode, 40)
    ticket = ticket_of(approvals)
    time.sleep(1)
    assert len(paid) == before and not running.done()
    assert Desk(proxy.state).answer(ticket, "approve")
    done = running.result(SECONDS_MAX)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[[False, "paid 7"]], "looked"]
    assert len(paid) == before + 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_gave_up_comes_again(proxy: Penstock, mode: str) -> None:
    """The yes that came meanwhile is for the second call: paid once."""
    approvals, before = Approvals(proxy.state / APPROVALS), len(paid)
    running = client(proxy, mode, 3)
    ticket = ticket_of(approvals)
    time.sleep(4)  # longer than the client's patience
    assert Desk(proxy.state).answer(ticket, "approve")
    done = running.result(SECONDS_MAX)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["gave up", [False, "paid 7"]], "looked"]
    assert len(paid) == before + 1
