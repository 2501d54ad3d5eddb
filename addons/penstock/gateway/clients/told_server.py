"""The SDK's server with what it leaves out: tasks, and that it tells of changes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    NotificationParams,
    ServerCapabilities,
    ServerTasksCapability,
    SetLevelRequestParams,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    UnsubscribeRequestParams,
)

from penstock.gateway.clients.calling import LOG_LEVEL
from penstock.gateway.clients.parties import own_params
from penstock.gateway.clients.tasks import TaskParams, task_params
from penstock.gateway.servers.open_request import TASKS_EXTENSION
from penstock.wire.jsonrpc.shape import is_modern
from penstock.wire.loose import as_dict

if TYPE_CHECKING:
    from penstock.gateway.clients.endpoint import Endpoint

TASKS: dict[str, Any] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}


class ToldServer(Server[Any]):
    """Says of itself that it tells of changed lists, and has tasks where a server behind it has."""

    endpoint: Endpoint

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *rest: Any, **more: Any
    ) -> Any:
        told = notification_options or NotificationOptions(True, True, True)
        return super().create_initialization_options(told, *rest, **more)

    def get_capabilities(self, *given: Any, **more: Any) -> ServerCapabilities:
        able = super().get_capabilities(*given, **more)
        modern = is_modern(more.get("protocol_version"))
        if not self._tasks_behind():
            return able
        if modern:
            extensions = {**(able.extensions or {}), TASKS_EXTENSION: {}}
            return able.model_copy(update={"extensions": extensions})
        tasks = ServerTasksCapability.model_validate(TASKS)
        return able.model_copy(update={"tasks": tasks})

    def _tasks_behind(self) -> bool:
        for upstream in self.endpoint.upstreams.values():
            for connection in upstream.connections:
                able: Any = connection.client and connection.client.server_capabilities
                if able and (able.tasks or TASKS_EXTENSION in (able.extensions or {})):
                    return True
        return False


def register_others(server: ToldServer, endpoint: Endpoint) -> None:
    """Give the server what has no constructor argument, or none that is not deprecated."""
    server.endpoint = endpoint
    tasks = endpoint.tasks

    async def subscribe(context: Any, params: SubscribeRequestParams) -> dict[str, Any]:
        return await endpoint.subscribe(context, str(params.uri), True)

    async def unsubscribe(context: Any, params: UnsubscribeRequestParams) -> dict[str, Any]:
        return await endpoint.subscribe(context, str(params.uri), False)

    async def listen(context: Any, params: SubscriptionsListenRequestParams) -> Any:
        party = endpoint.party(context)
        return await endpoint.listening.serve(context, party, params.notifications)

    async def set_level(context: Any, params: SetLevelRequestParams) -> dict[str, Any]:
        return await hear_from(endpoint, context, params.level)

    async def roots_changed(context: Any, _params: NotificationParams) -> None:
        await endpoint.roots_changed(context)

    async def task_get(context: Any, _params: TaskParams) -> dict[str, Any]:
        return await tasks.get(endpoint.party(context), task_params(context))

    async def task_result(context: Any, _params: TaskParams) -> dict[str, Any]:
        only_in(context, modern=False)
        return await endpoint.task_result(context, task_params(context))

    async def task_list(context: Any, _params: TaskParams) -> dict[str, Any]:
        only_in(context, modern=False)
        return await tasks.list(endpoint.party(context))

    def teller(method: str) -> Any:
        async def tell(context: Any, _params: TaskParams) -> dict[str, Any]:
            if method == "tasks/update":
                only_in(context, modern=True)
            return await tasks.told(endpoint.party(context), method, task_params(context))

        return tell

    server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
    server.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listen)
    server.add_request_handler(LOG_LEVEL, SetLevelRequestParams, set_level)
    server.add_request_handler("tasks/get", TaskParams, task_get)
    server.add_request_handler("tasks/result", TaskParams, task_result)
    server.add_request_handler("tasks/list", TaskParams, task_list)
    for method in ("tasks/cancel", "tasks/update"):
        server.add_request_handler(method, TaskParams, teller(method))
    roots = "notifications/roots/list_changed"
    server.add_notification_handler(roots, NotificationParams, roots_changed)
    server.middleware.append(_task_calls(endpoint))


def only_in(context: Any, *, modern: bool) -> None:
    """Raises MCPError where the client's era has not the method."""
    if is_modern(context.protocol_version) is not modern:
        raise MCPError(-32601, "Method not found", context.method)


def _task_calls(endpoint: Endpoint) -> Any:
    """Calls of the session era that ask for a task: the SDK has no such result."""

    async def middleware(context: Any, call_next: Any) -> Any:
        asks = context.method == "tools/call" and isinstance(
            as_dict(context.params).get("task"), dict
        )
        if not asks or is_modern(context.protocol_version):
            return await call_next(context)
        given = own_params(context)
        if not isinstance(given.get("name"), str):
            raise MCPError(-32602, "Invalid request parameters")
        return await endpoint.call(context, "tools/call", "name")

    return middleware


async def hear_from(endpoint: Endpoint, context: Any, level: str) -> dict[str, Any]:
    """From here on a session of the older era wants log messages from this level on."""
    party = endpoint.party(context)
    party.level = level
    for upstream in list(endpoint.upstreams.values()):
        connection = upstream.of(party.key)
        if connection is None or not connection.says_too_little(level):
            continue
        connection.level = level

        async def send(sent: Any, connection: Any = connection) -> dict[str, Any]:
            return as_dict(await connection.send(LOG_LEVEL, sent))

        with contextlib.suppress(MCPError):
            await endpoint.governed(upstream, party).call(LOG_LEVEL, {"level": level}, send)
    return {}
