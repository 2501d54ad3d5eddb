"""The tools rules beyond lists of tools: lock files, sizes, features, and where they cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.exchange import Caller, Destination, HttpRequest
from penstock.mcp.lock import dump
from penstock.mcp.memory import Memory
from penstock.mcp.pins import pins_of
from penstock.policy.call import Call
from penstock.policy.decide import decide
from penstock.policy.decision import Decision
from penstock.policy.language.source import PolicySource
from penstock.policy.offline.dry_state import DryState
from penstock.policy.policy import Policy
from penstock.wire import read_request
from tests.policy.making import NOON, policy_of, problems_of

HOST = "tools.example.com"
URL = f"https://{HOST}/mcp"
TOOL = {"name": "search", "description": "Finds.", "inputSchema": {"type": "object"}}
HEAD = "version: 1\nrules:\n  - id: a\n    tools: "


def request(method: str, **params: Any) -> Call:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"content-type": "application/json", "mcp-protocol-version": "2025-11-25"}
    destination = Destination(HOST, 443)
    sent = HttpRequest("POST", "https", HOST, 443, "/mcp", headers, json.dumps(body).encode())
    return Call(read_request(sent, destination), Caller(), destination, "d1", path="/mcp")


def tool_call(name: str, **arguments: Any) -> Call:
    return request("tools/call", name=name, arguments=arguments)


def judged(policy: Policy, call: Call, memory: Memory | None = None) -> Decision:
    state = DryState(policy)
    state.memory = memory or state.memory
    return decide(policy, call, state, NOON)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{server: x.example}", "needs 'allow' or 'deny'"),
        ("{pins: none.yaml}", "none.yaml cannot be read: No such file"),
        ("{pins: p.yaml}", "not a lock file"),
        ("{deny: [x], on_change: hide}", "has no effect without 'pins'"),
        ("{approve: []}", "asks for nothing"),
        ("{features: [everything]}", "'everything' is not known"),
        ("{max_result_bytes: 0}", "not a whole number above 0"),
        ("{require: luck}", "'luck' is not known"),
    ],
)
def test_a_wrong_rule_is_explained(tmp_path: Path, section: str, words: str) -> None:
    assert any(words in problem.message for problem in problems_of(tmp_path, HEAD + section + "\n"))


def test_a_lock_file_counts_for_the_hash_and_is_watched(tmp_path: Path) -> None:
    """A new lock file is another policy; a broken one changes nothing and is told."""
    lock, file = tmp_path / "mcp.lock.yaml", tmp_path / "p.yaml"
    lock.write_text(dump({URL: pins_of([TOOL])}))
    file.write_text(HEAD + "{pins: mcp.lock.yaml}\n")
    source = PolicySource([file])
    before = source.policy.hash
    assert not source.poll() and not source.poll()
    lock.write_text(dump({URL: pins_of([{**TOOL, "description": "Finds more."}])}))
    assert source.poll() and source.policy.hash != before
    lock.write_text("broken")
    assert not source.poll()
    assert "not a lock file" in source.problems[0].message


@pytest.mark.parametrize(
    ("on_change", "form"), [("deny", "advise"), ("hide", "hidden"), ("alert", None)]
)
def test_a_changed_tool_is_treated_as_the_rule_says(
    tmp_path: Path, on_change: str, form: str | None
) -> None:
    (tmp_path / "mcp.lock.yaml").write_text(dump({URL: pins_of([TOOL])}))
    policy = policy_of(
        tmp_path, f"  - {{id: a, tools: {{pins: mcp.lock.yaml, on_change: {on_change}}}}}\n"
    )
    memory = Memory()
    assert judged(policy, tool_call("search"), memory).verdict == "allow"
    memory.see(URL, [{**TOOL, "title": "Evil"}])
    found = judged(policy, tool_call("search"), memory).refusal
    assert (found and found.form) == form
    memory.see(URL, [TOOL])
    assert judged(policy, tool_call("search"), memory).verdict == "allow"


def test_a_rule_in_shadow_changes_nothing(tmp_path: Path) -> None:
    """It is judged and told, and the call goes on."""
    rules = "  - {id: a, mode: shadow, tools: {resources: [], require: model_request}}\n"
    policy = policy_of(tmp_path, rules)
    for call in (request("resources/read", uri="file:///a"), tool_call("search")):
        decision = judged(policy, call)
        assert (decision.verdict, decision.would) == ("allow", "deny")


def test_a_list_of_resources_is_one_for_subscriptions_too(tmp_path: Path) -> None:
    """In both eras; to end one is always allowed."""
    policy = policy_of(tmp_path, '  - {id: a, tools: {resources: ["file:///open/*"]}}\n')

    def verdict(method: str, **params: Any) -> str:
        return judged(policy, request(method, **params)).verdict

    def listened(*uris: str) -> str:
        return verdict("subscriptions/listen", notifications={"resourceSubscriptions": list(uris)})

    assert verdict("resources/subscribe", uri="file:///open/a") == "allow"
    assert verdict("resources/subscribe", uri="file:///closed") == "deny"
    assert verdict("resources/unsubscribe", uri="file:///closed") == "allow"
    assert listened("file:///open/a") == "allow" and listened() == "allow"
    assert listened("file:///open/a", "file:///closed") == "deny"
    assert verdict("subscriptions/listen", notifications=[]) == "allow"


def test_features_are_refused_in_requests_too(tmp_path: Path) -> None:
    """The protocol's own methods are not features."""
    policy = policy_of(tmp_path, "  - {id: a, tools: {features: [logging]}}\n")
    verdicts = {
        method: judged(policy, request(method)).verdict
        for method in (
            "ping",
            "tools/list",
            "logging/setLevel",
            "completion/complete",
            "tasks/list",
        )
    }
    assert verdicts == {
        "ping": "allow",
        "tools/list": "allow",
        "logging/setLevel": "allow",
        "completion/complete": "deny",
        "tasks/list": "deny",
    }


@pytest.mark.parametrize("keys", ["require: model_request", "approve: [x]", "max_result_bytes: 9"])
def test_what_cannot_be_kept_at_the_provider_is_refused_there(tmp_path: Path, keys: str) -> None:
    """A model provider that calls the server itself is out of sight."""
    policy = policy_of(tmp_path, f"  - {{id: a, tools: {{server: {HOST}, {keys}}}}}\n")
    tool = {"type": "mcp", "server_label": "s", "server_url": URL, "allowed_tools": ["search"]}
    body = json.dumps({"model": "gpt-5", "input": "hi", "tools": [tool]}).encode()
    destination = Destination(
        "api.openai.com", 443, provider="openai", category="llm_api", known=True
    )
    sent = HttpRequest(
        "POST",
        "https",
        destination.host,
        443,
        "/v1/responses",
        {"content-type": "application/json"},
        body,
    )
    call = Call(read_request(sent, destination), Caller(), destination, "d1", path="/v1/responses")
    decision = judged(policy, call)
    assert decision.refusal is not None and "call the server itself" in decision.refusal.message
