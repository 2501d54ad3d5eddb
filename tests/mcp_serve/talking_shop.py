"""A server that says things unasked, and runs calls as tasks. ``talking_shop.py [stdio|http|sse]``.

On the Python SDK where it has the feature; tasks, which it leaves out, are written as messages.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import mcp.types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp.types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams

EXTENSION = "io.modelcontextprotocol/tasks"
# Put together, so that nobody takes this file for one that holds a key.
KEY_BEGIN, KEY_END = (f"-----{word} PRIVATE KEY-----" for word in ("BEGIN", "END"))
MADE = "2026-01-01T00:00:00Z"


def make() -> MCPServer:
    made = MCPServer("talking")
    low = made._lowlevel_server
    subscribed: dict[str, set[Any]] = {}
    heard: list[str] = []
    levels = {"now": "warning"}

    async def subscribe(context: Any, params: SubscribeRequestParams) -> EmptyResult:
        heard.append(f"subscribe {params.uri}")
        subscribed.setdefault(str(params.uri), set()).add(context.session._connection)
        return EmptyResult()

    async def unsubscribe(context: Any, params: Any) -> EmptyResult:
        heard.append(f"unsubscribe {params.uri}")
        subscribed.get(str(params.uri), set()).discard(context.session._connection)
        return EmptyResult()

    async def set_level(_context: Any, params: SetLevelRequestParams) -> EmptyResult:
        heard.append(f"level {params.level}")
        levels["now"] = params.level
        return EmptyResult()

    async def roots_changed(_context: Any, _params: Any) -> None:
        heard.append("roots changed")

    low.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    low.add_request_handler("resources/unsubscribe", SubscribeRequestParams, unsubscribe)
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    low.add_notification_handler(
        "notifications/roots/list_changed", types.NotificationParams, roots_changed
    )

    @made.tool()
    async def touch(uri: str, context: Context) -> str:
        """Say that a resource changed, in the way of either era."""
        await context.notify_resource_updated(uri)
        for connection in list(subscribed.get(uri.rsplit("#")[0], ())):
            await connection.notify("notifications/resources/updated", {"uri": uri})
        return "touched"

    @made.tool()
    def told() -> list[str]:
        """What clients said besides calls."""
        return heard

    @made.tool()
    async def shout(text: str, context: Context, times: int = 1) -> str:
        """Report progress and write to the log, both with the text."""
        for number in range(times):
            await context.report_progress(number + 1, times, f"progress {text}")
            await context.debug(f"debug {text}")
            await context.log("error", f"error {text}", logger_name="till")
        return "shouted"

    @made.tool()
    async def blurt(context: Context) -> str:
        """Tell a private key in progress and log."""
        key = f"{KEY_BEGIN}\n{'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC' * 8}\n{KEY_END}"
        await context.report_progress(1, 2, key)
        await context.log("error", key)
        await context.log("error", "harmless")
        return "blurted"

    @made.tool()
    async def dawdle(context: Context) -> str:
        """Take long, and write down when given up."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("given up")
            raise
        return "done"

    @made.tool()
    def mail() -> str:
        """Something rules look for."""
        return "write to ada.lovelace@example.org"

    @made.tool()
    def only_later() -> str:
        """Runs as a task; in the newer era at once, where the client has no tasks."""
        return "at once"

    @made.tool()
    def leave() -> str:
        """End the process at once."""
        os._exit(3)

    @made.resource("shop://open")
    def open_() -> str:
        """One."""
        return "open"

    @made.resource("shop://closed")
    def closed() -> str:
        """Another."""
        return "closed"

    add_tasks(low)
    return made


def add_tasks(low: Any) -> None:
    """Tasks of both eras: ``mail`` with ``task`` in the session era, ``mail`` in the newer one when
    the client has the extension. A task is over at the second look."""
    looks: dict[str, int] = {}
    cancelled: set[str] = set()
    text = "later: ada.lovelace@example.org"
    result = {
        "content": [{"type": "text", "text": text}],
        "structuredContent": {"result": text},
    }

    def shown(task: str, modern: bool) -> dict[str, Any]:
        looks[task] += 1
        status = "completed" if looks[task] > 2 else "working"
        status = "cancelled" if task in cancelled else status
        times = {"createdAt": MADE, "lastUpdatedAt": MADE}
        if not modern:
            return {"taskId": task, "status": status, **times, "ttl": 60000, "pollInterval": 10}
        done = {"result": {**result, "resultType": "complete"}} if status == "completed" else {}
        return {"taskId": task, "status": status, **times, "ttlMs": 60000, **done}

    async def middleware(context: Any, call_next: Any) -> Any:
        params = context.params or {}
        modern = context.protocol_version >= "2026"
        if context.method == "tools/list":
            listed = await call_next(context)
            if not modern:
                for tool in listed["tools"]:
                    if tool["name"] in ("mail", "only_later"):
                        kind = {"mail": "optional", "only_later": "required"}[tool["name"]]
                        tool["execution"] = {"taskSupport": kind}
            return listed
        if context.method != "tools/call" or params.get("name") not in ("mail", "only_later"):
            return await call_next(context)
        able = (params.get("_meta") or {}).get(types.CLIENT_CAPABILITIES_META_KEY) or {}
        wanted = EXTENSION in (able.get("extensions") or {}) if modern else "task" in params
        if not wanted:
            if params["name"] == "only_later" and not modern:
                raise MCPError(-32601, "it runs as a task only")
            return await call_next(context)
        task = f"own-task-{len(looks)}"
        looks[task] = 0
        first = shown(task, modern)
        return {**first, "resultType": "task"} if modern else {"task": first}

    async def get(context: Any, params: Any) -> dict[str, Any]:
        return shown(known(context), context.protocol_version >= "2026")

    async def payload(context: Any, params: Any) -> dict[str, Any]:
        related = {"io.modelcontextprotocol/related-task": {"taskId": known(context)}}
        return {**result, "_meta": related}

    async def cancel(context: Any, params: Any) -> dict[str, Any]:
        cancelled.add(known(context))
        modern = context.protocol_version >= "2026"
        return {} if modern else shown(known(context), False)

    def known(context: Any) -> str:
        task: str = context.params["taskId"]
        if task not in looks:
            raise MCPError(-32602, "Unknown task")
        return task

    low.middleware.append(middleware)
    low.extensions[EXTENSION] = {}
    asked = types.RequestParams
    for method, handler in (
        ("tasks/get", get),
        ("tasks/result", payload),
        ("tasks/cancel", cancel),
    ):
        low.add_request_handler(method, asked, handler)
    able = type(low).get_capabilities

    def with_tasks(*given: Any, **more: Any) -> Any:
        found = able(low, *given, **more)
        if (more.get("protocol_version") or "") >= "2026":
            return found
        tasks = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
        update = {"tasks": types.ServerTasksCapability.model_validate(tasks), "extensions": None}
        return found.model_copy(update=update)

    low.get_capabilities = with_tasks


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    if kind == "stdio":
        make().run()
    else:
        port = int(sys.argv[2])
        make().run({"http": "streamable-http", "sse": "sse"}[kind], host="127.0.0.1", port=port)
