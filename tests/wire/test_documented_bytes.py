"""What no recording covers, in bytes written from the providers' documentation, on the whole way.

Request and answer are read as the proxy reads them: the family is found, the framing sniffed, the
coding taken off, and a word of the answer replaced. Sources: Anthropic API "Errors" and "Claude on
Vertex AI"; Bedrock runtime API "ConverseStream"; RFC 8878; OpenAI "WebSocket mode", "Realtime
server events", "Batch", "Create transcription"; Fireworks and LM Studio API references.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
import zstandard

from penstock.destinations import identify
from penstock.exchange import Answer, Exchange, HttpAnswer, HttpRequest
from penstock.wire import edits, family_of, read_request
from penstock.wire.edits import Edit
from penstock.wire.framing.eventstream import FrameParser, encode, encode_headers
from penstock.wire.inspect import read_recorded_answer
from penstock.wire.openai.chat import ask_for_usage, is_usage_only
from penstock.wire.stream import AnswerStream
from tests.wire.scanners import WordScanner

CHAT: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"content": "Hi"}]}


def asked(url: str, body: Any, method: str = "POST", **headers: str) -> Exchange:
    """A request to ``url`` as an Exchange; header names with ``_`` for ``-``."""
    host, _, path = url.partition("/")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = HttpRequest(method, "https", host, 443, "/" + path, named, raw)
    return read_request(request, identify(host, 443))


def streamed(
    exchange: Exchange, body: bytes, content_type: str, size: int, coding: str = "", **more: Any
) -> tuple[bytes, Answer]:
    """The stream as it leaves in pieces of ``size``, SECRET replaced, and what was read."""
    family = family_of(exchange.api)
    head = HttpAnswer(200, {"content-type": content_type})
    framing = family.framing(exchange, head, b"" if coding else body[:512])
    exchange.answer = None
    stream = AnswerStream(
        exchange, family, framing, lambda _: WordScanner("SECRET"), coding=coding, **more
    )
    out = [sent for at in range(0, len(body), size) for sent in stream.feed(body[at : at + size])]
    out += stream.end()
    assert stream.problem is None and exchange.answer is not None
    return b"".join(out), exchange.answer


def sse(*events: Any) -> bytes:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chunk(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
        **more,
    }


STREAM = sse(chunk("the SEC"), chunk("RET is out"), chunk(None, "stop"), "[DONE]")
EDITED = STREAM.replace(b"the SEC", b"the <X>").replace(b"RET is out", b" is out")
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


# ---------------------------------------------------------------------- Anthropic


def test_an_overloaded_answer_of_anthropic() -> None:
    exchange = asked("api.anthropic.com/v1/messages", {"model": "claude-x", "messages": []})
    body = json.dumps({**OVERLOADED, "request_id": "req_1"}).encode()
    read_recorded_answer(exchange, HttpAnswer(529, {"content-type": "application/json"}, body))
    answer = exchange.answer
    assert answer is not None and answer.error is not None and answer.status == 529
    assert (answer.error.type, answer.error.message) == ("overloaded_error", "Overloaded")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_overloaded_error_inside_a_stream_of_anthropic(size: int) -> None:
    """In a 200: what came before is kept, the error is told, the answer is not complete."""
    usage = {"input_tokens": 25, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
               "model": "claude-x", "usage": usage}  # fmt: skip
    named: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0,
         "delta": {"type": "text_delta", "text": "Hello"}},
        OVERLOADED,
    ]  # fmt: skip
    body = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in named).encode()
    call = {"model": "claude-x", "stream": True, "messages": []}
    exchange = asked("api.anthropic.com/v1/messages", call)
    out, answer = streamed(exchange, body, "text/event-stream; charset=utf-8", size)
    assert out == body
    assert answer.error is not None and answer.error.type == "overloaded_error"
    assert answer.messages[0].text() == "Hello" and not answer.complete
    assert answer.usage.input_tokens == 25


VERTEX = (
    "us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/"
    "models/claude-sonnet-4-5@20250929:"
)


@pytest.mark.parametrize("method", ["rawPredict", "streamRawPredict"])
def test_anthropic_on_vertex(method: str) -> None:
    """The model stands in the path; the body is the provider's own, with its version in it."""
    content = [{"type": "text", "text": "Hi"}]
    call = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "system": "Be brief.",
            "messages": [{"role": "user", "content": content}]}  # fmt: skip
    exchange = asked(VERTEX + method, call)
    assert (exchange.api, exchange.model) == ("anthropic.messages", "claude-sonnet-4-5@20250929")
    assert exchange.stream == (method == "streamRawPredict")
    assert {leaf.text: leaf.zone for leaf in exchange.leaves}["Be brief."] == "system"
    answer = {"id": "msg_vrtx_1", "type": "message", "role": "assistant", "content": content,
              "model": "claude-sonnet-4-5-20250929", "stop_reason": "end_turn",
              "usage": {"input_tokens": 12, "output_tokens": 3}}  # fmt: skip
    head = {"content-type": "application/json"}
    read_recorded_answer(exchange, HttpAnswer(200, head, json.dumps(answer).encode()))
    assert exchange.answer is not None
    assert (exchange.answer.usage.input_total, exchange.answer.messages[0].text()) == (12, "Hi")


# ---------------------------------------------------------------------- Bedrock


def frame(kind: str, document: Any, exception: bool = False) -> bytes:
    word = "exception" if exception else "event"
    headers = {
        f":{word}-type": kind, ":content-type": "application/json", ":message-type": word,
    }  # fmt: skip
    return encode(encode_headers(headers), json.dumps(document).encode())


@pytest.mark.parametrize("size", [1, 11, 10_000])
@pytest.mark.parametrize(
    ("path", "events"),
    [
        ("converse-stream", [
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Half a SEC"}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "RET"}}),
        ]),
        ("invoke-with-response-stream", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["throttlingException", "modelStreamErrorException"])
def test_an_exception_frame_in_the_middle_of_a_bedrock_stream(
    path: str, events: list[tuple[str, Any]], kind: str, size: int
) -> None:
    body = b"".join(frame(*event) for event in events)
    body += frame(kind, {"message": "Too many."}, exception=True)
    model = "bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-v1%3A0/"
    exchange = asked(model + path, {"messages": []})
    out, answer = streamed(exchange, body, "application/vnd.amazon.eventstream", size)
    assert answer.error is not None and not answer.complete
    assert (answer.error.type, answer.error.message) == (kind, "Too many.")
    parser = FrameParser()  # lengths and checksums of what left are right
    left = parser.feed(out)
    assert parser.problem is None and len(left) == len(events) + 1
    assert b"SECRET" not in b"".join(one.data or b"" for one in left)
    assert left[-1].headers[":exception-type"] == kind


# ---------------------------------------------------------------------- content codings

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("size", [1, 13, 10_000])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_coded_stream_under_rules_leaves_decoded(coding: str, size: int) -> None:
    exchange = asked("api.openai.com/v1/chat/completions", CHAT)
    out, answer = streamed(exchange, CODINGS[coding](STREAM), "text/event-stream", size, coding)
    assert out == EDITED
    assert answer.messages[0].text() == "the SECRET is out", "what was said is what is recorded"


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coded_stream_nothing_may_change_is_read_from_a_copy(coding: str) -> None:
    """Each piece leaves in the call it came in, still coded."""
    exchange = asked("api.openai.com/v1/chat/completions", CHAT)
    stream = AnswerStream(exchange, family_of(exchange.api), "sse", coding=coding)
    coded = CODINGS[coding](STREAM)
    pieces = [coded[at : at + 9] for at in range(0, len(coded), 9)]
    assert [stream.feed(piece) for piece in pieces] == [[piece] for piece in pieces]
    assert stream.end() == [] and exchange.answer is not None
    assert exchange.answer.messages[0].text() == "the SECRET is out" and exchange.answer.complete


def test_coded_events_leave_as_soon_as_the_provider_flushes_them() -> None:
    """A coded stream is no reason to wait: zstd and gzip flush at the end of each event."""
    packer = zstandard.ZstdCompressor().compressobj()
    exchange = asked("api.openai.com/v1/chat/completions", CHAT)
    stream = AnswerStream(
        exchange, family_of(exchange.api), "sse", lambda _: WordScanner("SECRET"), coding="zstd"
    )
    for event in (sse(chunk("one")), sse(chunk("two")), sse("[DONE]")):
        coded = packer.compress(event) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        assert stream.feed(coded) == [event]


# ---------------------------------------------------------------------- sockets


@pytest.mark.parametrize(
    ("url", "messages", "said"),
    [
        ("api.openai.com/v1/responses", [
            {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5"}},
            {"type": "response.output_text.delta", "item_id": "i", "output_index": 0,
             "content_index": 0, "delta": "a SEC"},
            {"type": "response.output_text.delta", "item_id": "i", "output_index": 0,
             "content_index": 0, "delta": "RET"},
            {"type": "response.completed", "response": {"id": "resp_1", "status": "completed",
             "output": [{"type": "message", "role": "assistant", "content": [
                 {"type": "output_text", "text": "a SECRET"}]}],
             "usage": {"input_tokens": 7, "output_tokens": 2}}},
        ], "a SECRET"),
        ("api.openai.com/v1/realtime?model=gpt-realtime", [
            {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
            {"type": "response.output_audio_transcript.delta", "response_id": "resp_1",
             "item_id": "i", "output_index": 0, "content_index": 0, "delta": "a SEC"},
            {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "i",
             "output_index": 0, "content_index": 0, "delta": "UklGRg=="},
            {"type": "response.output_audio_transcript.delta", "response_id": "resp_1",
             "item_id": "i", "output_index": 0, "content_index": 0, "delta": "RET"},
            {"type": "response.output_audio_transcript.done", "response_id": "resp_1",
             "item_id": "i", "output_index": 0, "content_index": 0, "transcript": "a SECRET"},
            {"type": "response.done", "response": {"id": "resp_1", "status": "completed",
             "output": [{"type": "message", "role": "assistant", "content": [
                 {"type": "output_audio", "transcript": "a SECRET"}]}],
             "usage": {"input_tokens": 7, "output_tokens": 2}}},
        ], "a SECRET"),
    ],
)  # fmt: skip
def test_messages_of_a_socket(url: str, messages: list[Any], said: str) -> None:
    """As many leave as came, in their order; the word is gone from every one of its copies."""
    exchange = asked(url, b"", "GET", upgrade="websocket")
    stream = AnswerStream(
        exchange, family_of(exchange.api), "message", lambda _: WordScanner("SECRET")
    )
    left = [out for message in messages for out in stream.feed(json.dumps(message).encode())]
    left += stream.end()
    assert [json.loads(one)["type"] for one in left] == [one["type"] for one in messages]
    assert b"SECRET" not in b"".join(left) and b"a <X>" in left[-1]
    assert exchange.answer is not None and exchange.answer.complete
    assert exchange.answer.usage.output_tokens == 2
    assert said in exchange.answer.messages[0].text()


# ---------------------------------------------------------------------- uploads


def form(fields: dict[str, str], name: str, content_type: str, content: bytes) -> bytes:
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--B\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    parts.append(head.encode() + f"Content-Type: {content_type}\r\n\r\n".encode() + content)
    return b"".join([*parts, b"\r\n--B--\r\n"])


@pytest.mark.parametrize("host", ["api.openai.com", "api.groq.com", "api.mistral.ai"])
def test_an_uploaded_batch_is_content_and_is_changed_in_place(host: str) -> None:
    lines = [
        {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "m", "messages": [{"role": "user", "content": f"SECRET {number}"}]}}
        for number in range(3)
    ]  # fmt: skip
    content = "\n".join(map(json.dumps, lines)).encode()
    body = form({"purpose": "batch"}, "b.jsonl", "application/jsonl", content)
    exchange = asked(f"{host}/v1/files", body, content_type="multipart/form-data; boundary=B")
    assert exchange.api == "openai.files" and exchange.problem is None
    changes = []
    for leaf in exchange.leaves:
        at = leaf.text.find("SECRET")
        while at >= 0:
            changes.append(Edit(leaf, at, at + 6, "<X>"))
            at = leaf.text.find("SECRET", at + 6)
    assert len(changes) == 3 and all(change.leaf.zone == "user" for change in changes)
    assert edits.apply(body, changes) == body.replace(b"SECRET", b"<X>")


def test_a_transcription_form() -> None:
    """The sound is no text; the prompt is."""
    fields = {"model": "gpt-4o-transcribe", "prompt": "About SECRET.", "stream": "true"}
    body = form(fields, "a.wav", "audio/wav", b"RIFF\x00\xffWAVE\r\n--Bx")
    kind = "multipart/form-data; boundary=B"
    exchange = asked("api.openai.com/v1/audio/transcriptions", body, content_type=kind)
    assert (exchange.api, exchange.model, exchange.stream) == (
        "openai.audio.transcriptions", "gpt-4o-transcribe", True,
    )  # fmt: skip
    (prompt,) = [leaf for leaf in exchange.leaves if "SECRET" in leaf.text]
    change = Edit(prompt, 6, 12, "<X>")
    assert edits.apply(body, [change]) == body.replace(b"SECRET", b"<X>")
    events = sse({"type": "transcript.text.delta", "delta": "It is SEC"},
                 {"type": "transcript.text.delta", "delta": "RET"},
                 {"type": "transcript.text.done", "text": "It is SECRET"})  # fmt: skip
    out, answer = streamed(exchange, events, "text/event-stream", 5)
    assert b"SECRET" not in out and answer.messages[0].text() == "It is SECRET"


# ---------------------------------------------------------------------- compatible services


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("api.fireworks.ai/inference/v1/chat/completions", "fireworks"),
        ("localhost/v1/chat/completions", None),  # LM Studio: any host, known by its shape
        ("localhost/api/v0/chat/completions", None),  # its own API: the same, with more fields
    ],
)
def test_chat_of_compatible_services(url: str, provider: str | None) -> None:
    model = "accounts/fireworks/models/llama-v3p1-8b-instruct"
    exchange = asked(url, {**CHAT, "model": model})
    assert (exchange.api, exchange.model) == ("openai.chat_completions", model)
    assert exchange.provider is None or provider in exchange.provider
    usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    stats = {"tokens_per_second": 51.4, "time_to_first_token": 0.1, "stop_reason": "eosFound"}
    end = sse(chunk(None, "stop", usage=usage, stats=stats), "[DONE]")
    body = STREAM.rpartition(b"data: {")[0] + end
    out, answer = streamed(exchange, body, "text/event-stream", 17)
    assert b"SECRET" not in out and out.endswith(end)
    assert (answer.usage.input_total, answer.usage.output_total) == (7, 4) and answer.complete


@pytest.mark.parametrize(
    "last",
    [
        [chunk(None, "stop"), {**chunk(None), "choices": [], "usage": {"prompt_tokens": 3}}],
        [chunk(None, "stop", usage=None), chunk(None, usage={"prompt_tokens": 3})],
        [chunk(None, "stop", usage={"prompt_tokens": 3})],
    ],
    ids=["apart", "beside an empty delta", "beside the reason"],
)
def test_only_a_chunk_of_nothing_but_usage_is_hidden(last: list[Any]) -> None:
    """A chunk that also carries a choice stays: taking it would take what was said."""
    call = json.dumps(CHAT).encode()
    assert json.loads(ask_for_usage(call))["stream_options"] == {"include_usage": True}
    exchange = asked("api.openai.com/v1/chat/completions", call)
    body = sse(chunk("Hi"), *last, "[DONE]")
    out, answer = streamed(exchange, body, "text/event-stream", 9, hide=is_usage_only)
    assert answer.usage.input_total == 3
    hidden = sse(*(one for one in last if not one["choices"]))
    assert out == body.replace(hidden, b"", 1)
