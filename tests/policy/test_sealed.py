"""Signed, encrypted and hashed parts: never edited, in any API. What is found there refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from making import NOON, State, policy_of

from penstock.exchange import Caller, HttpRequest
from penstock.policy.decide import decide
from penstock.policy.offline.recorded import call_of

ANTHROPIC, OPENAI = ("api.anthropic.com", "/v1/messages"), "api.openai.com"
GOOGLE = "generativelanguage.googleapis.com"
AWS = "bedrock-runtime.us-east-1.amazonaws.com"
HERE = "to EMAIL now"


def turns(content: Any, **fields: Any) -> Any:
    said = {"role": "assistant", "content": content, **fields}
    return {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}, said]}


def thinking(thought: str = "hm", signature: str = "c2ln") -> Any:
    return [{"type": "thinking", "thinking": thought, "signature": signature}]


def converse(content: Any) -> Any:
    return {"messages": [{"role": "assistant", "content": [{"reasoningContent": content}]}]}


def contents(part: Any) -> Any:
    return {"contents": [{"role": "model", "parts": [part]}]}


SEALED: list[tuple[str, str, Any]] = [
    (*ANTHROPIC, turns(thinking(thought=HERE))),
    (*ANTHROPIC, turns(thinking(signature=HERE))),
    (*ANTHROPIC, turns([{"type": "redacted_thinking", "data": HERE}])),
    (*ANTHROPIC, turns([{"type": "web_search_tool_result", "tool_use_id": "t", "content": [
        {"type": "web_search_result", "url": "https://a.example", "encrypted_content": HERE}]}])),
    (OPENAI, "/v1/responses", {"model": "m", "input": [
        {"type": "reasoning", "summary": [], "encrypted_content": HERE}]}),
    (OPENAI, "/v1/responses", {"model": "m", "input": [
        {"type": "compaction", "encrypted_content": HERE}]}),
    (OPENAI, "/v1/chat/completions", turns("x", thinking_blocks=thinking(thought=HERE))),
    (OPENAI, "/v1/chat/completions", turns("x", reasoning_details=[
        {"type": "reasoning.encrypted", "data": HERE}])),
    (OPENAI, "/v1/chat/completions", turns("x", reasoning_details=[
        {"type": "reasoning.text", "text": HERE, "signature": "c2ln"}])),
    (OPENAI, "/v1/chat/completions", turns("x", extra_content={
        "google": {"thought_signature": HERE}})),
    (GOOGLE, "/v1beta/models/m:generateContent", contents({"text": "x", "thoughtSignature": HERE})),
    (GOOGLE, "/v1beta/models/m:generateContent",
     contents({"text": HERE, "thought": True, "thoughtSignature": "c2ln"})),
    (GOOGLE, "/v1beta/models/m:generateContent",
     contents({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": HERE})),
    (GOOGLE, "/v1beta/interactions", {"model": "m", "input": [{"role": "model", "content": [
        {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": HERE}]}]}]}),
    (GOOGLE, "/v1beta/files", {"file": {"sha256Hash": HERE}}),
    (AWS, "/model/m/converse", converse({"reasoningText": {"text": HERE, "signature": "c2ln"}})),
    (AWS, "/model/m/converse", converse({"reasoningText": {"text": "x", "signature": HERE}})),
    (AWS, "/model/m/converse", converse({"redactedContent": HERE})),
    (AWS, "/model/anthropic.claude-sonnet-4-5/invoke",
     {"anthropic_version": "bedrock-2023-05-31", **turns(thinking(thought=HERE))}),
]  # fmt: skip


@pytest.mark.parametrize("method", ["placeholder", "mask", "remove", "strip"])
@pytest.mark.parametrize(
    ("host", "path", "body"), SEALED, ids=[f"{n}-{one[1]}" for n, one in enumerate(SEALED)]
)
def test_a_finding_in_a_sealed_part_refuses_the_call(
    tmp_path: Path, host: str, path: str, body: Any, method: str
) -> None:
    policy = policy_of(tmp_path, f"  - {{id: r, redact: {{find: [pii.email], with: {method}}}}}")
    raw = json.dumps(body).encode()
    request = HttpRequest(
        "POST", "https", host, 443, path, {"content-type": "application/json"}, raw
    )
    decision = decide(policy, call_of(request, Caller(), "c0ffee"), State(policy), NOON)
    assert (decision.verdict, decision.edits) == ("deny", [])
    assert decision.refusal is not None and "cannot be changed" in decision.refusal.message
