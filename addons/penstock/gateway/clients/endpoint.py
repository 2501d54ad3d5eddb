"""The one MCP server clients see: its things are those of the servers behind it.

Both protocol eras come in on one address; the SDK's server speaks them. Each request is for one
server and judged as a call to it, under that server's own name and its own names of things; a
list is put together from all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.types import CompleteRequestParams, PaginatedRequestParams, RootsListChangedNotification

from penstock.caller import identify_caller
from penstock.exchange import Caller
from penstock.gateway.calls import Calls
from penstock.gateway.calls import Server as ServerName
from penstock.gateway.clients.asking import Parking
from penstock.gateway.clients.authenticated import IDENTITY
from penstock.gateway.clients.calling import Calling
from penstock.gateway.clients.listening import Listening
from penstock.gateway.clients.parties import Parties, Party, own_params
from penstock.gateway.clients.relay import Relay
from penstock.gateway.clients.subscriptions import Subscriptions
from penstock.gateway.clients.tasks import Tasks
from penstock.gateway.clients.told_server import ToldServer, register_others
from penstock.gateway.governed import Asks, Governed, Params
from penstock.gateway.names import named_list, tool_of, uri_of, with_named_resources
from penstock.gateway.servers.connection import LIST_METHODS
from penstock.gateway.servers.keys import Opening
from penstock.gateway.servers.upstream import Around, Upstream
from penstock.proxy.service import Service
from penstock.wire.jsonrpc.shape import MODERN_SINCE, is_modern

EVENTS: Mapping[str, Callable[[], Any]] = {
    "tools": ToolsListChanged,
    "prompts": PromptsListChanged,
    "resources": ResourcesListChanged,
}
# Lists change by policy as well, and differ between callers: the newer era's clients keep them.
LIST_HINTS = {"ttlMs": 5000, "cacheScope": "private"}
# How long a list waits for one server, which may be starting or hang; clients are told when it is
# there.
LIST_SECONDS = 10.0
# Elements on one page. A team's servers have some hundred tools together, and there are clients
# that read the first page only.
PAGE = 1000


class Endpoint:
    """``upstreams`` by name; they may change while it serves."""

    def __init__(
        self,
        service: Service,
        version: str,
        tell: Callable[[str], None] = lambda _text: None,
        way_out: tuple[str, ...] = (),
    ) -> None:
        self.service = service
        self.upstreams: dict[str, Upstream] = {}
        self.parking = Parking()
        self.bus = InMemorySubscriptionBus()
        self.parties = Parties(self.party_ended)
        self.subscriptions = Subscriptions(self.upstreams, self.governed)
        self.listening = Listening(self.bus, self.subscriptions)
        key = service.governance.keys.digest
        self.tasks = Tasks(key, self.upstreams.get, self.governed)
        self.relay = Relay(self.parties, self.subscriptions, self.governed)
        self.around = Around(
            service.governance, tell, self.changed, self.relay.hear, self.opening, way_out
        )
        self._telling: set[asyncio.Task[None]] = set()
        self.server = ToldServer(
            "penstock",
            version=version,
            on_list_tools=self._lister("tools"),
            on_list_prompts=self._lister("prompts"),
            on_list_resources=self._lister("resources"),
            on_list_resource_templates=self._lister("resourceTemplates"),
            on_call_tool=self._caller("tools/call", "name"),
            on_get_prompt=self._caller("prompts/get", "name"),
            on_read_resource=self._caller("resources/read", "uri"),
            on_completion=cast(Any, self.complete),
        )
        register_others(self.server, self)

    @property
    def running(self) -> bool:
        """True while a server works on a call."""
        every = (one for upstream in self.upstreams.values() for one in upstream.connections)
        return any(one.running for one in every)

    # ------------------------------------------------------------------ lists

    def _lister(self, member: str) -> Any:
        async def listing(context: Any, params: PaginatedRequestParams | None) -> Params:
            party = self.party(context)
            begin = page_begin(params.cursor if params is not None else None)
            upstreams = list(self.upstreams.values())
            found = await asyncio.gather(*(self._of(one, party, member) for one in upstreams))
            every = [one for listed in found for one in listed]
            end = begin + PAGE
            more = {"nextCursor": f"from-{end}"} if end < len(every) else {}
            hints = LIST_HINTS if party.modern else {}
            kind = {"resultType": "complete"} if hints else {}
            return {member: every[begin:end], **more, **hints, **kind}

        return listing

    async def _of(self, upstream: Upstream, party: Party, member: str) -> list[dict[str, Any]]:
        """One server's part of a list; nothing where it cannot be had or may not be seen."""
        governed = self.governed(upstream, party)

        async def send(_params: Params) -> Params:
            connection = await upstream.connection(party.key, governed.opening_key, party.older)
            return {member: await connection.listed(member)}

        try:
            async with asyncio.timeout(LIST_SECONDS):
                result = await governed.call(LIST_METHODS[member], {}, send)
        except (MCPError, TimeoutError):
            return []
        return named_list(upstream.name, member, result.get(member) or [])

    # ------------------------------------------------------------------ calls

    def _caller(self, method: str, key: str) -> Any:
        async def calling(context: Any, _params: Any) -> Params:
            return await self.call(context, method, key)

        return calling

    async def call(self, context: Any, method: str, key: str) -> Params:
        """A request for one thing (``key`` says which) of one server."""
        party = self.party(context)
        given = own_params(context)
        upstream, own = self.find(method, given[key])
        given[key] = own
        if party.modern:
            given.pop("task", None)  # the newer era has no such member
        elif "task" in given:
            self.tasks.check_room(party)
        result = await self._calling(upstream, party, context).call(method, given)
        if method == "tools/call":
            result = self.tasks.named(party, upstream, own, result)
        if party.modern and result.get("resultType") not in ("input_required", "task"):
            kept = LIST_HINTS if method == "resources/read" else {}
            result = {**result, "resultType": "complete", **kept}
        return with_named_resources(upstream.name, result)

    def find(self, method: str, name: str) -> tuple[Upstream, str]:
        """The server a thing belongs to and its name there; raises as a server without it."""
        server, own = uri_of(name) if method.startswith("resources/") else tool_of(name)
        upstream = self.upstreams.get(server)
        if upstream is not None and own:
            return upstream, own
        kind = {"tools/call": "tool", "prompts/get": "prompt"}.get(method, "resource")
        raise MCPError(-32602, f"Unknown {kind}: {name[:128]}")

    def _calling(self, upstream: Upstream, party: Party, context: Any) -> Calling:
        governed = self.governed(upstream, party)
        return Calling(upstream, governed, party, context, self.parking)

    async def complete(self, context: Any, _params: CompleteRequestParams) -> Params:
        """Completion of a prompt's or template's argument."""
        given = own_params(context)
        reference = dict(given["ref"])
        key = "uri" if "uri" in reference else "name"
        method = "resources/read" if key == "uri" else "prompts/get"
        upstream, reference[key] = self.find(method, reference[key])
        governed = self.governed(upstream, party := self.party(context))

        async def send(sent: Params) -> Params:
            connection = await upstream.connection(party.key, governed.opening_key, party.older)
            return await connection.send("completion/complete", sent)

        return await governed.call("completion/complete", {**given, "ref": reference}, send)

    async def task_result(self, context: Any, params: Params) -> Params:
        """``tasks/result``: runs like a call, since the server may ask something meanwhile."""
        party = self.party(context)

        async def wait(upstream: Upstream, method: str, sent: Params) -> Params:
            return await self._calling(upstream, party, context).call(method, sent)

        return await self.tasks.result(party, params, wait)

    # ------------------------------------------------------------------ what clients want to hear

    async def subscribe(self, context: Any, uri: str, wanted: bool) -> Params:
        """A session of the older era wants to be told of a resource, or not any more."""
        party = self.party(context)
        upstream, own = self.find("resources/subscribe", uri)
        if wanted:
            await self.subscriptions.add(party, upstream, own, party)
        else:
            self.subscriptions.remove(party, upstream.name, own, party)
        return {}

    async def roots_changed(self, context: Any) -> None:
        """Tell the servers of the session era that this client's roots are others now."""
        party = self.party(context)
        for upstream in list(self.upstreams.values()):
            connection = upstream.of(party.key)
            if connection is not None and not connection.modern:
                await connection.notify(RootsListChangedNotification())

    # ------------------------------------------------------------------ around

    def party(self, context: Any) -> Party:
        """Who asks: by what the request proved, as on the proxy."""
        request = context.request
        governance = self.service.governance
        identity = None if request is None else request.scope.get(IDENTITY)
        caller = identify_caller(
            {} if request is None else dict(request.headers),
            fingerprint_key=governance.keys.fingerprint,
            workload=governance.workload,
            identity=identity,
        )
        # What the client sends to us goes to no server, whomever its token is for.
        caller = replace(caller, audiences=None)
        return self.parties.of(context, Asks(caller, context.protocol_version, identity))

    def governed(self, upstream: Upstream, party: Party) -> Governed:
        return self._governed(upstream, party.asks)

    def _governed(self, upstream: Upstream, asks: Asks) -> Governed:
        calls = Calls(self.service.governance, ServerName.at(upstream.url))
        return Governed(self.service, calls, asks)

    def opening(self, upstream: Upstream) -> Opening:
        """How the key of a connection that is nobody's is found."""
        own = Caller(workload=self.service.governance.workload)
        return self._governed(upstream, Asks(own, MODERN_SINCE)).opening_key

    async def party_ended(self, party: Party) -> None:
        """A session of an older client is over: nothing of it stays at the servers."""
        self.subscriptions.forget_party(party)
        every = (one.release(party.key) for one in list(self.upstreams.values()))
        await asyncio.gather(*every, return_exceptions=True)

    def changed(self, kind: str) -> None:
        """A list changed somewhere: tell the clients of both eras."""
        if kind not in EVENTS:
            return
        task = asyncio.create_task(self._tell(kind))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, kind: str) -> None:
        await self.bus.publish(EVENTS[kind]())
        name = {"tools": "tool", "prompts": "prompt", "resources": "resource"}[kind]
        for party in list(self.parties.known.values()):
            for connection in list(party.connections):
                if not is_modern(connection.protocol_version) and connection.has_standalone_channel:
                    send = getattr(connection, f"send_{name}_list_changed")
                    await asyncio.gather(send(), return_exceptions=True)  # some are gone

    async def close(self) -> None:
        """Let everything go."""
        await self.parking.close()
        await self.subscriptions.close()
        every = (one.close() for one in self.upstreams.values())
        await asyncio.gather(*every, return_exceptions=True)


def page_begin(cursor: str | None) -> int:
    """Where a page begins; raises MCPError for a cursor that is none of ours."""
    if cursor is None:
        return 0
    number = cursor.removeprefix("from-")
    if number == cursor or not number.isdecimal() or len(number) > 9:
        raise MCPError(-32602, "Invalid cursor")
    return int(number)
