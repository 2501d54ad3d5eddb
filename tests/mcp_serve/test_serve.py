"""`penstock mcp serve` with real servers behind it and the real client of both eras before it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult

from mcp import Client
from penstock.caller.passwords import hashed
from tests.mcp_serve.serving import Serving, piped, serving, shop, wait_for, write

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
POLICY = """
version: 1
name: shops
mode: enforce
rules:
  - id: hides
    tools: {server: "stdio://pipe", deny: [drop_table], refuse: hidden}
  - id: advises
    tools: {server: "http://127.0.0.1/mcp", deny: [drop_table]}
  - id: no-questions
    tools: {server: "stdio://quiet", features: []}
  - id: no-mail
    redact: {find: [pii.email], in: [both], with: placeholder}
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Pipe, HTTP in both eras, and the old transport, all at once; and one that is not there."""
    folder = tmp_path_factory.mktemp("serve")
    with shop("http") as http, shop("sse") as sse:
        servers = {
            "pipe": piped(mode="legacy", env=[f"SHOP_FILE={folder / 'kept'}"]),
            "quiet": piped(mode="legacy", limits={"open_files": 77}),
            "web": {"url": f"http://127.0.0.1:{http}/mcp"},
            "web-new": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "modern"},
            "web-old": {"url": f"http://127.0.0.1:{http}/mcp", "mode": "legacy"},
            "sse": {"url": f"http://127.0.0.1:{sse}/sse", "transport": "sse"},
            "gone": {"url": "http://127.0.0.1:9/mcp"},
        }
        there = [name for name in servers if name != "gone"]
        with serving(folder, POLICY, servers, there) as made:
            yield made


async def name_given(_context: Any, _parameters: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Ada"})


def client(endpoint: Serving, mode: Any, **more: Any) -> Client:
    return Client(endpoint.url, mode=mode, elicitation_callback=name_given, **more)


def text(result: Any) -> str:
    said: str = result.content[0].text
    return said


@ERAS
async def test_all_servers_at_one_address(endpoint: Serving, mode: Any) -> None:
    """Tools, resources, templates and prompts of each; what rules hide of one is of the others."""
    async with client(endpoint, mode) as one:
        assert (one.protocol_version >= "2026") is (mode == "auto")
        listed = await one.list_tools()
        names = [tool.name for tool in listed.tools]
        assert len(names) == len(set(names))
        assert {f"{server}__add" for server in ("pipe", "web", "web-old", "sse")} <= set(names)
        assert "sse__drop_table" in names and "web__drop_table" not in names
        assert "pipe__drop_table" not in names and not any("gone" in name for name in names)
        if mode == "auto":
            assert listed.cache_scope == "private" and listed.ttl_ms <= 60_000
        for server in ("pipe", "web", "web-old", "sse"):
            added = await one.call_tool(f"{server}__add", {"a": 2, "b": 3})
            assert added.structured_content == {"result": 5}
            assert text(await one.call_tool(f"{server}__slow", {})) == "slow done"
            prompt = await one.get_prompt(f"{server}__order", {"what": "tea"})
            assert "tea" in str(prompt.messages)
            read = await one.read_resource(f"{server}+shop://item/cup")
            assert read.contents[0].uri == f"{server}+shop://item/cup"
            assert read.contents[0].text == "one cup"
        uris = [str(resource.uri) for resource in (await one.list_resources()).resources]
        assert "web+shop://prices" in uris and "sse+shop://prices" in uris
        templates = (await one.list_resource_templates()).resource_templates
        assert "web+shop://item/{name}" in [template.uri_template for template in templates]


@ERAS
async def test_rules_hold_under_each_servers_own_name(endpoint: Serving, mode: Any) -> None:
    """Forms of refusal, redaction and its way back, unknown names: as on the proxy."""
    async with client(endpoint, mode) as one:
        with pytest.raises(MCPError, match="Unknown tool: drop_table"):
            await one.call_tool("pipe__drop_table", {"name": "t"})
        advice = await one.call_tool("web__drop_table", {"name": "t"})
        assert advice.is_error and "'advises'" in text(advice)
        echoed = await one.call_tool("pipe__echo", {"text": "to ada@example.org"})
        assert text(echoed).endswith(":to ada@example.org")
        await one.call_tool("pipe__keep", {"text": "to ada@example.org"})
        kept = (endpoint.folder / "kept").read_text()
        assert kept.startswith("to ") and "@example.org" not in kept
        assert "@example.org" not in text(await one.call_tool("web__leak", {}))
        for unknown in ("add", "nobody__add", "pipe__", "__add"):
            with pytest.raises(MCPError, match="Unknown tool"):
                await one.call_tool(unknown, {})
        with pytest.raises(MCPError, match="gone cannot be reached"):
            await one.call_tool("gone__add", {"a": 1, "b": 1})
    denied = wait_for(lambda: endpoint.records("drop_table"), "the record of a refusal")
    assert {record["verdict"] for record in denied} == {"deny"}
    assert {record["destination"]["host"] for record in denied} <= {"pipe", "127.0.0.1"}


@ERAS
@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("pipe__ask", "accept Ada"),
        ("web-old__ask", "accept Ada"),
        ("sse__ask", "accept Ada"),
        ("web-new__ask_later", "half-way Ada"),
    ],
)
async def test_questions_are_translated_between_the_eras(
    endpoint: Serving, mode: Any, tool: str, said: str
) -> None:
    """An old server's request becomes a new client's round, and the other way around."""
    async with client(endpoint, mode) as one:
        assert text(await one.call_tool(tool, {})) == said


@ERAS
async def test_a_question_that_may_not_be_asked(endpoint: Serving, mode: Any) -> None:
    """The rule says so, or the client cannot be asked: a named outcome, and the next call works."""
    async with client(endpoint, mode) as one:
        try:
            refused = await one.call_tool("quiet__ask", {})
            assert refused.is_error, refused
        except MCPError as error:
            assert "no-questions" in str(error)
        assert not (await one.call_tool("quiet__add", {"a": 1, "b": 1})).is_error
    async with Client(endpoint.url, mode=mode) as mute:
        try:
            assert (await mute.call_tool("pipe__ask", {})).is_error
        except MCPError as error:
            assert "cannot be asked" in str(error)
        assert not (await mute.call_tool("pipe__add", {"a": 1, "b": 1})).is_error


async def test_a_round_belongs_to_who_began_it_and_is_good_once(endpoint: Serving) -> None:
    """A stolen, used or invented state is refused."""
    async with client(endpoint, "auto") as one:
        asked = await one.session.call_tool("pipe__ask", {}, allow_input_required=True)
        state = asked.request_state
        answers: Any = {"ask": {"action": "accept", "content": {"name": "Eve"}}}

        async def bring(tool: str, with_state: str) -> Any:
            return await one.session.call_tool(
                tool, {}, input_responses=answers, request_state=with_state
            )

        for tool, tried in [("web-old__ask", state), ("pipe__ask", "penstock.invented")]:
            with pytest.raises(MCPError, match="requestState"):
                await bring(tool, tried)
        assert text(await bring("pipe__ask", state)) == "accept Eve"
        with pytest.raises(MCPError, match="requestState"):
            await bring("pipe__ask", state)


async def test_callers_have_sessions_of_their_own_at_servers_by_url(endpoint: Serving) -> None:
    """What one keeps in a session another does not see; a process started here is shared."""
    agents: list[dict[str, str]] = [{"user-agent": "claude-code/1"}, {"user-agent": "codex/1"}]

    async def counts(tool: str, headers: dict[str, str]) -> int:
        async with (
            httpx2.AsyncClient(headers={**headers, "x-api-key": headers["user-agent"] * 3}) as http,
            Client(streamable_http_client(endpoint.url, http_client=http), mode="legacy") as one,
        ):
            found: int = (await one.call_tool(tool, {})).structured_content["result"]
            return found

    assert [await counts("web-old__count", one) for one in agents] == [1, 1]
    assert await counts("web-old__count", agents[0]) == 1  # another session of the same caller
    first = await counts("quiet__count", agents[0])
    assert await counts("quiet__count", agents[1]) == first + 1


@ERAS
async def test_a_changed_list_is_told(endpoint: Serving, mode: Any) -> None:
    """A server's notification reaches clients of both eras, and the list is a new one."""
    told = asyncio.Event()

    async def heard(message: Any) -> None:
        if "tools/list_changed" in str(getattr(message, "method", "")):
            told.set()

    tool = "pipe" if mode == "legacy" else "sse"
    async with client(endpoint, mode, message_handler=heard) as one, client(endpoint, "auto") as by:
        before = {each.name for each in (await one.list_tools()).tools}
        assert f"{tool}__grown" not in before
        if mode == "auto":
            async with one.listen(tools_list_changed=True) as events:
                await by.call_tool(f"{tool}__grow", {})
                async with asyncio.timeout(20):
                    await anext(aiter(events))
        else:
            told.clear()
            await by.call_tool(f"{tool}__grow", {})  # by somebody else: no call of its own runs
            async with asyncio.timeout(20):
                await told.wait()
        async with asyncio.timeout(20):
            while f"{tool}__grown" not in {t.name for t in (await one.list_tools()).tools}:
                await asyncio.sleep(0.1)


async def test_a_server_started_here_has_a_clean_environment_and_limits(
    endpoint: Serving,
) -> None:
    async with client(endpoint, "auto") as one:
        assert (await one.call_tool("quiet__open_files", {})).structured_content == {"result": 77}
        names = (await one.call_tool("quiet__variables", {})).structured_content["result"]
        assert "PATH" in names and "SHOP_TOKEN" not in names


async def test_many_calls_at_once_keep_their_answers(endpoint: Serving) -> None:
    """Over one pipe and several sessions."""
    async with client(endpoint, "auto") as one, client(endpoint, "legacy") as other:
        asked = [
            (each, f"{server}__add", number)
            for number in range(8)
            for server in ("pipe", "web", "sse")
            for each in (one, other)
        ]
        answers = await asyncio.gather(
            *(each.call_tool(tool, {"a": number, "b": 1000}) for each, tool, number in asked)
        )
        found = [answer.structured_content["result"] for answer in answers]
        assert found == [number + 1000 for _, _, number in asked]


def test_health_names_each_server(endpoint: Serving) -> None:
    """Who is there, in which era, and who is not; no address and no header."""
    status = endpoint.status()
    assert status["ready"] is True
    servers = status["servers"]
    assert servers["web"]["protocol"] == "2026-07-28" and servers["web"]["tools"] > 5
    assert servers["web-old"]["protocol"].startswith("2025")
    wait_for(lambda: endpoint.states()["gone"] == "unreachable", "the failure to be noted")
    gone = endpoint.status()["servers"]["gone"]
    assert gone["failures"] >= 1 and gone["error"] and ":9" not in gone["error"]


ALONE = """
version: 1
name: alone
mode: enforce
callers: {passwords: FOLDER/callers}
rules:
  - id: only-ada
    tools: {server: "stdio://first", deny: [add]}
    when: caller.user != "ada"
"""


async def test_callers_reload_restart_and_the_end(tmp_path: Path) -> None:
    """One endpoint through its life: who may come in, a crash, a new file, a bad one, SIGTERM."""
    (tmp_path / "callers").write_text(f"ada:{hashed('pw')}\nbob:{hashed('pw')}\n")
    policy = ALONE.replace("FOLDER", str(tmp_path))
    with serving(tmp_path, policy, {"first": piped()}, ["first"]) as made:
        bare = httpx2.post(made.url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert bare.status_code == 401 and "Basic" in bare.headers["www-authenticate"]
        assert "resource_metadata" not in bare.headers["www-authenticate"]
        wrong = httpx2.post(made.url, json={}, auth=("ada", "no"))
        assert wrong.status_code == 401
        assert (await called(made, "ada", "first__add")).structured_content == {"result": 3}
        assert "only-ada" in text(await called(made, "bob", "first__add"))
        users = wait_for(lambda: made.records("add"), "records")
        assert [(record["caller"]["user"], record["verdict"]) for record in users] == [
            ("ada", "allow"),
            ("bob", "deny"),
        ]
        await crash_and_come_back(made)
        change_the_file(made)
        assert (await called(made, "bob", "second__add")).structured_content == {"result": 3}
        children = children_of(made.process.pid)
        assert children
        with contextlib.suppress(Exception):  # whatever its client makes of the end
            async with connected(made, "ada", "legacy"):  # has a stream open, which never ends
                made.process.terminate()
                code = await asyncio.to_thread(made.process.wait, 20)
        assert code == 0
        wait_for(lambda: not any(map(alive, children)), "the servers to end")


async def crash_and_come_back(made: Serving) -> None:
    """The call that ends the server fails by name; the next one finds it again."""
    assert "first cannot be reached" in str(await called(made, "ada", "first__crash"))
    wait_for(lambda: made.status()["servers"]["first"]["failures"] == 1, "the crash to be noted")
    wait_for(lambda: made.states()["first"] == "connected", "the server to come back")
    assert (await called(made, "ada", "first__add")).structured_content == {"result": 3}
    assert "first: exit code 3" in made.log.read_text()


def change_the_file(made: Serving) -> None:
    """A bad file changes nothing and says what is wrong; a good one is taken up."""
    (made.folder / "servers.yaml").write_text("version: 1\nservers:\n  first: {comand: [x]}\n")
    wait_for(
        lambda: "servers.yaml:3: servers.first.comand" in made.log.read_text(), "the complaint"
    )
    assert made.states() == {"first": "connected"}
    write(made.folder, {"second": piped()})
    wait_for(lambda: made.states() == {"second": "connected"}, "the new server")


@asynccontextmanager
async def connected(made: Serving, user: str, mode: Any = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(auth=(user, "pw"), timeout=30) as http,
        Client(streamable_http_client(made.url, http_client=http), mode=mode) as one,
    ):
        yield one


async def called(made: Serving, user: str, tool: str) -> Any:
    arguments = {"a": 1, "b": 2} if tool.endswith("add") else {}
    async with connected(made, user) as one:
        try:
            return await one.call_tool(tool, arguments)
        except MCPError as error:  # inside: out of a group it would be another one
            return error


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
