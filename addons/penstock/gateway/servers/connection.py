"""One session with a server behind the endpoint.

It lives in a task of its own, which opens it, waits, and closes it. What runs on it is known, so
that what the server says besides answers finds whom it concerns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import anyio
import httpx2
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitResult,
    ErrorData,
    Implementation,
    ListRootsResult,
    LoggingLevel,
    SamplingCapability,
    SamplingToolsCapability,
)
from pydantic import TypeAdapter

from penstock.gateway.clients.asking import RunningCall
from penstock.gateway.servers.inbox import Inbox
from penstock.gateway.servers.keys import Keyed, KeyUnavailableError, Opening, nobody_calls
from penstock.gateway.servers.open_request import OpenRequest, send_open
from penstock.gateway.servers.transports import ANSWER_SECONDS, CONNECT_SECONDS, transport_to
from penstock.gateway.servers.unreachable import name_of, unreachable
from penstock.gateway.stdio.child import Child, Limits, clean_environment
from penstock.gateway.stdio.pipe import over_pipe
from penstock.wire.loose import as_dict

if TYPE_CHECKING:
    from penstock.gateway.servers.upstream import Upstream

# Lists are asked for again after that even where the server does not tell of changes.
LIST_SECONDS = 60.0
PAGES_MAX = 100
LISTED_MAX = 5000
# Before a lost stream of changes is opened again: longer each time, up to the second.
LISTEN_SECONDS, LISTEN_SECONDS_MAX = 0.5, 60.0
# What ends a connection: the session is gone, or the transport.
GONE = "Session terminated"
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
UPDATED = "notifications/resources/updated"
# Consumed by the SDK, or by whoever waits for the answer.
NOT_HEARD = ("notifications/progress", "notifications/cancelled")
LEVELS: tuple[str, ...] = get_args(LoggingLevel)  # from debug on
RESULTS: Mapping[str, Any] = {
    "elicitation/create": ElicitResult,
    "sampling/createMessage": CreateMessageResult,
    "roots/list": ListRootsResult,
}


class Connection:
    """``owner`` is the session it is for; None: everybody's. ``closed`` is set when it is gone.

    ``older``: its client is one of the session era. Such a server is spoken to in that era where it
    speaks both, so that what its tools may ask is the same as without an endpoint in between.
    """

    def __init__(
        self, upstream: Upstream, owner: str | None, opening: Opening, *, older: bool = False
    ) -> None:
        self.upstream, self.owner, self.older = upstream, owner, older
        self.keyed = Keyed(upstream.around.governance, opening)
        self.client: Client | None = None
        self.running: list[RunningCall] = []
        self.lists: dict[str, tuple[float, list[Any]]] = {}
        self.watched: frozenset[str] = frozenset()  # resources the server tells of
        self.used = time.monotonic()
        self.opened_at = 0.0
        self.closed = asyncio.Event()
        self.error: str | None = None
        self.refusal: MCPError | None = None  # the policy has no key for it
        self.inbox = Inbox()
        self.level: str | None = None  # from which on the server was asked for log messages
        self._watching = asyncio.Lock()
        self._opened = asyncio.Event()
        self._stop = asyncio.Event()
        self._listens_to = asyncio.Event()  # set when what is listened to has changed
        self._closing = False
        self._child_ended: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._live(), context=nobody_calls())

    @property
    def modern(self) -> bool:
        return self.client is not None and self.client.protocol_version >= "2026"

    @property
    def busy(self) -> bool:
        """True while somebody would miss it."""
        return bool(self.running or self.watched)

    async def ready(self) -> Connection:
        """This connection once it is open; raises MCPError when it cannot be opened."""
        await self._opened.wait()
        if self.client is None:
            raise self.refusal or unreachable(self.upstream.name)
        self.used = time.monotonic()
        return self

    async def close(self) -> None:
        self._closing = True
        self._stop.set()
        await self._task

    def end(self) -> None:
        """Close it soon; whoever needs it opens another one."""
        self._closing = True
        self._stop.set()

    async def _live(self) -> None:
        reading = asyncio.create_task(self.inbox.serve())
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(CONNECT_SECONDS):
                    client = await self._connect(stack)
                self.client, self.opened_at = client, time.monotonic()
                self._opened.set()
                await self._watch(client)
        except KeyUnavailableError as error:
            self.refusal, self.error = error, name_of(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the server cannot be had
            self.error = name_of(error)
        finally:
            self.client = None
            reading.cancel()
            if self._child_ended is not None:  # it has; the exit code is told
                await self._child_ended
            self._opened.set()
            self.closed.set()
            await asyncio.gather(reading, return_exceptions=True)

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Client:
        mode: Any = self.upstream.entry.spoken
        if mode == "auto" and self.older:
            with contextlib.suppress(Exception):  # it may speak the newer era only
                async with contextlib.AsyncExitStack() as first:
                    client = self._client(await self._transport(first), "legacy")
                    await first.enter_async_context(client)
                    stack.push_async_exit(first.pop_all())
                    return client
        client = self._client(await self._transport(stack), mode)
        return await stack.enter_async_context(client)

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        entry, around, name = self.upstream.entry, self.upstream.around, self.upstream.name
        if entry.command is not None:
            environment = clean_environment(os.environ, entry.env, around.way_out)
            environment |= await self.upstream.process_keys()
            limits = Limits(**entry.limits.model_dump())
            child = await Child.start(entry.command, environment, limits, entry.folder)
            self._end_with(child)
            return over_pipe(child, lambda text: around.tell(f"{name}: {text}"))
        assert entry.url is not None  # one of the two, see ServerEntry
        await self.keyed.opening()  # to say it plainly where there is none
        return await transport_to(entry, self.keyed, self.end, stack)

    def _end_with(self, child: Child) -> None:
        async def ended() -> None:
            code = await child.wait()
            if not self._closing:
                self.error = f"exit code {code}"
            self._stop.set()

        self._child_ended = asyncio.create_task(ended())

    def _client(self, transport: Any, mode: Any) -> Client:
        return Client(
            transport,
            mode=mode,
            read_timeout_seconds=ANSWER_SECONDS,
            client_info=Implementation(name="penstock", version="1"),
            elicitation_callback=self._question("elicitation/create"),
            sampling_callback=self._question("sampling/createMessage"),
            sampling_capabilities=SamplingCapability(tools=SamplingToolsCapability()),
            list_roots_callback=self._question("roots/list"),
            message_handler=self._heard,
            cache=None,
        )

    # ------------------------------------------------------------------ what the server says

    async def _watch(self, client: Client) -> None:
        """Until the connection is to be closed; changes of the newer era come on a stream."""
        if not self.modern:
            await self._stop.wait()
            return
        listening = asyncio.create_task(self._listen(client))
        await self._stop.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, client: Client) -> None:
        able = client.server_capabilities
        lists: dict[str, Any] = {
            f"{name}_list_changed": True
            for name in ("tools", "prompts", "resources")
            if getattr(getattr(able, name, None), "list_changed", None)
        }
        pause = LISTEN_SECONDS
        while True:
            self._listens_to.clear()
            uris = sorted(self.watched)
            if not lists and not uris:
                await self._listens_to.wait()
                continue
            with contextlib.suppress(Exception):  # the stream is lost: it is opened again
                async with client.listen(**lists, resource_subscriptions=uris) as events:
                    began = time.monotonic()
                    await self._until_other(events)
                    pause = LISTEN_SECONDS if time.monotonic() - began > 1 else pause
            if not self._listens_to.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._listens_to.wait(), pause)
                pause = min(2 * pause, LISTEN_SECONDS_MAX)

    async def _until_other(self, events: Any) -> None:
        """Read the stream until it ends, or another one is wanted."""

        async def read() -> None:
            async for _ in events:  # each is heard as a message as well
                pass

        reading = asyncio.create_task(read())
        other = asyncio.create_task(self._listens_to.wait())
        try:
            await asyncio.wait({reading, other}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            other.cancel()
            await asyncio.gather(reading, other, return_exceptions=True)

    async def _heard(self, message: Any) -> None:
        method = getattr(message, "method", "")
        kind = CHANGES.get(method)
        if kind is not None:
            self._changed(kind)
        elif method.startswith("notifications/") and method not in NOT_HEARD:
            said = message.model_dump(by_alias=True, mode="json", exclude_none=True)
            params = self.keyed.mask(said.get("params") or {})
            hear = self.upstream.around.hear
            self.inbox.put(lambda: hear(self, method, params))

    def _changed(self, kind: str) -> None:
        self.lists.pop(kind, None)
        if kind == "resources":
            self.lists.pop("resourceTemplates", None)
        self.upstream.around.changed(kind)

    def _question(self, method: str) -> Any:
        async def ask(_context: Any, params: Any = None) -> Any:
            given = (
                {}
                if params is None
                else params.model_dump(by_alias=True, mode="json", exclude_none=True)
            )
            given.pop("_meta", None)
            if len(self.running) != 1:
                why = "none runs" if not self.running else "several run"
                return ErrorData(code=-32603, message=f"it is not known which call asks: {why}")
            try:
                answer = await self.running[0].asked(method, self.keyed.mask(given))
            except MCPError as error:
                return error.error
            with_tools = method == "sampling/createMessage" and given.get("tools")
            shape = CreateMessageResultWithTools if with_tools else RESULTS[method]
            return shape.model_validate(answer)

        return ask

    # ------------------------------------------------------------------ what it is told

    async def send(
        self,
        method: str,
        params: dict[str, Any],
        progress: Any = None,
        *,
        task: bool = False,
        able: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask the server; raises MCPError with its words, or with ours when it is gone.

        ``task``: the answer may be a task, which the SDK does not know. ``able``: as ``send_open``.
        """
        client = self.client
        if client is None:
            raise unreachable(self.upstream.name)
        self.used = time.monotonic()
        request = OpenRequest(method=method, params=params)
        try:
            if task or able is not None:
                answer = await send_open(client, request, progress, ANSWER_SECONDS, able)
            else:
                answer = await client.session.send_request(
                    request, ANYTHING, progress_callback=progress
                )
            await self.inbox.drained()  # what came before the answer leaves before it
            return as_dict(self.keyed.mask(answer))
        except MCPError as error:
            if error.error.code == CONNECTION_CLOSED or GONE in error.error.message:
                self._stop.set()
                raise unreachable(self.upstream.name) from None
            said = self.keyed.mask(error.error.model_dump(exclude_none=True))
            raise MCPError.from_error_data(ErrorData.model_validate(said)) from None
        except (httpx2.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._stop.set()
            raise unreachable(self.upstream.name) from None
        except ValueError:  # not what the protocol's version has
            said = f"{self.upstream.name} gave an answer that cannot be read"
            raise MCPError(-32603, said) from None

    async def notify(self, notification: Any) -> None:
        """Tell the server; one that is gone does not hear it."""
        if self.client is not None:
            with contextlib.suppress(Exception):
                await self.client.session.send_notification(notification)

    def says_too_little(self, level: str) -> bool:
        """True for a server of the session era that was not asked for log messages of this level
        yet. It is never asked for fewer: who wants fewer is not told of the others."""
        client = self.client
        if client is None or self.modern or client.server_capabilities.logging is None:
            return False
        return self.level is None or LEVELS.index(level) < LEVELS.index(self.level)

    async def watch(self, uris: frozenset[str]) -> None:
        """Have the server tell of changes of these resources, and of no others.

        Raises:
            MCPError: it does not; what it agreed to before stands.
        """
        if self.modern:
            if uris != self.watched:
                self.watched = uris
                self._listens_to.set()
            return
        async with self._watching:
            for uri in sorted(uris - self.watched):
                await self.send("resources/subscribe", {"uri": uri})
                self.watched |= {uri}
            for uri in sorted(self.watched - uris):
                self.watched -= {uri}
                with contextlib.suppress(MCPError):  # told of too much: it is not passed on
                    await self.send("resources/unsubscribe", {"uri": uri})

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
            if member == "tools" and self.modern:
                await self.client.list_tools()  # so that the SDK knows which arguments are headers
        if len(found) > LISTED_MAX:
            what = f"the list of {member} is cut at {LISTED_MAX}"
            self.upstream.around.tell(f"{self.upstream.name}: {what}")
        self.lists[member] = time.monotonic(), found[:LISTED_MAX]
        return self.lists[member][1]


def offers(client: Client, member: str) -> bool:
    """True when the server says that it has such things."""
    able: Any = client.server_capabilities
    name = "resources" if member == "resourceTemplates" else member
    return getattr(able, name, None) is not None
