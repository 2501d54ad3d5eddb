"""A TypeScript program that calls tools as it is told, line by line, on each SDK."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.mcp.test_typescript_sdk import V1, Sdk
from tests.npm_tools import node_honouring_the_variables, npm_package

SECONDS_MAX = 60
SOURCE = """
import { createInterface } from 'node:readline';
import { Client } from 'CLIENT';
import { StreamableHTTPClientTransport } from 'TRANSPORT';
const client = new Client({ name: 'test', version: '1' }, OPTIONS);
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.SERVER)));
const told = (result) => ({ isError: result.isError ?? false, text: result.content[0].text });
for await (const line of createInterface({ input: process.stdin })) {
  const { name, arguments: args, timeout } = JSON.parse(line);
  let said;
  try {
    said = told(await client.callTool({ name, arguments: args }, LAST { timeout }));
  } catch (error) {
    said = { error: error.constructor.name, code: error.code, text: error.message };
  }
  console.log(JSON.stringify(said));
}
process.exit(0);
"""


class Program:
    """One client in a process of its own; ``call`` gives what it made of the answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, sdk: Sdk, url: str, folder: Path) -> Program:
        package = npm_package(sdk.package, sdk.version, sdk.integrity)
        modules = next(parent for parent in package.parents if parent.name == "node_modules")
        (folder / "node_modules").symlink_to(modules)
        text = SOURCE.replace("CLIENT", sdk.client).replace("TRANSPORT", sdk.transport)
        text = text.replace("OPTIONS", sdk.options)
        program = folder / "program.mjs"
        program.write_text(text.replace("LAST", "undefined," if sdk is V1 else ""))
        return cls(
            await asyncio.create_subprocess_exec(
                *(node_honouring_the_variables(), str(program)),
                env={"SERVER": url, "PATH": ""},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )

    async def call(
        self, name: str, arguments: dict[str, Any], seconds: float = SECONDS_MAX
    ) -> dict[str, Any]:
        """The program's word of one call; it gives up after ``seconds``."""
        told = {"name": name, "arguments": arguments, "timeout": round(seconds * 1000)}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(told).encode() + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS_MAX)
        said: dict[str, Any] = json.loads(line)
        return said

    async def end(self) -> int:
        """Its exit code, once it is told that nothing more comes."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            return await asyncio.wait_for(self.process.wait(), SECONDS_MAX)
        finally:
            if self.process.returncode is None:
                self.process.kill()
