"""Answers taken apart message by message: each refusal under the id of what it answers."""

from __future__ import annotations

import json
from typing import Any

from penstock.exchange import McpCall
from penstock.mcp.answers import EventFilter, Verdict, judge_document
from penstock.wire.family import Refusal


class NoDanger:
    """Refuses every message that says danger; hides tools called so."""

    bytes_max = 10**6

    def judge(self, message: dict[str, Any], size: int) -> Verdict | None:
        if "danger" not in json.dumps(message.get("result", message.get("params", ""))):
            return None
        asks = "method" in message
        return Verdict(Refusal(403, "policy_denied", "no danger", "r", "d"), ends=asks)

    def hidden(self, member: str, element: Any) -> bool:
        return bool(element.get("name") == "hide")


def content(text: str, ident: Any = 1) -> dict[str, Any]:
    result = {"content": [{"type": "text", "text": text}], "taskId": "t"}
    return {"jsonrpc": "2.0", "id": ident, "result": result}


def judged(document: Any, call: McpCall | None = None) -> Any:
    body, verdict = judge_document(json.dumps(document).encode(), NoDanger(), call)
    return (json.loads(body) if body else None), verdict


def test_a_resumed_stream_answers_under_the_results_own_id() -> None:
    """A GET stream asked for nothing itself: what it brings belongs to calls made elsewhere."""
    for ident in ("a-7", 0, 2**60):
        document, verdict = judged(content("danger", ident), McpCall())
        assert verdict is not None and document["id"] == ident
        assert document["result"]["isError"] is True
        assert document["result"]["content"][0]["text"] == "no danger"
    listing = {"jsonrpc": "2.0", "id": 3, "result": {"taskId": "danger"}}
    document, _ = judged(listing, McpCall())
    assert document["id"] == 3 and document["error"]["code"] == -31403


def test_a_servers_request_on_a_stream_without_a_call_leaves_nothing() -> None:
    """Its id is the server's, and answers nothing of the client's."""
    asks = {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {"m": "danger"}}
    assert judged(asks, McpCall())[0] is None
    call = McpCall(methods=["tools/call"], ids=[9])
    document, verdict = judged(asks, call)
    assert document["id"] == 9 and verdict is not None and verdict.ends


def test_each_answer_of_a_batch_stands_for_itself() -> None:
    call = McpCall(methods=["tools/call"] * 2 + ["tools/list"], ids=[1, "1", 2], batch=True)
    tools = {"jsonrpc": "2.0", "id": 2, "result": {"tools": [{"name": "hide"}, {"name": "see"}]}}
    document, verdict = judged([content("danger"), content("fine", "1"), tools, "odd", 7], call)
    assert verdict is not None and len(document) == 5
    assert document[0]["id"] == 1 and document[0]["result"]["isError"] is True
    assert document[1] == content("fine", "1") and document[3:] == ["odd", 7]
    assert document[2]["result"]["tools"] == [{"name": "see"}]


def test_events_of_a_resumed_stream_keep_their_ids() -> None:
    """So that a client can resume again behind a refused result."""
    event = b"id: 41\nevent: message\ndata: " + json.dumps(content("danger")).encode() + b"\n\n"
    after = b"id: 42\nevent: message\ndata: " + json.dumps(content("fine", 2)).encode() + b"\n\n"
    left = EventFilter(NoDanger(), McpCall()).feed(event + after)
    assert left.startswith(b"id: 41\n") and b"no danger" in left and left.endswith(after)


def test_a_stream_that_stays_open_keeps_nothing_of_its_last_message() -> None:
    """Sessions stay open for hours, and a result may be megabytes."""
    rules, kept = NoDanger(), content("x" * 2**20)
    stream = EventFilter(rules, McpCall())
    stream.feed(b"data: " + json.dumps(kept).encode() + b"\n\n")
    assert getattr(rules, "digest", None) is None and stream.pending == 0
