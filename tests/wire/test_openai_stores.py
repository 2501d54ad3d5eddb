"""Files, batches, threads: what is uploaded is text to judge, ids are references."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.exchange import Destination, Exchange, HttpAnswer, HttpRequest
from penstock.wire import recognise
from penstock.wire.openai.stores import Assistants, Batches, Files, FineTuning, Models, Realtime
from penstock.wire.stream import AnswerStream
from tests.wire.families import answered, destination, read, request, streamed
from tests.wire.scanners import WordScanner

BATCH = b'{"custom_id":"1","body":{"messages":[{"role":"user","content":"my SECRET"}]}}\n{"a":1}\n'
FORM = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="b.jsonl"\r\n\r\n'
    + BATCH
    + b"\r\n--B--"
)


@pytest.mark.parametrize(
    ("method", "path", "api"),
    [
        ("POST", "/v1/files", "openai.files"),
        ("GET", "/v1/files/file-1/content", "openai.files"),
        ("POST", "/v1/uploads/upload_1/parts", "openai.files"),
        ("POST", "/v1/batches", "openai.batches"),
        ("GET", "/v1/batches/batch_1", "openai.batches"),
        ("POST", "/v1/fine_tuning/jobs", "openai.fine_tuning"),
        ("POST", "/v1/vector_stores/vs_1/search", "openai.vector_stores"),
        ("POST", "/v1/conversations/conv_1/items", "openai.conversations"),
        ("POST", "/v1/realtime/client_secrets", "openai.realtime"),
        ("POST", "/v1/threads/thread_1/runs", "openai.assistants"),
        ("GET", "/v1/models", "openai.models"),
    ],
)
def test_paths_tell_the_family(method: str, path: str, api: str) -> None:
    assert recognise(request(path, {}, method), destination()).api == api


@pytest.mark.parametrize(
    "path", ["/v1/files", "/forms/7/responses", "/forms/7/responses/9", "/threads/2"]
)
def test_common_words_in_a_path_tell_nothing_at_an_unknown_host(path: str) -> None:
    """Many services have files, threads and responses; they are not AI traffic for that."""
    api = recognise(request(path, {}), Destination("shop.example", 443)).api
    assert api.startswith("unknown.")


def test_posting_below_models_is_somebody_elses_api() -> None:
    assert not Models().recognise(request("/v1/models/m", {}), destination())


def test_an_uploaded_batch_is_text_to_judge() -> None:
    headers = {"content-type": "multipart/form-data; boundary=B"}
    asked = HttpRequest("POST", "https", "h", 443, "/v1/files", headers, FORM)
    exchange = Files().read_request(asked, destination())
    leaf = exchange.leaves[0]
    assert "my SECRET" in leaf.text and leaf.editable and leaf.zone == "user"


def test_a_batch_names_its_file_and_reports_usage_of_its_answers() -> None:
    exchange = read(
        Batches(), "/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/responses"}
    )
    assert exchange.references == {"input_file_id": "file-1"}
    body = {"id": "batch_1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}}
    answer, _ = answered(Batches(), exchange, body)
    assert (answer.id, answer.model, answer.usage.output_tokens) == (None, "m", 4)


def test_a_jsonl_file_is_read_and_edited_line_by_line() -> None:
    exchange = Exchange("openai.files")
    family = Files()
    plain = HttpAnswer(200, {"content-type": "application/octet-stream"}, BATCH)
    assert family.framing(exchange, plain, BATCH) == "ndjson"
    assert family.framing(exchange, plain, b"item,value\n") == "none"
    stream = AnswerStream(exchange, family, "ndjson", lambda _: WordScanner("SECRET"))
    out = b"".join(stream.feed(BATCH) + stream.end())
    assert out == BATCH.replace(b"SECRET", b"<X>")
    assert exchange.answer is not None and exchange.answer.events == 2


def test_an_empty_error_object_is_no_error() -> None:
    exchange = read(FineTuning(), "/v1/fine_tuning/jobs", {"model": "m", "training_file": "file-1"})
    assert exchange.references == {"training_file": "file-1"}
    assert (
        answered(FineTuning(), exchange, {"id": "ft", "model": "m", "error": {}})[0].error is None
    )


def test_a_realtime_session_has_instructions_tools_and_model() -> None:
    session = {"model": "gpt-realtime", "instructions": "Be kind.", "tools": [{"name": "f"}]}
    exchange = read(Realtime(), "/v1/realtime/client_secrets", {"session": session})
    assert exchange.model == "gpt-realtime" and exchange.messages[0].text() == "Be kind."
    assert [tool.name for tool in exchange.tools] == ["f"]


def test_a_streamed_run_grows_messages_and_ends_with_usage() -> None:
    exchange = read(Assistants(), "/v1/threads/t/runs", {"assistant_id": "a", "stream": True})
    assert exchange.references == {"assistant_id": "a"} and exchange.stream

    def piece(text: str) -> Any:
        content = [{"index": 0, "type": "text", "text": {"value": text}}]
        return {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": content}}

    run = {"id": "run_1", "object": "thread.run", "model": "m", "status": "completed",
           "usage": {"prompt_tokens": 5, "completion_tokens": 6}}  # fmt: skip
    events = [
        ("thread.message.delta", piece("Hel")),
        ("thread.message.delta", piece("lo")),
        ("thread.run.completed", run),
        ("done", "[DONE]"),
    ]
    answer, grown, _ = streamed(Assistants(), exchange, events)
    assert grown == {("msg_1", 0): "Hello"}
    assert (answer.messages[0].text(), answer.usage.output_tokens, answer.complete) == (
        "Hello",
        6,
        True,
    )


def test_messages_of_a_thread_are_read_from_a_list() -> None:
    said = {"role": "assistant", "content": [{"type": "text", "text": {"value": "Hi"}}]}
    body = {"object": "list", "data": [said, {"role": "user", "content": []}]}
    exchange = read(Assistants(), "/v1/threads/t/messages", b"")
    answer, leaves = answered(Assistants(), exchange, json.dumps(body).encode())
    assert [message.text() for message in answer.messages] == ["Hi"]
    assert any(leaf.text == "Hi" for leaf in leaves)
