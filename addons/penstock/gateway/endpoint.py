"""The one MCP server clients see: its things are those of the servers behind it.

Both protocol eras come in on one address; the SDK's server speaks them. Each request is for one
server and judged as a call to it, under that server's own name and its own names of things; a
list is put together from all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast
from weakref import WeakSet

from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    CompleteRequestParams,
    CreateMessageRequest,
    CreateMessageResult,
    ElicitRequest,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
    PaginatedRequestParams,
)

from penstock.caller import identify_caller
from penstock.exchange import Caller
from penstock.gateway.asking import ASK, ROUNDS_MAX, Parking, Question, RunningCall
from penstock.gateway.authenticated import IDENTITY
from penstock.gateway.calls import Calls
from penstock.gateway.calls import Server as ServerName
from penstock.gateway.governed import Governed, Params
from penstock.gateway.names import named_list, tool_of, uri_of, with_named_resources
from penstock.gateway.upstream import LIST_METHODS, Connection, Upstream
from penstock.proxy.governance import caller_key
from penstock.proxy.service import Service
from penstock.wire.jsonrpc_shape import is_modern

EVENTS: Mapping[str, Callable[[], Any]] = {
    "tools": ToolsListChanged,
    "prompts": PromptsListChanged,
    "resources": ResourcesListChanged,
}
ASKED: Mapping[str, tuple[Any, Any]] = {
    "elicitation/create": (ElicitRequest, ElicitResult),
    "sampling/createMessage": (CreateMessageRequest, CreateMessageResult),
    "roots/list": (ListRootsRequest, ListRootsResult),
}
CAPABILITIES = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
# Lists change by policy as well, and differ between callers: the newer era's clients keep them.
LIST_HINTS = {"ttlMs": 5000, "cacheScope": "private"}
PROTOCOL_META = "io.modelcontextprotocol/"


class ToldServer(Server[Any]):
    """Says of itself that it tells of changed lists."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *rest: Any, **more: Any
    ) -> Any:
        told = notification_options or NotificationOptions(True, True, True)
        return super().create_initialization_options(told, *rest, **more)


class Endpoint:
    """``upstreams`` by name; they may change while it serves."""

    def __init__(self, service: Service, version: str) -> None:
        self.service = service
        self.upstreams: dict[str, Upstream] = {}
        self.parking = Parking()
        self.bus = InMemorySubscriptionBus()
        self.connections: WeakSet[Any] = WeakSet()  # of older clients
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
            on_subscriptions_listen=ListenHandler(self.bus),
        )

    @property
    def running(self) -> bool:
        """True while a server works on a call."""
        connections = [
            one
            for upstream in self.upstreams.values()
            for one in (upstream.main, *upstream.callers.values())
        ]
        return any(one is not None and one.running for one in connections)

    # ------------------------------------------------------------------ lists

    def _lister(self, member: str) -> Any:
        async def listing(context: Any, _params: PaginatedRequestParams | None) -> dict[str, Any]:
            self.connections.add(connection_of(context))
            upstreams = list(self.upstreams.values())
            found = await asyncio.gather(*(self._of(one, context, member) for one in upstreams))
            hints = LIST_HINTS if is_modern(context.protocol_version) else {}
            kind = {"resultType": "complete"} if hints else {}
            return {member: [one for listed in found for one in listed], **hints, **kind}

        return listing

    async def _of(self, upstream: Upstream, context: Any, member: str) -> list[dict[str, Any]]:
        """One server's part of a list; nothing where it cannot be had or may not be seen."""
        caller = self.caller(context)
        governed = self.governed(upstream, caller, context)

        async def send(_params: Params) -> dict[str, Any]:
            connection = await upstream.connection(session_key(caller))
            return {member: await connection.listed(member)}

        try:
            result = await governed.call(LIST_METHODS[member], {}, send)
        except MCPError:
            return []
        return named_list(upstream.name, member, result.get(member) or [])

    # ------------------------------------------------------------------ calls

    def _caller(self, method: str, key: str) -> Any:
        async def calling(context: Any, params: Any) -> dict[str, Any]:
            self.connections.add(connection_of(context))
            given = own_params(context)
            upstream, own = self._find(method, given[key])
            given[key] = own
            result = await self._call(upstream, context, method, given)
            return with_named_resources(upstream.name, result)

        return calling

    def _find(self, method: str, name: str) -> tuple[Upstream, str]:
        """The server a thing belongs to and its name there; raises as a server without it."""
        server, own = uri_of(name) if method == "resources/read" else tool_of(name)
        upstream = self.upstreams.get(server)
        if upstream is not None and own:
            return upstream, own
        kind = {"tools/call": "tool", "prompts/get": "prompt"}.get(method, "resource")
        raise MCPError(-32602, f"Unknown {kind}: {name[:128]}")

    async def _call(
        self, upstream: Upstream, context: Any, method: str, params: Params
    ) -> dict[str, Any]:
        caller = self.caller(context)
        governed = self.governed(upstream, caller, context)
        modern = is_modern(context.protocol_version)
        owner = (session_key(caller), upstream.name, method)
        parked: list[str] = []

        async def send(sent: Params) -> dict[str, Any]:
            state = sent.get("requestState")
            if isinstance(state, str) and state.startswith("penstock."):
                running = self.parking.take(state, owner)
                answers = sent.get("inputResponses") or {}
                if running.open is not None and not running.open.answer.done():
                    running.open.answer.set_result(answers.get(ASK) or {})
            else:
                connection = await upstream.connection(session_key(caller))
                ask = None if modern else self._asker(governed, context)
                running = self._start(connection, method, sent, ask, context)
            said = await self._step(running, owner, context)
            parked.append(str(said.get("requestState")))
            return said

        result: dict[str, Any] = {}
        try:
            result = await governed.call(method, params, send)
        finally:
            if result.get("resultType") != "input_required":  # the question was refused
                for token in parked:
                    await self.parking.drop(token)
        for _ in range(ROUNDS_MAX):
            if modern or result.get("resultType") != "input_required":
                break
            responses = await self._ask_each(result, governed, context)
            again = {**params, "inputResponses": responses}
            if result.get("requestState") is not None:
                again["requestState"] = result["requestState"]
            result = await governed.call(method, again, send)
        if not modern or result.get("resultType") == "input_required":
            return result
        kept = LIST_HINTS if method == "resources/read" else {}
        return {**result, "resultType": "complete", **kept}

    def _start(
        self, connection: Connection, method: str, params: Params, ask: Any, context: Any
    ) -> RunningCall:
        running = RunningCall(ask)

        async def run() -> dict[str, Any]:
            connection.running.append(running)
            try:
                return await connection.send(method, params, self._progress(context))
            finally:
                connection.running.remove(running)

        running.task = asyncio.create_task(run())
        return running

    async def _step(
        self, running: RunningCall, owner: tuple[str, ...], context: Any
    ) -> dict[str, Any]:
        """The call's result; for a client of the newer era a question is one, too."""
        try:
            step = await running.step()
        except BaseException:
            await running.stop()  # the client went away, or the call failed
            raise
        if not isinstance(step, Question):
            return step
        if not able(context, step.method):
            step.answer.set_exception(MCPError(-32603, "the client cannot be asked that"))
            return await self._step(running, owner, context)
        token = await self.parking.park(running, owner)
        question = {"method": step.method, "params": step.params}
        return {
            "resultType": "input_required",
            "inputRequests": {ASK: question},
            "requestState": token,
        }

    # ------------------------------------------------------------------ what servers ask

    def _asker(self, governed: Governed, context: Any) -> Any:
        """Asks a client of the session era, on the stream of its own call."""

        async def ask(method: str, params: dict[str, Any]) -> dict[str, Any]:
            async def send(allowed: Params) -> dict[str, Any]:
                if not able(context, method):
                    raise MCPError(-32603, "the client cannot be asked that")
                request_type, result_type = ASKED[method]
                request = request_type.model_validate({"method": method, "params": allowed})
                related = ServerMessageMetadata(related_request_id=context.request_id)
                answer = await context.session.send_request(request, result_type, metadata=related)
                said: dict[str, Any] = answer.model_dump(
                    by_alias=True, mode="json", exclude_none=True
                )
                return said

            return await governed.asked(method, params, send)

        return ask

    async def _ask_each(
        self, result: dict[str, Any], governed: Governed, context: Any
    ) -> dict[str, Any]:
        """An older client is asked what a server of the newer era wants to know."""
        ask = self._asker(governed, context)
        answers = {}
        for name, wanted in list((result.get("inputRequests") or {}).items())[:ROUNDS_MAX]:
            if not isinstance(wanted, dict) or wanted.get("method") not in ASKED:
                raise MCPError(-32603, "the server asks for something the client does not have")
            answers[name] = await ask(wanted["method"], wanted.get("params") or {})
        return answers

    def _progress(self, context: Any) -> Any:
        async def report(progress: float, total: float | None, _message: str | None) -> None:
            await context.session.report_progress(progress, total)

        return report

    async def complete(self, context: Any, params: CompleteRequestParams) -> dict[str, Any]:
        """Completion of a prompt's or template's argument."""
        given = own_params(context)
        reference = dict(given["ref"])
        key = "uri" if "uri" in reference else "name"
        method = "resources/read" if key == "uri" else "prompts/get"
        upstream, reference[key] = self._find(method, reference[key])
        caller = self.caller(context)

        async def send(sent: Params) -> dict[str, Any]:
            connection = await upstream.connection(session_key(caller))
            return await connection.send("completion/complete", sent)

        governed = self.governed(upstream, caller, context)
        return await governed.call("completion/complete", {**given, "ref": reference}, send)

    # ------------------------------------------------------------------ around

    def caller(self, context: Any) -> Caller:
        """Who asks: by what the request proved, as on the proxy."""
        request = context.request
        headers = {} if request is None else dict(request.headers)
        governance = self.service.governance
        return identify_caller(
            headers,
            fingerprint_key=governance.keys.fingerprint,
            workload=governance.workload,
            identity=None if request is None else request.scope.get(IDENTITY),
        )

    def governed(self, upstream: Upstream, caller: Caller, context: Any) -> Governed:
        calls = Calls(self.service.governance, ServerName.at(upstream.url))
        return Governed(self.service, calls, caller, context.protocol_version)

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
        for connection in list(self.connections):
            if not is_modern(connection.protocol_version) and connection.has_standalone_channel:
                send = getattr(connection, f"send_{name}_list_changed")
                await asyncio.gather(send(), return_exceptions=True)  # some are gone


def connection_of(context: Any) -> Any:
    """The client's connection. The SDK hands out sessions that live as long as one request."""
    return context.session._connection


def session_key(caller: Caller) -> str:
    """Whose connection: the caller's, and of its sessions (an older client's) this one's."""
    return f"{caller_key(caller)}\x1f{caller.session or ''}"


def own_params(context: Any) -> Params:
    """The request's parameters as they came, without what belongs to the client's own hop."""
    params = dict(context.params or {})
    meta = {
        name: value
        for name, value in (params.pop("_meta", None) or {}).items()
        if name != "progressToken" and not name.startswith(PROTOCOL_META)
    }
    return {**params, "_meta": meta} if meta else params


def able(context: Any, method: str) -> bool:
    """True when the client said that it can be asked this."""
    capabilities = context.session.client_capabilities
    return getattr(capabilities, CAPABILITIES[method], None) is not None
