"""Penstock as a guard for the public benchmark ``mcp-defense-bench`` (PyPI, Apache-2.0).

    pip install --target /tmp/bench --no-deps mcp-defense-bench
    PYTHONPATH=/tmp/bench:scripts .venv/bin/python -m mcp_defense_bench run \\
        defense_bench:Guard --corpus all --out-dir /tmp/results

One policy for all cases, none of them known to it. Each case goes the way it would go through the
proxy: a request is read, checked and decided, an answer is judged message by message. Blocked or
rewritten is ``enforce``, told in the Record is ``detect``. Types of cases that never cross a
proxy's path (registries, configurations, delegation between agents) are not claimed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from penstock.exchange import Caller, Destination, HttpAnswer, HttpRequest, Workload
from penstock.mcp import judge_document
from penstock.mcp.lock import dump
from penstock.mcp.pins import pins_of
from penstock.policy.call import Call
from penstock.policy.decide import decide, decide_answer
from penstock.policy.language.load import load
from penstock.policy.mcp_answer import McpAnswer
from penstock.policy.offline.dry_state import DryState
from penstock.wire.jsonrpc.calls import MCP

HOST = "tools.example.com"
URL = f"https://{HOST}/mcp"
NOON = 1_790_000_000.0
POLICY = """
version: 1
name: bench
rules:
  - id: no-orders
    deny: {find: [injection, tool_poisoning], in: [response]}
  - id: no-secrets
    redact: {find: [secret, pii.card], in: [both], with: mask}
  - id: no-secrets-asked
    tools: {questions: no_secrets}
  - id: as-pinned
    tools: {server: "https://tools.example.com/pinned", pins: mcp.lock.yaml}
"""
Verdict = dict[str, Any]
NOTHING: Verdict = {"detect": False, "enforce": False}


class Guard:
    """The bench's adapter."""

    meta = {  # noqa: RUF012 - the bench reads a plain mapping
        "tool": "penstock",
        "class": "runtime-proxy",
        "reproducible": True,
        "fixtureTypes": [
            "malicious-tool-definition", "benign-tool-definition", "malicious-tool-result",
            "benign-tool-result", "tool-call", "tool-call-sequence", "definition-change",
            "http-request", "list-result", "input-required-result",
        ],
    }  # fmt: skip

    def assess(self, fixture: dict[str, Any], _case: dict[str, Any]) -> Verdict:
        """What becomes of the traffic a case stands for."""
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
            side = Side(Path(name), [fixture["before"]] if "before" in fixture else [])
            match fixture["type"]:
                case "http-request":
                    headers = {name.lower(): value for name, value in fixture["headers"].items()}
                    return side.request(fixture["body"], headers)
                case "tool-call" | "tool-call-sequence":
                    calls = fixture.get("calls") or [fixture["call"]]
                    return worst([side.request(tool_call(call)) for call in calls])
                case "definition-change":
                    listed = [side.listing([fixture[when]]) for when in ("before", "after")]
                    return worst(
                        [*listed, side.request(tool_call(fixture["after"]), path="pinned")]
                    )
                case "list-result":
                    return side.answer("tools/list", fixture["result"])
                case "input-required-result":
                    return side.answer("tools/call", fixture["result"])
                case kind if kind.endswith("tool-result"):
                    return side.answer("tools/call", fixture["result"])
                case _:
                    return side.listing([fixture["tool"]], path="mcp")


class Side:
    """One client and one server with the rules between them. ``pinned`` are known definitions."""

    def __init__(self, folder: Path, pinned: list[Any]) -> None:
        (folder / "mcp.lock.yaml").write_text(
            dump({"https://tools.example.com/pinned": pins_of(pinned)})
        )
        (folder / "policy.yaml").write_text(POLICY)
        self.policy = load([folder / "policy.yaml"])
        self.state = DryState(self.policy)

    def call(self, body: Any, headers: dict[str, str], path: str) -> Call:
        content = json.dumps(body).encode()
        given = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        request = HttpRequest("POST", "https", HOST, 443, f"/{path}", given | headers, content)
        destination = Destination(HOST, 443, category="mcp")
        exchange = MCP.read_request(request, destination)
        caller = Caller(Workload(name="bench", pod="bench-1"))
        return Call(exchange, caller, destination, "d", len(content), path=f"/{path}")

    def request(
        self, body: Any, headers: dict[str, str] | None = None, path: str = "mcp"
    ) -> Verdict:
        call = self.call(body, headers or {}, path)
        if call.exchange.problem is not None:
            return {"detect": True, "enforce": True, "signal": call.exchange.problem}
        return told(decide(self.policy, call, self.state, NOON))

    def listing(self, tools: list[Any], path: str = "pinned") -> Verdict:
        return self.answer("tools/list", {"tools": tools, "resultType": "complete"}, path)

    def answer(self, method: str, result: Any, path: str = "mcp") -> Verdict:
        params = {"name": "tool", "arguments": {}} if method == "tools/call" else {}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        call = self.call(body, {}, path)
        reasons: list[Any] = []
        rules = McpAnswer(self.policy, call, self.state, NOON, reasons.append)
        said = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        leaves = MCP.read_answer(call.exchange, HttpAnswer(200, {}, said))
        decision = told(decide_answer(self.policy, call, leaves, self.state, NOON))
        after, verdict = judge_document(said, rules, call.exchange.mcp)
        if decision["enforce"] or verdict is not None or changed(said, after):
            return {"detect": True, "enforce": True}
        return {"detect": decision["detect"] or bool(reasons), "enforce": False}


def changed(before: bytes, after: bytes) -> bool:
    """True when more than how long and for whom a list may be kept was rewritten."""
    kept = [json.loads(one)["result"] for one in (before, after)]
    return any(kept[0].get(name) != kept[1].get(name) for name in kept[0].keys() - CACHING)


CACHING = {"ttlMs", "cacheScope"}


def tool_call(call: dict[str, Any]) -> dict[str, Any]:
    params = {"name": call["name"], "arguments": call.get("arguments", {})}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def told(decision: Any) -> Verdict:
    enforced = decision.verdict in ("deny", "edit")
    return {"detect": enforced or bool(decision.findings), "enforce": enforced}


def worst(verdicts: list[Verdict]) -> Verdict:
    return max(verdicts, key=lambda one: (one["enforce"], one["detect"]), default=NOTHING)
