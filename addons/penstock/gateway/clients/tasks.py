"""Tasks: calls whose result comes later, between clients and servers of both eras.

In the session era the client asks for a task and the result has a request of its own
(``tasks/result``); in the newer one the server decides, and the result is in ``tasks/get``. A tool
that only runs as a task is waited for where the client has no tasks. Each answer is judged when it
is delivered, as the tool's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.types import RequestParams
from pydantic import ConfigDict

from penstock.gateway.clients.parties import Party, own_params
from penstock.gateway.clients.task_ids import OWN_CHARACTERS_MAX, TaskId, opened
from penstock.gateway.governed import Governed, Params
from penstock.gateway.names import with_named_resources
from penstock.gateway.servers.connection import Connection
from penstock.gateway.servers.upstream import Upstream
from penstock.wire.loose import as_dict, as_text

# Tasks of one client that may run at once. What a server answers lives there; here it is a name.
TASKS_MAX = 100
RELATED = "io.modelcontextprotocol/related-task"
OVER = ("completed", "failed", "cancelled")
# The two eras' names of the same members.
NEWER_NAMES = {"ttl": "ttlMs", "pollInterval": "pollIntervalMs"}


class TaskParams(RequestParams):
    """Parameters of ``tasks/...``: read as they came."""

    model_config = ConfigDict(extra="allow")


class Tasks:
    """``key`` seals names; ``find`` gives an upstream by name, and ``governed`` judges for it."""

    def __init__(
        self,
        key: bytes,
        find: Callable[[str], Upstream | None],
        governed: Callable[[Upstream, Party], Governed],
    ) -> None:
        self.key, self._find, self._governed = key, find, governed

    # ------------------------------------------------------------------ beginning

    def check_room(self, party: Party) -> None:
        """Raises MCPError where a client has as many tasks as it may have."""
        if len(party.tasks) >= TASKS_MAX:
            for name in [name for name, over in party.tasks.items() if over]:
                del party.tasks[name]
        if len(party.tasks) >= TASKS_MAX:
            raise MCPError(-32603, f"a client runs {TASKS_MAX} tasks at most")

    def named(self, party: Party, upstream: Upstream, tool: str, result: Params) -> Params:
        """A result that is a task, as the client may have it; another one as it is."""
        task = result if result.get("resultType") == "task" else as_dict(result.get("task"))
        own = as_text(task.get("taskId"))
        if own is None or "content" in result:
            return result
        if len(own) > OWN_CHARACTERS_MAX:
            raise MCPError(-32603, f"{upstream.name} gave a task a name that is too long")
        name = TaskId(upstream.name, own, tool).sealed(party.key, self.key)
        party.tasks[name] = task.get("status") in OVER
        if not party.modern:
            return {"task": {**older(task), "taskId": name}}
        return {**newer(task), "taskId": name, "resultType": "task"}

    # ------------------------------------------------------------------ later

    async def get(self, party: Party, params: Params) -> Params:
        """``tasks/get``: how it stands; for a newer client its result as well."""
        task, upstream = self._opened(party, params)
        governed = self._governed(upstream, party)
        older_server = False

        async def send(sent: Params) -> Params:
            nonlocal older_server
            connection = await upstream.connection(party.key, governed.opening_key, party.older)
            older_server = not connection.modern
            found = await connection.send("tasks/get", sent, task=True)
            if party.modern and older_server:
                return await _with_result(connection, sent, found)
            return found

        said = await governed.call("tasks/get", {**params, "taskId": task.own}, send)
        name = str(params["taskId"])
        party.tasks[name] = said.get("status") in OVER
        shown = {**(newer(said) if party.modern else older(said)), "taskId": name}
        if isinstance(shown.get("result"), dict):
            shown["result"] = self._result(upstream, shown["result"], name)
        return shown

    async def result(self, party: Party, params: Params, wait: Any) -> Params:
        """``tasks/result`` of the session era: waits for the end. ``wait`` runs it as a call."""
        task, upstream = self._opened(party, params)
        said = await wait(upstream, "tasks/result", {**params, "taskId": task.own})
        name = str(params["taskId"])
        party.tasks[name] = True
        return self._result(upstream, said, name)

    async def told(self, party: Party, method: str, params: Params) -> Params:
        """``tasks/cancel``, ``tasks/update``."""
        task, upstream = self._opened(party, params)
        governed = self._governed(upstream, party)

        async def send(sent: Params) -> Params:
            connection = await upstream.connection(party.key, governed.opening_key, party.older)
            return await connection.send(method, sent, task=True)

        said = await governed.call(method, {**params, "taskId": task.own}, send)
        if "taskId" not in said:
            return said
        name = str(params["taskId"])
        party.tasks[name] = said.get("status") in OVER
        return {} if party.modern else {**said, "taskId": name}

    async def list(self, party: Party) -> Params:
        """``tasks/list`` of the session era: this client's own."""
        found = []
        for name in list(party.tasks):
            try:
                found.append(await self.get(party, {"taskId": name}))
            except MCPError:
                party.tasks.pop(name, None)  # the server has forgotten it, or is gone
        return {"tasks": found}

    def _opened(self, party: Party, params: Params) -> tuple[TaskId, Upstream]:
        name = params.get("taskId")
        task = opened(name, party.key, self.key) if isinstance(name, str) else None
        upstream = self._find(task.server) if task is not None else None
        if task is None or upstream is None:
            raise MCPError(-32602, "Unknown task")
        governance = self._governed(upstream, party).service.governance
        server = self._governed(upstream, party).calls.url
        if governance.memory.tool_of_task(server, task.own) is None:  # after a restart
            governance.memory.start_task(server, task.own, task.tool)
        return task, upstream

    @staticmethod
    def _result(upstream: Upstream, result: Params, name: str) -> Params:
        result = with_named_resources(upstream.name, result)
        meta = as_dict(result.get("_meta"))
        if RELATED in meta:
            result = {**result, "_meta": {**meta, RELATED: {"taskId": name}}}
        return result


async def call_tool(
    connection: Connection, params: Params, progress: Any, *, knows_tasks: bool, able: Params
) -> Params:
    """``tools/call`` in the way its tool runs: at once, or as a task.

    ``knows_tasks``: a client of the newer era that takes a task in place of a result; ``able``: all
    that it can.
    """
    asked = "task" in params  # by a client of the session era
    server: Any = connection.client.server_capabilities if connection.client is not None else None
    if connection.modern:
        if asked:
            raise MCPError(-32601, "the tool does not run as a task")
        return await connection.send("tools/call", params, progress, able=able)
    if getattr(server, "tasks", None) is None:
        if asked:
            raise MCPError(-32601, "the tool does not run as a task")
        return await connection.send("tools/call", params, progress)
    if asked:
        return await connection.send("tools/call", params, progress, task=True)
    if await execution_of(connection, str(params.get("name"))) != "required":
        return await connection.send("tools/call", params, progress)
    made = await connection.send("tools/call", {**params, "task": {}}, progress, task=True)
    own = as_text(as_dict(made.get("task")).get("taskId"))
    if own is None or knows_tasks:
        return made
    return await connection.send("tasks/result", {"taskId": own}, task=True)


async def execution_of(connection: Connection, tool: str) -> str | None:
    """What the server says of a tool: ``required`` is one that runs as a task only."""
    for one in await connection.listed("tools"):
        if as_dict(one).get("name") == tool:
            return as_text(as_dict(as_dict(one).get("execution")).get("taskSupport"))
    return None


async def _with_result(connection: Connection, sent: Params, found: Params) -> Params:
    """A task of an older server with its result in it, as the newer era has it."""
    status = found.get("status")
    if status == "input_required":  # what it asks comes while its result is waited for
        return {**found, "status": "working"}
    if status not in ("completed", "failed"):
        return found
    try:
        result = await connection.send("tasks/result", {"taskId": sent["taskId"]}, task=True)
    except MCPError as error:
        return {**found, "status": "failed", "error": error.error.model_dump(exclude_none=True)}
    # A tool's own failure is a result there, and only an error of the protocol is a failure.
    return {**found, "status": "completed", "result": result}


def newer(task: Params) -> Params:
    """A task in the newer era's words."""
    said = {NEWER_NAMES.get(name, name): value for name, value in task.items() if name != "_meta"}
    now = datetime.now(UTC).isoformat()
    return {"ttlMs": None, "createdAt": now, "lastUpdatedAt": now, **said}


def older(task: Params) -> Params:
    """A task in the session era's words."""
    names = {new: old for old, new in NEWER_NAMES.items()}
    kept = {name: value for name, value in task.items() if name not in ("resultType", "_meta")}
    return {names.get(name, name): value for name, value in kept.items()}


def task_params(context: Any) -> Params:
    """The parameters of a request about a task; raises MCPError where none is named."""
    params = own_params(context)
    if not isinstance(params.get("taskId"), str):
        raise MCPError(-32602, "taskId is missing")
    return params
