"""What is remembered of results: bounded, by hash, per caller; and what an edit takes away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from penstock.exchange import Caller, Destination, Exchange, HttpRequest, Workload
from penstock.mcp.taint import TAINT_SECONDS, VALUE_SECONDS, Taints
from penstock.policy.call import Call
from penstock.policy.confine import digest_of, normal
from penstock.policy.decide import decide
from penstock.policy.language.load import load
from penstock.policy.mcp_answer import McpAnswer
from penstock.policy.offline.dry_state import DryState
from penstock.policy.policy import Policy
from penstock.wire import family_of, read_request

NOON = 1_790_000_000.0
TOKEN = "ghp_" + "x7Kd93LmQpR2vT8wZb5NcYf1HjG4sA0e6U9q"
RULES = """
version: 1
rules:
  - id: stays
    tools: {server: crm.example.com, confine: [secret]}
  - id: masked
    redact: {find: [secret], in: [request], with: mask}
"""


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_taint_ends_and_callers_are_bounded() -> None:
    clock = Clock()
    taints = Taints(clock)
    taints.taint("a")
    assert taints.is_tainted("a") and not taints.is_tainted("b")
    clock.now += TAINT_SECONDS - 1
    assert taints.is_tainted("a")
    clock.now += 2
    assert not taints.is_tainted("a")
    for number in range(12_000):
        taints.taint(str(number))
    assert not taints.is_tainted("1") and taints.is_tainted("11999")


def test_values_end_and_are_bounded_per_caller_and_server() -> None:
    clock = Clock()
    taints = Taints(clock)
    taints.confine("a", "d", "one")
    taints.confine("a", "d", "two")
    assert taints.confined("a", "d") == ("one", "two") and taints.confined("b", "d") == ()
    assert taints.holds("a") and not taints.holds("b")
    for number in range(20):
        taints.confine("a", "d", str(number))
    assert len(taints.confined("a", "d")) == 8
    clock.now += VALUE_SECONDS + 1
    assert taints.confined("a", "d") == () and not taints.holds("a")
    for number in range(60_000):
        taints.confine("a", str(number), "one")
    assert len(taints._values) == 50_000


def test_a_value_is_known_by_its_letters_and_digits(tmp_path: Path) -> None:
    assert normal("4111 1111-1111.1111") == normal("4111111111111111")
    assert normal("a@b") is None and normal("") is None
    policy = policy_in(tmp_path)
    state = DryState(policy)
    digest = digest_of(TOKEN, state)
    assert digest is not None and TOKEN[4:] not in digest
    assert digest == digest_of(f" {TOKEN.upper()} ", state)


def policy_in(folder: Path) -> Policy:
    (folder / "policy.yaml").write_text(RULES)
    return load([folder / "policy.yaml"])


def asked(host: str, arguments: Any, caller: Caller) -> Call:
    params = {"name": "read", "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    request = HttpRequest("POST", "https", host, 443, "/mcp", headers, json.dumps(body).encode())
    destination = Destination(host, 443, category="mcp")
    exchange: Exchange = read_request(request, destination)
    assert family_of(exchange.api) is not None
    return Call(exchange, caller, destination, "d1", len(request.body), path="/mcp")


def test_what_an_edit_removes_does_not_leave(tmp_path: Path) -> None:
    """A redact rule over the same value is enough; what it does not cover is refused."""
    policy = policy_in(tmp_path)
    state = DryState(policy)
    pod = Caller(Workload(name="w", pod="w-1"))
    call = asked("crm.example.com", {}, pod)
    answer = McpAnswer(policy, call, state, NOON, lambda _reason: None)
    text = {"type": "text", "text": f"the key is {TOKEN}"}
    answer.judge({"jsonrpc": "2.0", "id": 1, "result": {"content": [text]}}, 100)
    said = {"note": f"key {TOKEN}"}
    decision = decide(policy, asked("other.example.com", said, pod), state, NOON)
    assert decision.verdict == "edit" and len(decision.edits) == 1
    hidden = {"note": f"key {TOKEN}", "again": TOKEN.upper()}
    decision = decide(policy, asked("other.example.com", hidden, pod), state, NOON)
    assert decision.verdict == "deny" and decision.refusal is not None
    assert decision.refusal.rule == "stays" and TOKEN not in decision.refusal.message
    other_pod = Caller(Workload(name="w", pod="w-2"))
    decision = decide(policy, asked("other.example.com", hidden, other_pod), state, NOON)
    assert decision.verdict == "edit"
    decision = decide(policy, asked("crm.example.com", hidden, pod), state, NOON)
    assert decision.verdict == "edit"
