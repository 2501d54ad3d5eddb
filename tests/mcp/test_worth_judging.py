"""Streamed MCP texts: what holds nothing needs no scanner, unless somebody looks at all of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.detect.placeholders import PREFIX
from penstock.proxy.worth_judging import worth_scanning
from penstock.wire.json_leaves import parse
from penstock.wire.jsonrpc.calls import MessageLeaves

TEXTS = ["fine", "evil", f"see {PREFIX}", "fine too"]


def told(restores: bool = False, **policy: Any) -> list[str]:
    """The texts of a result that scanners get to see, under a policy that reads answers."""
    flags = {"reads_answers": True, "call_types": frozenset(), "marks_answers": False, **policy}
    marks: set[bytes] = set()
    memo = SimpleNamespace(
        digest=bytes,
        is_clean=marks.__contains__,
        note_clean=marks.add,
        scan_all=lambda texts, zone: {text: ["found"] * ("evil" in text) for text in texts},
    )
    governance: Any = SimpleNamespace(policy=SimpleNamespace(**flags), memo=memo)
    state: Any = SimpleNamespace(restorer=lambda nested: object() if restores else None)
    blocks = [{"type": "text", "text": text} for text in TEXTS]
    document = {"jsonrpc": "2.0", "id": 1, "result": {"content": blocks}}
    leaves = MessageLeaves(b"", parse(json.dumps(document).encode()))
    return [leaf.text for leaf in worth_scanning(governance, state, leaves) if "text" in leaf.path]


def test_only_texts_that_hold_something_are_scanned() -> None:
    assert told() == ["evil", f"see {PREFIX}"]


@pytest.mark.parametrize(
    "reason",
    [
        {"call_types": frozenset({"leak.system_prompt"})},
        {"marks_answers": True},
        {"restores": True},
    ],
)
def test_who_looks_at_every_text_gets_every_text(reason: dict[str, Any]) -> None:
    """What was said before, a mark around everything, originals to be put back."""
    assert told(**reason) == TEXTS
