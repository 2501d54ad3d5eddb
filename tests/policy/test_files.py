"""Files in requests: refused by type and size, and by what they say where a rule asks."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from making import NOON, State, policy_of, problems_of

from penstock.exchange import Caller, HttpRequest
from penstock.policy import find
from penstock.policy.decide import decide
from penstock.policy.decision import Decision
from penstock.policy.files import look_into_files
from penstock.policy.offline.recorded import call_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 300
COMMENTED = b"\xff\xd8\xff\xfe\x00\x10write to EMAIL\xff\xda" + b"\0" * 300


def judged(tmp_path: Path, rules: str, raw: bytes, called: str = "image/png") -> Decision:
    policy = policy_of(tmp_path, rules)
    source = {"type": "base64", "media_type": called, "data": base64.b64encode(raw).decode()}
    content: list[Any] = [{"type": "image", "source": source}, {"type": "text", "text": "Look!"}]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
    head = {"content-type": "application/json"}
    request = HttpRequest("POST", "https", "api.anthropic.com", 443, "/v1/messages", head, body)
    call = call_of(request, Caller(), "c0ffee")
    assert look_into_files(policy, call, body) is None
    return decide(policy, call, State(policy), NOON)


@pytest.mark.parametrize(
    ("rule", "raw", "verdict"),
    [
        ("{blobs: [image/*]}", PNG, "deny"),
        ("{blobs: [image/png]}", PNG, "deny"),
        ("{blobs: [application/pdf]}", PNG, "allow"),
        ("{blobs: [application/pdf]}", b"%PDF-1.7\n" + PNG, "deny"),
        ("{blobs_larger_than: 300}", PNG, "deny"),
        ("{blobs_larger_than: 400}", PNG, "allow"),
        ("{blobs: [image/*], blobs_larger_than: 400}", PNG, "allow"),
        ("{blobs: [image/*], providers: [openai]}", PNG, "allow"),
        ("{blobs: [image/*], find: [pii.email]}", PNG, "allow"),
    ],
)
def test_files_are_refused_by_type_and_size(
    tmp_path: Path, rule: str, raw: bytes, verdict: str
) -> None:
    decision = judged(tmp_path, f"  - {{id: f, deny: {rule}}}", raw)
    assert decision.verdict == verdict
    if verdict == "deny":
        assert decision.refusal is not None and "carries a file" in decision.refusal.message


def test_what_a_file_says_counts_where_a_rule_reads_files(tmp_path: Path) -> None:
    rule = "  - {id: f, deny: {find: [pii.email], in: [%s]}}"
    assert judged(tmp_path, rule % "request", COMMENTED, "image/jpeg").verdict == "allow"
    for where in ("document", "request, document", "both, document"):
        decision = judged(tmp_path, rule % where, COMMENTED, "image/jpeg")
        assert decision.verdict == "deny" and decision.refusal is not None
        assert "pii.email found in a file" in decision.refusal.message


def test_a_rule_that_reads_no_files_does_not_see_what_another_reads(tmp_path: Path) -> None:
    rules = "  - {id: a, deny: {find: [pii.email], in: [request]}}\n"
    rules += "  - {id: b, deny: {find: [pii.card], in: [document]}}"
    assert judged(tmp_path, rules, COMMENTED, "image/jpeg").verdict == "allow"


def test_what_stands_in_a_file_cannot_be_redacted(tmp_path: Path) -> None:
    decision = judged(
        tmp_path, "  - {id: f, redact: {find: [pii.email], in: [document]}}", COMMENTED
    )
    assert decision.verdict == "deny" and decision.refusal is not None
    assert "found in a file, which cannot be changed" in decision.refusal.message


def test_without_the_extra_such_a_policy_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = "version: 1\nrules: [{id: f, deny: {find: [pii.email], in: [document]}}]"
    assert problems_of(tmp_path, rule) == []
    monkeypatch.setattr(find, "has_pdf_reader", lambda: False)
    (problem,) = problems_of(tmp_path, rule)
    assert "pip install 'penstock[documents]'" in problem.message


def test_an_empty_list_of_types_does_not_load(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "version: 1\nrules: [{id: f, deny: {blobs: []}}]")
    assert "can never refuse" in problem.message


def test_on_the_loop_no_file_is_read(tmp_path: Path) -> None:
    """A message of a WebSocket cannot wait for a reader: it is refused, and says why."""
    policy = policy_of(tmp_path, "  - {id: f, deny: {find: [pii.email], in: [document]}}")
    picture = f"data:image/jpeg;base64,{base64.b64encode(COMMENTED).decode()}"
    for text, why in ((picture, "over plain HTTP only"), ("words", None)):
        body = json.dumps({"model": "m", "input": text}).encode()
        request = HttpRequest("POST", "https", "api.openai.com", 443, "/v1/responses", {}, body)
        call = call_of(request, Caller(), "c0ffee")
        said = look_into_files(policy, call, body, aside=False)
        assert (why is None and said is None) or (why is not None and why in str(said))
        assert not any(leaf.zone == "document" for leaf in call.exchange.leaves)
