"""One call of a client's to one server, and what the server asks and tells meanwhile.

Questions go to an older client at once and become a newer one's ``input_required``; what a newer
server wants to know becomes questions to an older client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    LOG_LEVEL_META_KEY,
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitRequest,
    ElicitResult,
    ListRootsRequest,
    ListRootsResult,
)

from penstock.gateway.clients.asking import ASK, ROUNDS_MAX, Parking, Question, RunningCall
from penstock.gateway.clients.parties import Party, abilities, able, extended, level_of
from penstock.gateway.clients.relay import PROGRESS
from penstock.gateway.clients.tasks import call_tool
from penstock.gateway.governed import Governed, Params
from penstock.gateway.servers.connection import Connection
from penstock.gateway.servers.open_request import TASKS_EXTENSION
from penstock.gateway.servers.upstream import Upstream
from penstock.wire.loose import as_dict

ASKED: Mapping[str, tuple[Any, Any]] = {
    "elicitation/create": (ElicitRequest, ElicitResult),
    "sampling/createMessage": (CreateMessageRequest, CreateMessageResult),
    "roots/list": (ListRootsRequest, ListRootsResult),
}
LOG_LEVEL = "logging/setLevel"
CANNOT_BE_ASKED = "the client cannot be asked that"


@dataclass(slots=True, frozen=True)
class Calling:
    """A request of one client's to one server."""

    upstream: Upstream
    governed: Governed
    party: Party
    context: Any
    parking: Parking

    async def call(self, method: str, params: Params) -> Params:
        """Its result; raises MCPError."""
        owner = (self.party.key, self.upstream.name, method)
        parked: list[str] = []

        async def send(sent: Params) -> Params:
            state = sent.get("requestState")
            if isinstance(state, str) and state.startswith("penstock."):
                running = self.parking.take(state, owner)
                answers = sent.get("inputResponses") or {}
                if running.open is not None and not running.open.answer.done():
                    running.open.answer.set_result(answers.get(ASK) or {})
            else:
                opening = self.governed.opening_key
                connection = await self.upstream.connection(
                    self.party.key, opening, self.party.older
                )
                running = self._start(connection, method, sent)
            said = await self._step(running, owner)
            parked.append(str(said.get("requestState")))
            return said

        result: Params = {}
        try:
            result = await self.governed.call(method, params, send)
        finally:
            if result.get("resultType") != "input_required":  # the question was refused
                for token in parked:
                    await self.parking.drop(token)
        for _ in range(ROUNDS_MAX):
            if self.party.modern or result.get("resultType") != "input_required":
                break
            again = {**params, "inputResponses": await self._ask_each(result)}
            if result.get("requestState") is not None:
                again["requestState"] = result["requestState"]
            result = await self.governed.call(method, again, send)
        return result

    def _start(self, connection: Connection, method: str, params: Params) -> RunningCall:
        level = level_of(self.context, self.party)
        ask = None if self.party.modern else self.ask
        running = RunningCall(ask, self.party.key, level, self._notify)

        async def run() -> Params:
            connection.running.append(running)
            try:
                await self._hear_more(connection, level)
                return await self._send(connection, method, with_level(connection, params, level))
            finally:
                connection.running.remove(running)

        running.task = asyncio.create_task(run())
        return running

    async def _send(self, connection: Connection, method: str, params: Params) -> Params:
        progress = self._progress(connection)
        if method == "tools/call":
            knows = self.party.modern and extended(self.context, TASKS_EXTENSION)
            able = abilities(self.context)
            return await call_tool(connection, params, progress, knows_tasks=knows, able=able)
        if method.startswith("tasks/") or not connection.modern:
            return await connection.send(method, params, progress, task=method.startswith("tasks/"))
        return await connection.send(method, params, progress, able=abilities(self.context))

    async def _step(self, running: RunningCall, owner: tuple[str, ...]) -> Params:
        """The call's result; for a client of the newer era a question is one, too."""
        try:
            step = await running.step()
        except BaseException:
            await running.stop()  # the client went away, or the call failed
            raise
        if not isinstance(step, Question):
            return step
        if not able(self.context, step.method):
            step.answer.set_exception(MCPError(-32603, CANNOT_BE_ASKED))
            return await self._step(running, owner)
        token = await self.parking.park(running, owner)
        question = {"method": step.method, "params": step.params}
        return {
            "resultType": "input_required",
            "inputRequests": {ASK: question},
            "requestState": token,
        }

    # ------------------------------------------------------------------ what servers ask

    async def ask(self, method: str, params: Params) -> Params:
        """Ask a client of the session era, on the stream of its own call."""

        async def send(allowed: Params) -> Params:
            if not able(self.context, method):
                raise MCPError(-32603, CANNOT_BE_ASKED)
            request_type, result_type = ASKED[method]
            if method == "sampling/createMessage" and allowed.get("tools"):
                result_type = CreateMessageResultWithTools
            request = request_type.model_validate({"method": method, "params": allowed})
            related = ServerMessageMetadata(related_request_id=self.context.request_id)
            answer = await self.context.session.send_request(request, result_type, metadata=related)
            return as_dict(answer.model_dump(by_alias=True, mode="json", exclude_none=True))

        return await self.governed.asked(method, params, send)

    async def _ask_each(self, result: Params) -> Params:
        """An older client is asked what a server of the newer era wants to know."""
        answers = {}
        for name, wanted in list((result.get("inputRequests") or {}).items())[:ROUNDS_MAX]:
            if not isinstance(wanted, dict) or wanted.get("method") not in ASKED:
                raise MCPError(-32603, "the server asks for something the client does not have")
            answers[name] = await self.ask(wanted["method"], wanted.get("params") or {})
        return answers

    # ------------------------------------------------------------------ what servers tell

    async def _notify(self, notification: Any) -> None:
        """On the stream of this call."""
        await self.context.session.send_notification(
            notification, related_request_id=self.context.request_id
        )

    async def _hear_more(self, connection: Connection, level: str | None) -> None:
        """Have an older server say what this client wants to hear, where the rules let it."""
        if level is None or not connection.says_too_little(level):
            return
        connection.level = level  # asked for once, whatever comes of it

        async def send(sent: Params) -> Params:
            return await connection.send(LOG_LEVEL, sent)

        with contextlib.suppress(MCPError):
            await self.governed.call(LOG_LEVEL, {"level": level}, send)

    def _progress(self, connection: Connection) -> Any:
        """Passes progress on; a text that may not be shown is left out, the numbers stay."""
        if "progressToken" not in as_dict(as_dict(self.context.params).get("_meta")):
            return None
        report = self.context.session.report_progress

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            async def work() -> None:
                text = None
                if message is not None:
                    said = connection.keyed.mask({"progress": progress, "message": message})
                    told = await self.governed.told(PROGRESS, said)
                    text = None if told is None else told["message"]
                await report(progress, total, text)

            connection.inbox.put(work)

        return heard


def with_level(connection: Connection, params: Params, level: str | None) -> Params:
    """A newer server is told by each request what log messages are wanted."""
    if level is None or not connection.modern:
        return params
    return {**params, "_meta": {**as_dict(params.get("_meta")), LOG_LEVEL_META_KEY: level}}
