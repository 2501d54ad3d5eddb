"""The tools of a stdio server that is started for the purpose, to pin them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.gateway.stdio.child import Child
from penstock.gateway.stdio.lines import Lines, OverlongLineError
from penstock.mcp.discovery import LEGACY_VERSION, PAGES_MAX, Unreachable
from penstock.wire.loose import as_dict, as_dicts, as_text

# A server may be fetched by its launcher first (npx, uvx).
SECONDS_MAX = 120.0
# Lines that are no answer: notifications, log lines.
OTHER_LINES_MAX = 10_000


async def list_tools(
    command: Sequence[str], environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """All pages of its list; raises Unreachable, or OSError when it cannot be started."""
    child = await Child.start(command, environment)
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await _Asking(child, command[0]).tools()
    except TimeoutError:
        raise Unreachable(f"{command[0]}: no answer in {SECONDS_MAX:.0f} s") from None
    except OverlongLineError:
        raise Unreachable(f"{command[0]}: its list is too long") from None
    finally:
        reading = asyncio.create_task(child.discard())
        await child.stop()
        reading.cancel()


class _Asking:
    def __init__(self, child: Child, name: str) -> None:
        self.child, self.name = child, name
        self.lines = Lines(child.read)
        self.count = 0

    async def tools(self) -> list[dict[str, Any]]:
        client = {"name": "penstock", "version": "1"}
        opening = {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": client}
        await self.ask("initialize", opening)
        await self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = await self.ask("tools/list", params)
            found += as_dicts(page.get("tools"))
            cursor = as_text(page.get("nextCursor"))
            if not cursor:
                return found
            params = {"cursor": cursor}
        raise Unreachable(f"{self.name}: more than {PAGES_MAX} pages")

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        await self.say({"jsonrpc": "2.0", "id": self.count, "method": method, "params": params})
        for _ in range(OTHER_LINES_MAX):
            line = await self.lines.next()
            if not line:
                break
            answer = _message(line)
            if answer.get("id") != self.count or "method" in answer:
                continue
            if "result" in answer:
                return as_dict(answer["result"])
            message = as_text(as_dict(answer.get("error")).get("message"))
            raise Unreachable(f"{self.name}: {message or 'no tool list'}")
        raise Unreachable(f"{self.name}: it does not answer like an MCP server")

    async def say(self, message: dict[str, Any]) -> None:
        await self.child.write([json.dumps(message).encode() + b"\n"])


def _message(line: bytes) -> dict[str, Any]:
    try:
        return as_dict(json.loads(line))
    except (ValueError, RecursionError):
        return {}
