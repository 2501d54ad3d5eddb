"""A hostile server behind a governed proxy; each test runs plain and streamed, in both eras."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.mcp.lock import dump
from penstock.mcp.pins import pins_of
from tests.harness import Penstock, https_server, running_penstock
from tests.mcp_attacks.server import HOST, Hostile, Wire, tool

POLICY = f"""
version: 1
name: attacks
mode: enforce
rules:
  - id: as-pinned
    tools: {{server: "https://{HOST}/pinned/*", pins: mcp.lock.yaml}}
  - id: hide-changes
    tools: {{server: "https://{HOST}/hiding/*", pins: mcp.lock.yaml, on_change: hide}}
  - id: tell-changes
    tools: {{server: "https://{HOST}/telling/*", pins: mcp.lock.yaml, on_change: alert}}
  - id: named-things
    tools:
      server: "https://{HOST}/named/*"
      allow: [search]
      resources: ["file:///srv/public/*"]
      prompts: [greet]
      refuse: hidden
  - id: no-questions
    tools: {{server: "https://{HOST}/quiet/*", features: [completion]}}
  - id: no-secrets-asked
    tools: {{server: "https://{HOST}/asks/*", questions: no_secrets}}
  - id: small-things
    tools: {{server: "https://{HOST}/small/*", max_argument_bytes: 200, max_result_bytes: 3000}}
  - id: short-things
    tools: {{server: "https://{HOST}/short/*", max_result_bytes: 3000, oversized: truncate}}
  - id: public-files-only
    when: mcp.tool == "read_file" && !path_within(args.path, "/srv/public")
    tools: {{server: "https://{HOST}/files/*", deny: [read_file]}}
  - id: own-hosts-only
    when: mcp.tool == "fetch" && (!args.url.startsWith("https://") ||
      !url_host(args.url).endsWith(".example.com"))
    tools: {{server: "https://{HOST}/files/*", deny: [fetch]}}
  - id: reading-only
    when: mcp.tool == "query" && !sql_read_only(args.sql, "postgres")
    tools: {{server: "https://{HOST}/files/*", deny: [query]}}
  - id: two-a-minute
    limit: {{tool_calls: 2, every: 1m, per: [tool]}}
    when: call.path.startsWith("/often/")
  - id: a-person-agrees
    tools: {{server: "https://{HOST}/asking/*", approve: [pay*], hold: 1s}}
  - id: a-person-is-awaited
    tools: {{server: "https://{HOST}/holding/*", approve: [pay*], hold: 1m}}
  - id: a-model-asked
    tools: {{server: "https://{HOST}/asked/*", require: model_request}}
  - id: no-orders-from-servers
    deny: {{hosts: ["{HOST}"], find: [injection, tool_poisoning], in: [response]}}
    when: call.path != "/asks/mcp"  # there the rule about questions has to do it alone
  - id: no-secrets
    redact: {{find: [secret], in: [both], with: mask}}
"""
APPROVED = [tool("search"), tool("send_mail")]


@pytest.fixture(scope="module")
def server() -> Hostile:
    return Hostile()


@pytest.fixture(scope="module")
def proxy(server: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    folder = tmp_path_factory.mktemp("attacks")
    pins = {
        f"https://{HOST}/{name}/mcp": pins_of(APPROVED) for name in ("pinned", "hiding", "telling")
    }
    (folder / "penstock").mkdir()
    (folder / "penstock" / "mcp.lock.yaml").write_text(dump(pins))
    with (
        https_server(folder / "server", server, [HOST, "api.openai.com"]) as upstream,
        running_penstock(folder / "penstock", POLICY, upstream) as started,
    ):
        yield started


@pytest.fixture(
    params=[(False, False), (True, False), (False, True), (True, True)],
    ids=["json-legacy", "sse-legacy", "json-modern", "sse-modern"],
)
def wire(request: pytest.FixtureRequest, proxy: Penstock) -> Wire:
    return Wire(proxy, *request.param)
