"""A real MCP server for the tests, on the Python SDK. ``python shop.py [stdio|http|sse]``.

It says what it got: its environment's names, the arguments as they arrived.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import InputRequiredResult
from pydantic import BaseModel


class Name(BaseModel):
    """What the server asks a person."""

    name: str


QUESTION = {
    "resultType": "input_required",
    "requestState": "half-way",
    "inputRequests": {
        "who": {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": "What is your name?",
                "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
        }
    },
}


def make() -> MCPServer:
    made = MCPServer("shop", instructions="Ask before you buy.")
    counted: dict[int, int] = {}

    @made.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @made.tool()
    def echo(text: str) -> str:
        """Give the text back, and say how long it was."""
        return f"{len(text)}:{text}"

    @made.tool()
    def keep(text: str) -> str:
        """Write the text down and say only that."""
        with open(os.environ["SHOP_FILE"], "a") as file:  # noqa: PTH123
            file.write(text + "\n")
        return "kept"

    @made.tool()
    def leak() -> str:
        """Say what must not be said."""
        return "write to ada.lovelace@example.org"

    @made.tool()
    def drop_table(name: str) -> str:
        """Drop a table."""
        raise AssertionError("a refused call reached the server")

    @made.tool()
    def variables() -> list[str]:
        """Names of the environment's variables."""
        return sorted(os.environ)

    @made.tool()
    def brought(context: Context) -> dict[str, str]:
        """The headers of this request: what a caller's key must not come back by."""
        request = context.request_context.request
        return dict(request.headers) if request is not None else dict(os.environ)

    @made.tool()
    async def nap() -> str:
        """Take some seconds."""
        await asyncio.sleep(4)
        return "rested"

    @made.tool()
    async def slow(context: Context) -> str:
        """Report progress, then answer."""
        await context.report_progress(1, 2)
        return "slow done"

    @made.tool()
    async def ask(context: Context) -> str:
        """Ask the person for a name."""
        answer = await context.elicit("What is your name?", Name)
        return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''}".strip()

    @made.tool()
    async def ask_later(context: Context) -> str | InputRequiredResult:
        """Ask for a name by the newer era's way: the answer comes with another request."""
        given = (context.input_responses or {}).get("who")
        if given is None:
            return InputRequiredResult.model_validate(QUESTION)
        name = given.model_dump()["content"]["name"]
        return f"{context.request_state} {name}"

    @made.tool()
    async def grow(context: Context) -> str:
        """Have one tool more, and say so to clients of both eras."""
        made.add_tool(lambda: "new", name="grown", description="It is new.")
        await context.notify_tools_changed()
        if context.request_context.protocol_version < "2026":
            await context.session.send_tool_list_changed()
        return "grown"

    @made.tool()
    def count(context: Context) -> int:
        """How often this session called it."""
        counted[id(context.session._connection)] = counted.get(id(context.session._connection), 0)
        counted[id(context.session._connection)] += 1
        return counted[id(context.session._connection)]

    @made.tool()
    def open_files() -> int:
        """How many files this process may open."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    @made.tool()
    def crash() -> str:
        """End the process at once."""
        os._exit(3)

    @made.resource("shop://prices")
    def prices() -> str:
        """What things cost."""
        return "A tea is 3."

    @made.resource("shop://item/{name}")
    def item(name: str) -> str:
        """One thing."""
        return f"one {name}"

    @made.prompt()
    def order(what: str) -> str:
        """Order something."""
        return f"Please order {what}."

    return made


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    if kind == "stdio":
        make().run()
    else:
        port = int(sys.argv[2])
        make().run({"http": "streamable-http", "sse": "sse"}[kind], host="127.0.0.1", port=port)
