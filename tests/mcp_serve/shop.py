"""A real MCP server for the tests, on the Python SDK. ``python shop.py [stdio|http|sse]``.

It says what it got: its environment's names, the arguments as they arrived.
"""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel


class Name(BaseModel):
    """What the server asks a person."""

    name: str


def make() -> MCPServer:
    made = MCPServer("shop", instructions="Ask before you buy.")

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
    async def slow(context: Context) -> str:
        """Report progress, then answer."""
        await context.report_progress(1, 2)
        return "slow done"

    @made.tool()
    async def ask(context: Context) -> str:
        """Ask the person for a name."""
        answer = await context.elicit("What is your name?", Name)
        return f"{answer.action} {answer.data.name if answer.action == 'accept' else ''}".strip()

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
