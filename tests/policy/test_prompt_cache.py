"""What a provider may take from its prompt cache: the bytes a turn shares with the one before.

An agent sends the whole conversation again each turn. Placeholders, marks and canaries must
not move a byte of what was sent before, in any process of a pod, or every turn is paid anew.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from penstock.exchange import Caller, HttpRequest
from penstock.policy.decide import decide
from penstock.policy.language.load import load
from penstock.policy.offline.dry_state import DryState
from penstock.policy.offline.recorded import call_of
from penstock.wire.edits import apply

POLICY = """
version: 1
rules:
  - {id: data, redact: {find: [secret, pii.email, pii.card], with: placeholder}}
  - {id: results, redact: {in: [tool_result], with: mark}}
  - {id: marker, canary: {}}
"""
MAIL, CARD = "ada@analytical-engine.org", "5555 5555 5555 4444"
TURNS = 6


def openai(turn: int) -> list[Any]:
    call = {"id": f"call_{turn}", "type": "function"}
    return [
        {"role": "user", "content": f"question {turn} by {MAIL}"},
        {"role": "assistant", "content": None, "tool_calls": [
            call | {"function": {"name": "f", "arguments": json.dumps({"to": MAIL, "n": turn})}}]},
        {"role": "tool", "tool_call_id": call["id"], "content": f"{turn}: {CARD} of u{turn}@x.dev"},
    ]  # fmt: skip


def anthropic(turn: int) -> list[Any]:
    use = {"type": "tool_use", "id": f"toolu_{turn}", "name": "f", "input": {"to": MAIL, "n": turn}}
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": f'{turn}: {CARD} \\ "é"'}
    return [
        {"role": "user", "content": [{"type": "text", "text": f"question {turn} by {MAIL}"}]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]


def gemini(turn: int) -> list[Any]:
    call = {"functionCall": {"name": "f", "args": {"to": MAIL, "n": turn}}}
    response = {"functionResponse": {"name": "f", "response": {"said": f"{turn}: {CARD} it is"}}}
    return [
        {"role": "user", "parts": [{"text": f"question {turn} by {MAIL}"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [response]},
    ]


SYSTEM = f"You are the assistant of {MAIL}. Be kind."


def openai_body(turns: list[Any]) -> Any:
    return {"model": "m", "messages": [{"role": "system", "content": SYSTEM}, *turns]}


def anthropic_body(turns: list[Any]) -> Any:
    return {"model": "m", "max_tokens": 5, "system": SYSTEM, "messages": turns}


def gemini_body(turns: list[Any]) -> Any:
    return {"systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": turns}


GOOGLE = "generativelanguage.googleapis.com"
APIS: dict[str, tuple[str, str, Any, Any]] = {
    "openai": ("api.openai.com", "/v1/chat/completions", openai, openai_body),
    "anthropic": ("api.anthropic.com", "/v1/messages", anthropic, anthropic_body),
    "gemini": (GOOGLE, "/v1beta/models/m:generateContent", gemini, gemini_body),
}


@pytest.mark.parametrize("api", APIS)
def test_each_turn_begins_with_the_bytes_of_the_one_before(tmp_path: Path, api: str) -> None:
    host, path, said, whole = APIS[api]
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    policy = load([file])
    turns: list[Any] = []
    plain: list[bytes] = []
    sent: list[bytes] = []
    for turn in range(TURNS):
        turns += said(turn)
        body = json.dumps(whole(turns)).encode()
        request = HttpRequest(
            "POST", "https", host, 443, path, {"content-type": "application/json"}, body
        )
        # Each turn in a process of its own: nothing but the key is shared.
        decision = decide(policy, call_of(request, Caller(), "c0ffee"), DryState(policy), 0)
        assert decision.verdict == "edit"
        plain.append(body)
        sent.append(apply(body, decision.edits))
    for turn, body in enumerate(sent, 1):
        assert json.dumps(json.loads(body)).count("[Untrusted data ") == turn
        assert json.dumps(json.loads(body)).count("PSC") == 1
    for before, after in pairwise(sent):
        assert MAIL.encode() not in before and CARD.encode() not in before
        assert after.startswith(before[: before.rindex(b"]")])
    eligible = sum(shared(*pair) for pair in pairwise(sent))
    as_it_was = sum(shared(*pair) for pair in pairwise(plain))
    assert eligible >= as_it_was, f"{eligible} bytes could come from the cache, {as_it_was} before"
    assert eligible > 0.7 * sum(map(len, sent[1:]))


def shared(before: bytes, after: bytes) -> int:
    """How many bytes two bodies have in common from their beginning."""
    pairs = zip(before, after, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), len(before))
