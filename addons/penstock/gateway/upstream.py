"""One server behind ``penstock mcp serve``: connected, kept connected, asked.

A connection lives in a task of its own, which opens it, waits, and closes it. What runs on it is
known, so that a question of the server's finds the call it belongs to.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio
import httpx2
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import CONNECTION_CLOSED, ErrorData, Implementation, Request
from pydantic import TypeAdapter

from penstock.gateway.child import Child, Limits, clean_environment
from penstock.gateway.pipe import over_pipe
from penstock.gateway.servers_file import ServerEntry

# From the first failure to the longest pause: a server that was restarted is found in a second, one
# that is down costs one attempt a minute.
BACK_OFF_SECONDS = 1.0
BACK_OFF_SECONDS_MAX = 60.0
# A server that ran that long failed by an accident and not by its start.
STEADY_SECONDS = 60.0
CONNECT_SECONDS = 30.0
# Answers: as long as an agent waits for a tool (the SDKs' own bound for silent streams).
ANSWER_SECONDS = 300.0
# Connections of callers to one server, and how long one stays that nobody uses.
CALLERS_MAX = 256
IDLE_SECONDS = 600.0
# Lists are asked for again after that even where the server does not tell of changes.
LIST_SECONDS = 60.0
PAGES_MAX = 100
LISTED_MAX = 5000
ANYTHING: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
LIST_METHODS = {
    "tools": "tools/list",
    "prompts": "prompts/list",
    "resources": "resources/list",
    "resourceTemplates": "resources/templates/list",
}
CHANGES = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


class OpenRequest(Request[Any, str]):
    """Any method with any parameters, sent as they are."""

    method: str
    params: Any = None

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """As they are, and a copy: the SDK writes its own metadata into it."""
        params = dict(self.params or {})
        if isinstance(params.get("_meta"), dict):
            params["_meta"] = dict(params["_meta"])
        return {"method": self.method, "params": params}


class Running(Protocol):
    """A call that runs on a connection and may be asked something by the server."""

    async def asked(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The client's answer; raises MCPError."""
        ...


@dataclass(slots=True)
class Status:
    """What ``/status`` shows of a server; no addresses, no headers."""

    state: str = "starting"
    era: str | None = None
    failures: int = 0
    error: str | None = None
    tools: int | None = None
    since: float = field(default_factory=time.time)

    def set(self, state: str, error: str | None = None) -> None:
        self.state, self.error, self.since = state, error, time.time()


class Connection:
    """One session with a server. ``closed`` is set when it is gone."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.client: Client | None = None
        self.running: list[Running] = []
        self.lists: dict[str, tuple[float, list[Any]]] = {}
        self.used = time.monotonic()
        self.closed = asyncio.Event()
        self.error: str | None = None
        self._opened = asyncio.Event()
        self._stop = asyncio.Event()
        self._closing = False
        self._child_ended: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._live())

    async def ready(self) -> Connection:
        """This connection once it is open; raises MCPError when it cannot be opened."""
        await self._opened.wait()
        if self.client is None:
            raise unreachable(self.upstream.name)
        self.used = time.monotonic()
        return self

    async def close(self) -> None:
        self._closing = True
        self._stop.set()
        await self._task

    async def _live(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_SECONDS):
                    transport = await self._transport(stack)
                    client = await stack.enter_async_context(self._client(transport))
                self.client = client
                self._opened.set()
                await self._watch(client)
        except Exception as error:  # noqa: BLE001 - whatever it was, the server cannot be had
            self.error = _name_of(error)
        finally:
            self.client = None
            if self._child_ended is not None:  # it has; the exit code is told
                await self._child_ended
            self._opened.set()
            self.closed.set()

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        entry, tell = self.upstream.entry, self.upstream.tell
        if entry.command is not None:
            environment = clean_environment(os.environ, entry.env, self.upstream.way_out)
            limits = Limits(**entry.limits.model_dump())
            child = await Child.start(entry.command, environment, limits, entry.folder)
            self._end_with(child)
            return over_pipe(child, lambda text: tell(f"{self.upstream.name}: {text}"))
        assert entry.url is not None  # one of the two, see ServerEntry
        headers = dict(entry.headers)
        if entry.transport == "sse":
            return sse_client(entry.url, headers=headers)
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS)
        http = httpx2.AsyncClient(headers=headers, timeout=timeout)
        return streamable_http_client(entry.url, http_client=await stack.enter_async_context(http))

    def _end_with(self, child: Child) -> None:
        async def ended() -> None:
            code = await child.wait()
            if not self._closing:
                self.error = f"exit code {code}"
            self._stop.set()

        self._child_ended = asyncio.create_task(ended())

    def _client(self, transport: Any) -> Client:
        return Client(
            transport,
            mode="legacy" if self.upstream.entry.transport == "sse" else self.upstream.entry.mode,
            read_timeout_seconds=ANSWER_SECONDS,
            client_info=Implementation(name="penstock", version="1"),
            elicitation_callback=self._question("elicitation/create"),
            sampling_callback=self._question("sampling/createMessage"),
            list_roots_callback=self._question("roots/list"),
            message_handler=self._heard,
            cache=None,
        )

    async def _watch(self, client: Client) -> None:
        """Until the connection is to be closed; changes of the newer era come on a stream."""
        if client.protocol_version < "2026":
            await self._stop.wait()
            return
        listening = asyncio.create_task(self._listen(client))
        await self._stop.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, client: Client) -> None:
        able = client.server_capabilities
        wanted: dict[str, Any] = {
            f"{name}_list_changed": True
            for name in ("tools", "prompts", "resources")
            if getattr(getattr(able, name, None), "list_changed", None)
        }
        while wanted:
            with contextlib.suppress(Exception):  # the stream is lost: it is opened again
                async with client.listen(**wanted) as events:
                    async for event in events:
                        self._changed(type(event).__name__.removesuffix("ListChanged").lower())
            await asyncio.sleep(LIST_SECONDS)

    async def _heard(self, message: Any) -> None:
        kind = CHANGES.get(getattr(message, "method", ""))
        if kind is not None:
            self._changed(kind)

    def _changed(self, kind: str) -> None:
        self.lists.pop(kind, None)
        if kind == "resources":
            self.lists.pop("resourceTemplates", None)
        self.upstream.changed(kind)

    def _question(self, method: str) -> Any:
        async def ask(_context: Any, params: Any = None) -> Any:
            given = {} if params is None else params.model_dump(by_alias=True, exclude_none=True)
            given.pop("_meta", None)
            if len(self.running) != 1:
                why = "none runs" if not self.running else "several run"
                return ErrorData(code=-32603, message=f"it is not known which call asks: {why}")
            try:
                answer = await self.running[0].asked(method, given)
            except MCPError as error:
                return error.error
            return RESULTS[method].model_validate(answer)

        return ask

    async def send(
        self, method: str, params: dict[str, Any], progress: Any = None
    ) -> dict[str, Any]:
        """Ask the server; raises MCPError with its words, or with ours when it is gone."""
        client = self.client
        if client is None:
            raise unreachable(self.upstream.name)
        self.used = time.monotonic()
        request = OpenRequest(method=method, params=params)
        try:
            answer: dict[str, Any] = await client.session.send_request(
                request, ANYTHING, progress_callback=progress
            )
            return answer
        except MCPError as error:
            if error.error.code == CONNECTION_CLOSED or "Session terminated" in error.error.message:
                self._stop.set()
                raise unreachable(self.upstream.name) from None
            raise
        except (httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._stop.set()
            raise unreachable(self.upstream.name) from None
        except ValueError:  # not what the protocol's version has
            said = f"{self.upstream.name} gave an answer that cannot be read"
            raise MCPError(-32603, said) from None

    async def listed(self, member: str) -> list[Any]:
        """All elements of one of the server's lists, as last told."""
        kept = self.lists.get(member)
        if kept is not None and time.monotonic() - kept[0] < LIST_SECONDS:
            return kept[1]
        found: list[Any] = []
        if self.client is not None and offers(self.client, member):
            cursor: Any = None
            for _ in range(PAGES_MAX):
                params = {} if cursor is None else {"cursor": cursor}
                page = await self.send(LIST_METHODS[member], params)
                found += page.get(member) or []
                cursor = page.get("nextCursor")
                if cursor is None or len(found) >= LISTED_MAX:
                    break
            if member == "tools" and self.client.protocol_version >= "2026":
                await self.client.list_tools()  # so that the SDK knows which arguments are headers
        self.lists[member] = time.monotonic(), found[:LISTED_MAX]
        return self.lists[member][1]


class Upstream:
    """A server and its connections. ``changed(kind)`` is told of lists that changed."""

    def __init__(
        self,
        name: str,
        entry: ServerEntry,
        tell: Callable[[str], None],
        changed: Callable[[str], None],
        way_out: tuple[str, ...] = (),
    ) -> None:
        self.name, self.entry, self.tell, self.changed = name, entry, tell, changed
        self.way_out = way_out
        self.status = Status()
        self.main: Connection | None = None
        self.callers: dict[str, Connection] = {}
        self._supervising = asyncio.create_task(self._supervise())

    @property
    def url(self) -> str:
        """What rules call the server."""
        return self.entry.url or f"stdio://{self.name}"

    async def connection(self, caller: str) -> Connection:
        """The connection for this caller; raises MCPError when the server cannot be had."""
        if not self.entry.per_caller:
            if self.main is None or self.main.closed.is_set():
                raise unreachable(self.name)
            return await self.main.ready()
        found = self.callers.get(caller)
        if found is None or found.closed.is_set():
            await self._make_room()
            found = self.callers[caller] = Connection(self)
        return await found.ready()

    async def _make_room(self) -> None:
        """Close what nobody uses, and the longest unused where there are too many."""
        now = time.monotonic()
        by_use = sorted(self.callers.items(), key=lambda pair: pair[1].used)
        over = len(by_use) - CALLERS_MAX + 1
        for number, (key, one) in enumerate(by_use):
            idle = not one.running and now - one.used > IDLE_SECONDS
            crowded = number < over and not one.running
            if one.closed.is_set() or idle or crowded:
                del self.callers[key]
                await one.close()
        if len(self.callers) >= CALLERS_MAX:
            raise MCPError(-32603, f"too many callers use {self.name} at once")

    async def _supervise(self) -> None:
        """Keep one connection open: for everybody, or to know that the server is there."""
        failed = 0
        while True:
            began = time.monotonic()
            self.main = Connection(self)
            try:
                await self.main.ready()
                client = self.main.client
                if client is None:
                    raise unreachable(self.name)  # it has ended already
                self.status.era = client.protocol_version
                self.status.tools = len(await self.main.listed("tools"))
                self.status.set("connected")
                self.changed("tools")
                await self.main.closed.wait()
            except Exception as error:  # noqa: BLE001 - whatever a server does, it is tried again
                self.main.error = self.main.error or _name_of(error)
            await self.main.close()
            failed = 0 if time.monotonic() - began > STEADY_SECONDS else failed + 1
            self.status.failures += 1
            self.status.set("unreachable", self.main.error)
            self.tell(f"{self.name}: {self.main.error or 'the connection ended'}")
            pause = min(BACK_OFF_SECONDS * 2 ** min(failed - 1, 10), BACK_OFF_SECONDS_MAX)
            await asyncio.sleep(max(0.0, pause) * random.uniform(0.8, 1.2))  # noqa: S311

    async def close(self) -> None:
        self._supervising.cancel()
        await asyncio.gather(self._supervising, return_exceptions=True)
        every = [*self.callers.values(), *([self.main] if self.main is not None else [])]
        await asyncio.gather(*(one.close() for one in every), return_exceptions=True)
        self.status.set("stopped")


def offers(client: Client, member: str) -> bool:
    """True when the server says that it has such things."""
    able: Any = client.server_capabilities
    name = "resources" if member == "resourceTemplates" else member
    return getattr(able, name, None) is not None


class UnreachableError(MCPError):
    """The server cannot be had: nothing was answered."""


def unreachable(name: str) -> UnreachableError:
    return UnreachableError(-32603, f"the server {name} cannot be reached")


def _name_of(error: BaseException) -> str:
    """The class of what went wrong; texts can hold addresses and headers."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return type(error).__name__


def _results() -> Mapping[str, Any]:
    from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult

    return {
        "elicitation/create": ElicitResult,
        "sampling/createMessage": CreateMessageResult,
        "roots/list": ListRootsResult,
    }


RESULTS = _results()
