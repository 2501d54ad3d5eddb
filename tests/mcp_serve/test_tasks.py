"""Tasks at `penstock mcp serve`: both eras on both sides, each result judged when it is delivered.

The SDK's client knows no tasks, so a client's messages are written here as the specifications have
them (2025-11-25, utilities/tasks; 2026-07-28, the extension io.modelcontextprotocol/tasks).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from mcp import Client
from penstock.gateway.clients.task_ids import TaskId, opened
from penstock.gateway.servers.open_request import OpenRequest, send_open
from tests.mcp_serve.serving import Serving, piped, serving, shop, wait_for
from tests.mcp_serve.test_told import ERAS, TALKING

POLICY = """
version: 1
name: tasks
mode: enforce
rules:
  - id: no-mail-tool
    tools: {server: "stdio://strict", deny: [nothing]}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: mask}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("tasks")
    with shop("http", TALKING) as http:
        servers = {
            "pipe": piped(TALKING, mode="legacy"),
            "web": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "modern"},
            "web-old": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "legacy"},
            "strict": piped(TALKING, mode="legacy"),
        }
        with serving(folder, POLICY, servers, list(servers)) as made:
            yield made


async def asked(one: Client, method: str, **params: Any) -> dict[str, Any]:
    return await send_open(one, OpenRequest(method=method, params=params), None, 30)


async def finished(one: Client, task: str) -> dict[str, Any]:
    for _ in range(20):
        found = await asked(one, "tasks/get", taskId=task)
        assert found["taskId"] == task
        if found["status"] == "completed":
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("the task is never over")


@pytest.mark.parametrize("server", ["pipe", "web-old"])
async def test_a_client_of_the_session_era_asks_for_a_task(endpoint: Serving, server: str) -> None:
    """Created, looked at, listed, fetched: under a name of ours, screened at delivery."""
    async with Client(endpoint.url, mode="legacy") as one:
        assert one.server_capabilities.tasks is not None
        tools = {tool.name: tool for tool in (await one.list_tools()).tools}
        assert tools[f"{server}__mail"].execution.task_support == "optional"
        made = await asked(one, "tools/call", name=f"{server}__mail", arguments={}, task={"ttl": 9})
        task = made["task"]["taskId"]
        assert "own-task" not in task and made["task"]["status"] == "working"
        assert task in [one["taskId"] for one in (await asked(one, "tasks/list"))["tasks"]]
        assert (await finished(one, task))["ttl"] == 60000
        result = await asked(one, "tasks/result", taskId=task)
        assert result["content"][0]["text"].startswith("later: ")
        assert "@example.org" not in str(result)
        assert result["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": task}
        async with Client(endpoint.url, mode="legacy") as other:
            with pytest.raises(MCPError, match="Unknown task"):
                await asked(other, "tasks/get", taskId=task)
        stopped = await asked(one, "tasks/cancel", taskId=task)
        assert stopped["status"] == "cancelled" and stopped["taskId"] == task
    records = wait_for(
        lambda: [r for r in _calls(endpoint) if "tasks/result" in r["mcp"]["methods"]], "a record"
    )
    assert records[-1]["destination"]["host"] in ("pipe", "127.0.0.1")


async def test_a_newer_server_answers_a_newer_client_with_a_task(endpoint: Serving) -> None:
    async with Client(endpoint.url) as one:
        made = await asked(one, "tools/call", name="web__mail", arguments={})
        assert made["resultType"] == "task" and "own-task" not in made["taskId"]
        over = await finished(one, made["taskId"])
        assert over["ttlMs"] == 60000 and over["resultType"] == "complete"
        assert over["result"]["content"][0]["text"].startswith("later: ")
        assert "@example.org" not in str(over)
        assert (await asked(one, "tasks/cancel", taskId=made["taskId"]))["resultType"] == "complete"
        # A client that has not the extension is answered at once.
        plain = await one.call_tool("web__mail", {})
        assert plain.content[0].text.startswith("write to ")


@pytest.mark.parametrize("server", ["pipe", "web-old"])
async def test_an_older_servers_task_becomes_a_newer_clients(
    endpoint: Serving, server: str
) -> None:
    """A tool that only runs as a task; one that may is called at once."""
    async with Client(endpoint.url) as one:
        made = await asked(one, "tools/call", name=f"{server}__only_later", arguments={})
        assert made["resultType"] == "task" and made["ttlMs"] == 60000
        over = await finished(one, made["taskId"])
        assert over["result"]["content"][0]["text"].startswith("later: ")
        assert "@example.org" not in str(over)
        at_once = await asked(one, "tools/call", name=f"{server}__mail", arguments={})
        assert at_once["content"][0]["text"].startswith("write to ")


@ERAS
async def test_a_client_without_tasks_gets_the_result(endpoint: Serving, mode: Any) -> None:
    """It waits as for any call; a newer server runs such a tool at once."""
    async with Client(endpoint.url, mode=mode) as one:
        for server, said in (("pipe", "later: "), ("web-old", "later: "), ("web", "at once")):
            answer = await one.call_tool(f"{server}__only_later", {})
            assert answer.content[0].text.startswith(said)


async def test_a_newer_server_is_not_asked_for_a_task(endpoint: Serving) -> None:
    async with Client(endpoint.url, mode="legacy") as one:
        with pytest.raises(MCPError, match="does not run as a task"):
            await asked(one, "tools/call", name="web__mail", arguments={}, task={})
        for wrong in ({}, {"taskId": "made-up"}, {"taskId": 7}, {"taskId": "A" * 5000}):
            for method in ("tasks/get", "tasks/result", "tasks/cancel", "tasks/update"):
                with pytest.raises(MCPError):
                    await asked(one, method, **wrong)


async def test_a_rule_that_came_later_counts_at_delivery(endpoint: Serving) -> None:
    """The task was begun while the tool was allowed; its result is not delivered any more."""
    async with Client(endpoint.url, mode="legacy") as one:
        made = await asked(one, "tools/call", name="strict__mail", arguments={}, task={})
        policy: Path = endpoint.folder / "policy.yaml"
        before = policy.read_text()
        policy.write_text(before.replace("deny: [nothing]", "deny: [mail]"))
        try:
            for _ in range(100):
                tools = [tool.name for tool in (await one.list_tools()).tools]
                if "strict__mail" not in tools:
                    break
                await asyncio.sleep(0.1)
            with pytest.raises(MCPError, match="no-mail-tool"):
                await asked(one, "tasks/result", taskId=made["task"]["taskId"])
        finally:
            policy.write_text(before)


async def test_a_client_has_so_many_tasks_and_no_more(endpoint: Serving) -> None:
    async with Client(endpoint.url, mode="legacy") as one:
        for _ in range(100):
            await asked(one, "tools/call", name="pipe__mail", arguments={}, task={})
        with pytest.raises(MCPError, match="100 tasks at most"):
            await asked(one, "tools/call", name="pipe__mail", arguments={}, task={})


def test_a_name_is_good_for_its_owner_only() -> None:
    """No byte of it can be changed, and it outlives a restart."""
    task, key = TaskId("files", "7f/é", "read"), b"k" * 32
    name = task.sealed("ada\x1fs", key)
    assert opened(name, "ada\x1fs", key) == task
    assert opened(name, "bob\x1fs", key) is None and opened(name, "ada\x1fs", b"o" * 32) is None
    for at in range(len(name)):
        other = name[:at] + ("A" if name[at] != "A" else "B") + name[at + 1 :]
        assert opened(other, "ada\x1fs", key) in (None, task)  # unused bits of the last character
    for wrong in ("", "é", "=", "A" * 10_000):
        assert opened(wrong, "ada\x1fs", key) is None


def _calls(endpoint: Serving) -> list[dict[str, Any]]:
    import json

    lines = (endpoint.folder / "state" / "audit.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["type"] == "call" and "mcp" in line]
