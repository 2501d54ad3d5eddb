"""The corpus of odd requests against the TypeScript servers, v1 and v2: no call may slip between.

As ``test_parser_differential`` with the Python server: whatever one of these servers acts on is
what we read, or we would have refused it.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mcp.test_parser_differential import ACCEPT, CASES, Case, ours, same
from tests.mcp.test_typescript_sdk import V1
from tests.npm_tools import npm_package

SECONDS_MAX = 90

# Reads the cases from standard input and prints, for each, which tools the server ran.
PROGRAM = """
IMPORTS
let done = [];
const tools = { safe: true, danger: true };
const call = async (request) => {
  const { name, arguments: given } = request.params;
  if (!tools[name]) throw new Error('Unknown tool');
  let x = given === undefined || given === null ? null : given.x ?? null;
  try { JSON.stringify(x); } catch { x = 'too deep to print'; }
  done.push([name, x]);
  return { content: [{ type: 'text', text: 'ok' }] };
};
SERVE
const cases = JSON.parse(await new Promise((resolve) => {
  let text = '';
  process.stdin.on('data', (piece) => { text += piece; });
  process.stdin.on('end', () => resolve(text));
}));
const out = [];
for (const one of cases) {
  done = [];
  try {
    const body = Buffer.from(one.body, 'base64');
    const answer = await serve(new Request('http://127.0.0.1:8000/mcp', {
      method: 'POST', headers: one.headers, body: body.length ? body : undefined,
    }));
    await answer.text();
  } catch (error) { /* it did nothing, or what it did is noted */ }
  out.push(done);
}
console.log(JSON.stringify(out));
process.exit(0);
"""


class Server(NamedTuple):
    """A server package, and how its program is written."""

    name: str
    package: str
    version: str
    integrity: str
    imports: str
    serve: str


TYPESCRIPT_V1 = Server(
    "v1",
    V1.package,
    V1.version,
    V1.integrity,
    """
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { WebStandardStreamableHTTPServerTransport as Transport }
  from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js';
""",
    """
const serve = async (request) => {
  const server = new Server({ name: 's', version: '1' }, { capabilities: { tools: {} } });
  server.setRequestHandler(CallToolRequestSchema, call);
  const transport = new Transport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  await server.connect(transport);
  return transport.handleRequest(request);
};
""",
)
TYPESCRIPT_V2 = Server(
    "v2",
    "@modelcontextprotocol/server",
    "2.4.0",
    "sha512-rgR9yxSaAJ+bcsi/XroT/S2AfPiIWloXAnrdfYSCms9ivVju0ishu/wW0J21Ho6+ZOR1r7RyeRbjiRuF87ix5Q==",
    "import { Server, createMcpHandler } from '@modelcontextprotocol/server';",
    """
const handler = createMcpHandler(() => {
  const server = new Server({ name: 's', version: '1' }, { capabilities: { tools: {} } });
  server.setRequestHandler('tools/call', call);
  return server;
});
const serve = (request) => handler.fetch(request);
""",
)


def done_by(server: Server, cases: list[Case], folder: Path) -> list[list[tuple[str, Any]]]:
    """For each case the tools the server ran, with their argument ``x``."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on PATH")
    package = npm_package(server.package, server.version, server.integrity)
    modules = next(parent for parent in package.parents if parent.name == "node_modules")
    (folder / "node_modules").symlink_to(modules)
    program = folder / "program.mjs"
    program.write_text(PROGRAM.replace("IMPORTS", server.imports).replace("SERVE", server.serve))
    sent = [
        {
            "body": base64.b64encode(case.body).decode(),
            "headers": {"accept": ACCEPT, "content-type": "application/json", **case.headers},
        }
        for case in cases
    ]
    finished = subprocess.run(
        [node, str(program)],
        input=json.dumps(sent),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    ran: list[list[tuple[str, Any]]] = json.loads(finished.stdout.splitlines()[-1])
    return ran


@pytest.mark.slow
@pytest.mark.parametrize("server", [TYPESCRIPT_V1, TYPESCRIPT_V2], ids=lambda server: server.name)
def test_no_call_slips_past_into_typescript(server: Server, tmp_path: Path) -> None:
    """What the server did is what we read, or we would have refused it."""
    ran = done_by(server, CASES, tmp_path)
    assert len(ran) == len(CASES) >= 100
    assert sum(bool(done) for case, done in zip(CASES, ran, strict=True) if case.fine) >= 20
    slipped = []
    for case, done in zip(CASES, ran, strict=True):
        reading = ours(case)
        assert reading is not None, case.name
        if reading.problem is not None:
            continue
        read = reading.mcp
        assert read is not None
        allowed = [(name, arguments_of(reading.document, name)) for name in names_in(reading)]
        for tool, x in done:
            if not any(tool == name and same(given, x) for name, given in allowed):
                slipped.append((case.name, tool, x))
    assert slipped == []


def names_in(reading: Any) -> list[str]:
    """The tools our reading of the request names; several in a batch."""
    return [name for name in reading.mcp.names if name is not None]


def arguments_of(document: Any, tool: str) -> Any:
    messages = document if isinstance(document, list) else [document]
    for message in messages:
        if message.get("params", {}).get("name") == tool:
            return (message["params"].get("arguments") or {}).get("x")
    return None
