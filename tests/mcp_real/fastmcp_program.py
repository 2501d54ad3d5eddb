"""Run by FastMCP's own environment: what its client makes of a governed server, as JSON."""

import asyncio
import json
import sys

from fastmcp import Client


async def main(url: str) -> None:
    async with Client(url) as client:
        out = {"tools": [tool.name for tool in await client.list_tools()]}
        out["echo"] = (await client.call_tool("echo", {"message": "hello"})).content[0].text
        try:
            refused = await client.call_tool("get-sum", {"a": 1, "b": 2}, raise_on_error=False)
            out["refused"] = {"isError": refused.is_error, "text": refused.content[0].text}
        except Exception as error:
            out["refused"] = {"error": type(error).__name__, "text": str(error)}
        out["after"] = (await client.call_tool("echo", {"message": "again"})).content[0].text
    print(json.dumps(out))


asyncio.run(main(sys.argv[1]))
