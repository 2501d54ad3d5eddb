"""What servers say unasked, and what clients want to hear: between both eras, under the rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import LoggingMessageNotification, ResourceUpdatedNotification

from mcp import Client
from tests.mcp_serve.serving import SHOP, Serving, piped, serving, shop, wait_for, write

TALKING = SHOP.with_name("talking_shop.py")
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
SERVERS = pytest.mark.parametrize("server", ["pipe", "web", "web-old", "sse"])
POLICY = """
version: 1
name: told
mode: enforce
rules:
  - id: not-closed
    tools: {resources: ["shop://open*"]}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: mask}
  - id: no-keys
    deny: {find: [secret.private_key], in: [both]}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("told")
    with shop("http", TALKING) as http, shop("sse", TALKING) as sse:
        servers = {
            "pipe": piped(TALKING, mode="legacy"),
            "web": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "modern"},
            "web-old": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "legacy"},
            "sse": {"url": f"http://127.0.0.1:{sse}/sse", "transport": "sse"},
        }
        with serving(folder, POLICY, servers, list(servers)) as made:
            yield made


async def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for: {what}"
        await asyncio.sleep(0.05)


class Ears:
    """What a client of either era heard."""

    def __init__(self) -> None:
        self.logs: list[Any] = []
        self.updated: list[str] = []
        self.progress: list[str | None] = []

    async def message(self, message: Any) -> None:
        if isinstance(message, LoggingMessageNotification):
            self.logs.append(message.params)
        if isinstance(message, ResourceUpdatedNotification):
            self.updated.append(str(message.params.uri))

    async def report(self, _progress: float, _total: float | None, text: str | None) -> None:
        self.progress.append(text)

    def client(self, endpoint: Serving, mode: Any, **more: Any) -> Client:
        return Client(endpoint.url, mode=mode, message_handler=self.message, **more)


@ERAS
@SERVERS
async def test_progress_and_log_messages_arrive_with_their_texts(
    endpoint: Serving, mode: Any, server: str
) -> None:
    """Between any two eras; named after the server; texts screened, and none below the level."""
    ears = Ears()
    async with ears.client(endpoint, mode, log_level="info") as one:
        if mode == "legacy":
            await one.session.set_logging_level("info")
        said = "to ada@example.org"
        await one.call_tool(f"{server}__shout", {"text": said}, progress_callback=ears.report)
        await until(lambda: ears.logs and ears.progress, "what the server said")
        assert [text.startswith("progress to ") for text in ears.progress] == [True]
        assert [log.logger for log in ears.logs] == [f"{server}.till"]
        assert [log.level for log in ears.logs] == ["error"]
        assert "@example.org" not in str(ears.logs) + str(ears.progress)


@ERAS
async def test_a_refused_text_is_left_out_and_the_call_goes_on(
    endpoint: Serving, mode: Any
) -> None:
    ears = Ears()
    async with ears.client(endpoint, mode, log_level="debug") as one:
        if mode == "legacy":
            await one.session.set_logging_level("debug")
        answer = await one.call_tool("pipe__blurt", {}, progress_callback=ears.report)
        assert answer.content[0].text == "blurted"
        await until(lambda: ears.logs and ears.progress, "what may be heard")
        assert [log.data for log in ears.logs] == ["harmless"]
        assert ears.progress == [None]


async def test_a_newer_client_hears_only_what_it_asked_for(endpoint: Serving) -> None:
    """Without a level in the request there are no log messages (2026-07-28, logging)."""
    ears = Ears()
    async with ears.client(endpoint, "auto") as one:
        await one.call_tool("web__shout", {"text": "x"}, progress_callback=ears.report)
        await one.call_tool("pipe__shout", {"text": "x"}, progress_callback=ears.report)
        await until(lambda: len(ears.progress) == 2, "progress")
        assert ears.logs == []


async def test_one_clients_log_is_not_anothers(endpoint: Serving) -> None:
    """On a process all share, too: what is written during one client's call is that client's."""
    mine, others = Ears(), Ears()
    async with (
        mine.client(endpoint, "legacy") as one,
        others.client(endpoint, "legacy") as other,
    ):
        await other.session.set_logging_level("debug")
        await other.call_tool("pipe__told", {})
        await one.session.set_logging_level("debug")
        await one.call_tool("pipe__shout", {"text": "mine"})
        await until(lambda: len(mine.logs) >= 1, "my own log")
        assert others.logs == []


@ERAS
async def test_a_flood_is_cut_and_the_answer_arrives(endpoint: Serving, mode: Any) -> None:
    ears = Ears()
    async with ears.client(endpoint, mode, log_level="debug") as one:
        if mode == "legacy":
            await one.session.set_logging_level("debug")
        answer = await one.call_tool(
            "web__shout", {"text": "x", "times": 3000}, progress_callback=ears.report
        )
        assert answer.content[0].text == "shouted"
        assert 1 <= len(ears.logs) <= 1500
        assert not (await one.call_tool("web__mail", {})).is_error


@ERAS
@SERVERS
async def test_a_client_is_told_of_the_resources_it_asked_about(
    endpoint: Serving, mode: Any, server: str
) -> None:
    """Under their names here, from servers of either era; what may not be read is not told of."""
    ears = Ears()
    named, hidden = f"{server}+shop://open", f"{server}+shop://closed"
    async with ears.client(endpoint, mode) as one, Client(endpoint.url) as by:
        if mode == "legacy":
            await one.session.subscribe_resource(named)
            with pytest.raises(MCPError, match="not-closed"):
                await one.session.subscribe_resource(hidden)
            for uri in ("shop://open", "shop://closed"):
                await by.call_tool(f"{server}__touch", {"uri": uri})
            await until(lambda: ears.updated, "the change")
            assert set(ears.updated) == {named}
            await one.session.unsubscribe_resource(named)
            await until_told(by, server, "unsubscribe shop://open")
            return
        async with one.listen(resource_subscriptions=[named, hidden, "nobody+x://y"]) as events:
            assert events.honored.resource_subscriptions == [named]
            for uri in ("shop://closed", "shop://open"):
                await touched_until(by, server, uri, ears)
            event = await asyncio.wait_for(anext(aiter(events)), 20)
            assert event.uri == named
        assert set(ears.updated) == {named}


async def touched_until(by: Client, server: str, uri: str, ears: Ears) -> None:
    """A newer server's stream is opened beside the acknowledgement: touch until it is heard."""
    for _ in range(40):
        await by.call_tool(f"{server}__touch", {"uri": uri})
        await asyncio.sleep(0.1)
        if ears.updated or uri.endswith("closed"):
            return


async def until_told(by: Client, server: str, what: str) -> None:
    """A server of the session era heard this from the endpoint; a newer one has no such message."""
    if server == "web":
        return
    for _ in range(100):
        if what in (await by.call_tool(f"{server}__told", {})).structured_content["result"]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the server did not hear: {what}")


async def test_a_subscription_ends_with_its_session(endpoint: Serving) -> None:
    async with Client(endpoint.url) as by:
        before = (await by.call_tool("pipe__told", {})).structured_content["result"]
        async with Client(endpoint.url, mode="legacy") as one:
            await one.session.subscribe_resource("pipe+shop://open")
        for _ in range(100):
            now = (await by.call_tool("pipe__told", {})).structured_content["result"]
            if now.count("unsubscribe shop://open") > before.count("unsubscribe shop://open"):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the server still tells of it")


async def test_a_server_that_was_started_again_is_asked_again(tmp_path: Path) -> None:
    """After a crash, and after another entry in the file; the client is told that it may have
    missed something. A policy that forbids it later ends the telling."""
    ears = Ears()
    servers = {"pipe": piped(TALKING, mode="legacy")}
    with serving(tmp_path, POLICY, servers, ["pipe"]) as made:
        async with ears.client(made, "legacy") as one:
            await one.session.subscribe_resource("pipe+shop://open")
            with contextlib.suppress(MCPError):
                await one.call_tool("pipe__leave", {})
            await until(lambda: ears.updated, "being told after the restart")
            ears.updated.clear()
            write(tmp_path, {"pipe": piped(TALKING, mode="legacy", env=["MARK=2"])})
            await until(lambda: ears.updated, "being told after the new entry")
            ears.updated.clear()
            await one.call_tool("pipe__touch", {"uri": "shop://open"})
            await until(lambda: ears.updated == ["pipe+shop://open"], "a change after both")
            ears.updated.clear()
            policy = made.folder / "policy.yaml"
            policy.write_text(policy.read_text().replace('"shop://open*"', '"shop://other"'))
            wait_for(lambda: "reloaded" in made.log.read_text().split("servers reloaded")[-1], "it")
            await one.call_tool("pipe__touch", {"uri": "shop://open"})
            for _ in range(100):
                heard = (await one.call_tool("pipe__told", {})).structured_content["result"]
                if "unsubscribe shop://open" in heard:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("the server still tells of it")
            assert ears.updated == []


@ERAS
@pytest.mark.parametrize("server", ["pipe", "web", "sse"])
async def test_a_call_that_is_given_up_is_given_up_at_the_server(
    endpoint: Serving, mode: Any, server: str
) -> None:
    async with Client(endpoint.url, mode=mode) as one, Client(endpoint.url) as by:
        before = (await by.call_tool(f"{server}__told", {})).structured_content["result"]
        call = asyncio.create_task(one.call_tool(f"{server}__dawdle", {}))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        for _ in range(100):
            now = (await by.call_tool(f"{server}__told", {})).structured_content["result"]
            if now.count("given up") > before.count("given up"):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the server still works on it")


async def test_changed_roots_are_told_to_servers_of_the_session_era(endpoint: Serving) -> None:
    async def roots(_context: Any) -> Any:
        raise AssertionError("nobody asked")

    async with Client(endpoint.url, mode="legacy", list_roots_callback=roots) as one:
        for server in ("pipe", "sse"):
            await one.call_tool(f"{server}__told", {})
        await one.session.send_roots_list_changed()
        for server in ("pipe", "sse"):
            await until_told(one, server, "roots changed")


@ERAS
async def test_a_cursor_is_ours_or_refused(endpoint: Serving, mode: Any) -> None:
    async with Client(endpoint.url, mode=mode) as one:
        for cursor in ("from-x", "page2", ""):
            with pytest.raises(MCPError, match="Invalid cursor"):
                await one.list_tools(cursor=cursor)
        assert (await one.list_tools(cursor="from-1000")).tools == []
