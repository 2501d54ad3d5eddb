"""The MCP SDK's transport over a server process of ours, with a bound on its lines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from penstock.gateway.stdio.child import Child
from penstock.gateway.stdio.lines import Lines, OverlongLineError

# Messages that wait for the client's side; it reads at once unless it is busy.
WAITING_MAX = 16


@asynccontextmanager
async def over_pipe(child: Child, tell: Callable[[str], None]) -> AsyncIterator[Any]:
    """Streams of messages from and to ``child``; it is stopped at the end."""
    to_session, read = anyio.create_memory_object_stream[SessionMessage | Exception](WAITING_MAX)
    write, from_session = anyio.create_memory_object_stream[SessionMessage](WAITING_MAX)

    async def reading() -> None:
        lines = Lines(child.read)
        async with to_session:
            try:
                while line := await lines.next():
                    with contextlib.suppress(ValueError):  # no message: a log line, a banner
                        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await to_session.send(SessionMessage(message))
            except OverlongLineError:
                tell("a message is too long: the server is stopped")
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
        await child.discard()

    async def writing() -> None:
        async with from_session:
            async for message in from_session:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await child.write([text.encode() + b"\n"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reading)
        tasks.start_soon(writing)
        try:
            yield read, write
        finally:
            with anyio.CancelScope(shield=True):  # a server left behind would run on
                read.close()
                write.close()
                await child.stop()
            tasks.cancel_scope.cancel()
