"""OpenAI APIs that keep things: files, batches, fine-tuning, assistants, vector stores, …

Source: OpenAI API reference. What is uploaded here is content of later calls (a batch is a
file of requests), so every text in it is a leaf; what a later call only names by an id is
a reference.
"""

from __future__ import annotations

import re
from typing import Any

from penstock.exchange import Answer, Exchange, HttpAnswer, Message, Part
from penstock.wire.family import AnswerReader, Channel, Delta, Family, Framing, Refusal
from penstock.wire.json_family import sniff, sse_event, started_answer
from penstock.wire.loose import as_dict, as_dicts, as_text
from penstock.wire.multipart import Form
from penstock.wire.openai.content import read_content, read_message, read_tools
from penstock.wire.openai.family import OpenAIFamily, error_document, read_usage
from penstock.wire.openai.items import read_input_item
from penstock.wire.openai.responses_stream import ResponsesReader
from penstock.wire.unknown import UnknownReader

_REFERENCES = (
    "assistant_id",
    "thread_id",
    "input_file_id",
    "training_file",
    "validation_file",
    "file_ids",
    "file_id",
    "vector_store_ids",
)


class Store(OpenAIFamily):
    """What these APIs share: objects with ids, sometimes usage."""

    operation = "manage"
    common_path = True

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Texts as messages, ids as references."""
        instructions = as_text(document.get("instructions"))
        if instructions:
            exchange.messages.append(Message("system", [Part("text", instructions)]))
        for message in as_dicts(document.get("messages") or document.get("items")):
            exchange.messages.append(read_message(message))
        if isinstance(document.get("content"), str | list):
            exchange.messages.append(read_message(document))
        exchange.tools = read_tools(document)
        exchange.references = {name: document[name] for name in _REFERENCES if document.get(name)}

    def fill_form(self, exchange: Exchange, form: Form) -> None:
        """Uploads: text stands in the leaves."""
        parts = [
            Part("blob", mime_type=field.content_type, size_bytes=field.size_bytes)
            for field in form.fields
            if field.filename is not None
        ]
        exchange.messages = [Message("user", parts)] if parts else []

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """An object's usage; its id names the object and not a completion."""
        answer.id = None
        usage = document.get("usage")
        if isinstance(usage, dict):
            answer.usage = read_usage(usage)


class Files(Store):
    """``/files``, ``/files/{id}/content``, ``/uploads``, ``/containers/…/files``."""

    api = "openai.files"
    operation = "file"
    path = re.compile(r"/(?:files(?:/[^/]+(?:/content)?)?|uploads(?:/[^/]+){0,2})/?$")

    def framing(self, exchange: Exchange, answer: HttpAnswer, first_bytes: bytes) -> Framing:
        """A JSON Lines file (batch results, training data) is read line by line."""
        if _is_json_lines(first_bytes) and answer.status < 400:
            return "ndjson"
        return sniff(answer.headers.get("content-type", ""), first_bytes, "none")


class Batches(Store):
    """``/batches``: the requests are in a file, the answers in another."""

    api = "openai.batches"
    operation = "batch"
    path = re.compile(r"/batches(?:/[^/]+){0,2}/?$")


class FineTuning(Store):
    """``/fine_tuning/…``."""

    api = "openai.fine_tuning"
    operation = "fine_tuning"
    path = re.compile(r"/fine_tuning/")


class VectorStores(Store):
    """``/vector_stores/…``."""

    api = "openai.vector_stores"
    operation = "vector_store"
    path = re.compile(r"/vector_stores(?:/|$)")


class Conversations(Store):
    """``/conversations/…``."""

    api = "openai.conversations"
    operation = "conversation"
    path = re.compile(r"/conversations(?:/|$)")


class Models(Store):
    """``/models``: what there is; names in it are no answer's model."""

    api = "openai.models"
    operation = "models"
    path = re.compile(r"/v\d\w*/models(?:/[^/:]+)?/?$")

    def recognise(self, request: Any, destination: Any) -> bool:
        """Only looking is recognised: a POST below ``/models`` is somebody else's API."""
        return request.method == "GET" and super().recognise(request, destination)

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """A list of models has no consumption."""
        answer.id = None


class Realtime(Store):
    """``/realtime/…``: client secrets, calls (SDP), sessions, and messages of the socket."""

    api = "openai.realtime"
    operation = "realtime"
    path = re.compile(r"/realtime(?:/|$)")

    def fill_request(self, exchange: Exchange, document: dict[str, Any]) -> None:
        """Instructions and tools of a session or of one answer; an item of the conversation."""
        inner = as_dict(document.get("session")) or as_dict(document.get("response")) or document
        super().fill_request(exchange, inner)
        item = document.get("item")
        if isinstance(item, dict):
            exchange.messages.append(read_input_item(item))
        exchange.model = exchange.model or as_text(inner.get("model"))

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of the socket's server events."""
        return ResponsesReader(exchange)

    def stream_refusal(self, exchange: Exchange, refusal: Refusal) -> bytes:
        """The ``error`` event, and ``response.done`` for a response that had begun."""
        error = {**error_document(refusal)["error"], "event_id": None}
        event_id = f"event_{refusal.decision_id}"
        said = sse_event("error", {"type": "error", "event_id": event_id, "error": error})
        answer = exchange.answer
        if answer is None or answer.id is None:
            return said
        reason = {"type": "failed", "error": {"type": error["type"], "code": refusal.code}}
        response: dict[str, Any] = {
            "object": "realtime.response",
            "id": answer.id,
            "status": "failed",
        }
        response |= {"status_details": reason, "output": [], "usage": None}
        done = {"type": "response.done", "event_id": event_id, "response": response}
        return said + sse_event("response.done", done)


class Assistants(Store):
    """``/assistants``, ``/threads/…``: the legacy stateful API; runs may stream."""

    api = "openai.assistants"
    operation = "assistant"
    path = re.compile(r"/(?:assistants|threads)(?:/|$)")

    def fill_answer(self, exchange: Exchange, answer: Answer, document: dict[str, Any]) -> None:
        """A run, a message, or a list of messages."""
        super().fill_answer(exchange, answer, document)
        fill_run(answer, document)

    def answer_reader(self, exchange: Exchange) -> AnswerReader:
        """A reader of run events."""
        return RunReader(exchange)


class RunReader(UnknownReader):
    """Run events: message deltas grow texts, the run's last event has usage."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.answer = started_answer(exchange)
        self._pieces: list[str] = []

    def event(self, name: str | None, document: Any) -> list[Delta]:
        """One event: a piece of a message, a run's state, the end."""
        if document == "[DONE]":
            self.answer.complete = True
            return []
        fields = as_dict(document)
        kind = as_text(fields.get("object")) or ""
        if kind == "thread.message.delta":
            return self._message(fields)
        if kind == "thread.run":
            fill_run(self.answer, fields)
            return []
        return super().event(name, document)

    def end(self) -> None:
        """The texts as the answer's message."""
        text = "".join(self._pieces)
        if text:
            status = [message.finish_reason for message in self.answer.messages]
            parts = [Part("text", text)]
            self.answer.messages = [Message("assistant", parts, status[0] if status else None)]

    def _message(self, fields: dict[str, Any]) -> list[Delta]:
        deltas: list[Delta] = []
        for position, part in enumerate(as_dicts(as_dict(fields.get("delta")).get("content"))):
            value = as_dict(part.get("text")).get("value")
            if isinstance(value, str) and value:
                self._pieces.append(value)
                index = part.get("index", position)
                key = (str(fields.get("id")), index if isinstance(index, int) else position)
                path = ("delta", "content", position, "text", "value")
                deltas.append(Delta(Channel(key, "assistant"), path, value))
        return deltas


def fill_run(answer: Answer, run: dict[str, Any]) -> None:
    """A run object (or a message, or a list of messages) into ``answer``."""
    answer.model = as_text(run.get("model")) or answer.model
    usage = run.get("usage")
    if isinstance(usage, dict):
        answer.usage = read_usage(usage)
    kind = run.get("object")
    if kind == "thread.run":
        answer.id = as_text(run.get("id"))
        answer.messages = [Message("assistant", [], as_text(run.get("status")))]
    elif kind in ("thread.message", "list"):
        found = [run] if kind == "thread.message" else as_dicts(run.get("data"))
        answer.messages = [
            Message("assistant", _message_parts(message))
            for message in found
            if message.get("role") == "assistant"
        ]


def _message_parts(message: dict[str, Any]) -> list[Part]:
    parts = []
    for part in as_dicts(message.get("content")):
        value = as_dict(part.get("text")).get("value")
        parts += [Part("text", value)] if isinstance(value, str) else read_content([part])
    return parts


def _is_json_lines(first_bytes: bytes) -> bool:
    line, end, rest = first_bytes.partition(b"\n")
    return bool(end) and line.rstrip().endswith(b"}") and rest.lstrip()[:1] in (b"{", b"")


FAMILIES: tuple[Family, ...] = (
    Assistants(),
    Batches(),
    FineTuning(),
    VectorStores(),
    Conversations(),
    Realtime(),
    Files(),
    Models(),
)
