"""TypeScript clients whose call a person has to agree to: each way it ends has a clean name.

The person agrees, says no, is too late for the client's patience, or for the proxy's; then the
same call is made again. None hangs, and each goes on working.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from penstock.cli.approval_desk import Desk
from tests.harness import Penstock, https_server, running_penstock
from tests.mcp.test_typescript_sdk import V1, V2, V2_MODERN, Sdk
from tests.mcp_attacks.server import HOST
from tests.mcp_real.held_program import SECONDS_MAX, Program
from tests.mcp_real.programs import SLOWER_TIER
from tests.mcp_real.test_clients import inspect

pytestmark = SLOWER_TIER
HOLD_SECONDS = 3
POLICY = f"""
version: 1
name: held
mode: enforce
rules:
  - id: ask-first
    tools: {{server: "{HOST}", approve: [pay], hold: 1m, refuse: FORM}}
  - id: ask-soon
    tools: {{server: "{HOST}", approve: [pay_soon], hold: {HOLD_SECONDS}s, refuse: FORM}}
"""
FORMS = ("advise", "error")
SDKS = pytest.mark.parametrize("sdk", [V1, V2, V2_MODERN], ids=lambda sdk: sdk.name)
paid: list[str] = []


def application() -> Any:
    made = MCPServer("bank")

    def pay(note: str) -> str:
        paid.append(note)
        return f"paid {note}"

    made.add_tool(pay, name="pay")
    made.add_tool(pay, name="pay_soon")

    @made.tool()
    def look() -> str:
        return "looked"

    open_to_all = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return made.streamable_http_app(transport_security=open_to_all)


@pytest.fixture(scope="module", params=FORMS)
def held(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Penstock, str]]:
    """A form of refusal, the proxy, and the URL of its port that stands for the bank."""
    folder = tmp_path_factory.mktemp("held")
    policy = POLICY.replace("FORM", request.param)
    arguments = ["--reverse", f"127.0.0.1:0=https://{HOST}"]
    with (
        https_server(folder / "server", application(), [HOST]) as upstream,
        running_penstock(folder / "penstock", policy, upstream, arguments) as proxy,
    ):
        ready = json.loads((folder / "penstock" / "ready.json").read_text())
        yield request.param, proxy, f"http://{ready['reverse']}/mcp"


@pytest.fixture
async def program(held: tuple[str, Penstock, str], sdk: Sdk, tmp_path: Any) -> AsyncIterator[Any]:
    made = await Program.start(sdk, held[2], tmp_path)
    yield made
    assert await made.call("look", {}) == {"isError": False, "text": "looked"}
    assert await made.end() == 0


def note(case: str) -> dict[str, str]:
    """Arguments that no other call has."""
    return {"note": f"{case} {time.time_ns()}"}


async def answer(proxy: Penstock, word: str, held: bool | None = True) -> None:
    """Say it to the one ticket that is open and, unless None is asked for, (not) waited for."""
    desk, end = Desk(proxy.state), time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        rows = await asyncio.to_thread(desk.rows)
        for row in rows:
            if row["standing"] == "open" and held in (None, row["held"]):
                assert await asyncio.to_thread(desk.answer, row["ticket"], word)
                return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing waits for a person")


def as_refused(form: str, said: dict[str, Any], words: str) -> None:
    assert words in said["text"], said
    if form == "advise":
        assert said["isError"] is True
    else:
        assert said["code"] == -31403 and said["error"]


@SDKS
async def test_the_person_agrees_in_time(held: tuple[str, Penstock, str], program: Program) -> None:
    _, proxy, _ = held
    arguments = note("agreed")
    waiting = asyncio.create_task(program.call("pay", arguments))
    await answer(proxy, "approve")
    assert await waiting == {"isError": False, "text": f"paid {arguments['note']}"}


@SDKS
async def test_the_person_says_no(held: tuple[str, Penstock, str], program: Program) -> None:
    form, proxy, _ = held
    arguments = note("denied")
    waiting = asyncio.create_task(program.call("pay", arguments))
    await answer(proxy, "deny")
    as_refused(form, await waiting, "said no")
    assert arguments["note"] not in paid


@SDKS
async def test_the_client_loses_patience_and_comes_again(
    held: tuple[str, Penstock, str], program: Program
) -> None:
    """Its own time-out is what the program sees; nothing is done behind its back, and then once."""
    _, proxy, _ = held
    arguments = note("impatient")
    said = await program.call("pay", arguments, seconds=2)
    assert said["error"] and "timed out" in said["text"].lower(), said
    await answer(proxy, "approve", held=False)  # the proxy knows that nobody waits any more
    await asyncio.sleep(0.5)
    assert arguments["note"] not in paid
    assert (await program.call("pay", arguments))["text"] == f"paid {arguments['note']}"
    assert paid.count(arguments["note"]) == 1


@SDKS
async def test_the_proxy_gives_a_ticket_and_the_call_comes_again(
    held: tuple[str, Penstock, str], program: Program
) -> None:
    form, proxy, _ = held
    arguments = note("late")
    as_refused(form, await program.call("pay_soon", arguments), "ticket")
    await answer(proxy, "approve", held=False)
    assert (await program.call("pay_soon", arguments))["text"] == f"paid {arguments['note']}"


@pytest.mark.parametrize(("word", "shown"), [("approve", "paid"), ("deny", "said no")])
async def test_the_inspector_waits(held: tuple[str, Penstock, str], word: str, shown: str) -> None:
    _, proxy, url = held
    arguments = ("--tool-name", "pay", "--tool-arg", f"note={note(word)['note']}")
    waiting = asyncio.create_task(inspect(url, "tools/call", *arguments))
    await answer(proxy, word)
    assert shown in await waiting


async def test_the_inspector_comes_again_with_a_ticket(held: tuple[str, Penstock, str]) -> None:
    _, proxy, url = held
    arguments = ("--tool-name", "pay_soon", "--tool-arg", f"note={note('late')['note']}")
    assert "ticket" in await inspect(url, "tools/call", *arguments)
    await answer(proxy, "approve", held=False)
    assert "paid late" in await inspect(url, "tools/call", *arguments)
