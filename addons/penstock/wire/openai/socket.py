"""The Responses and Realtime APIs over WebSocket: which message means what.

A client's messages are bodies of the same families as over HTTP; a server's are events of
one answer, of another, or of none. Nothing here keeps state. Sources: OpenAI API reference,
"Realtime client events" and "server events"; OpenAI guide "WebSocket mode".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from penstock.exchange import Exchange
from penstock.wire.family import Family, Refusal
from penstock.wire.framing.framings import read_document
from penstock.wire.framing.sse import SseParser
from penstock.wire.loose import as_dict, as_text

RESPONSES, REALTIME = "openai.responses", "openai.realtime"
CREATE = "response.create"

# What clients may say, by family. Anything else is in no format known here.
CLIENT_EVENTS: dict[str, frozenset[str]] = {
    RESPONSES: frozenset((CREATE, "response.cancel")),
    REALTIME: frozenset(
        (
            CREATE, "response.cancel", "session.update", "transcription_session.update",
            "conversation.item.create", "conversation.item.retrieve",
            "conversation.item.truncate", "conversation.item.delete",
            "input_audio_buffer.append", "input_audio_buffer.commit",
            "input_audio_buffer.clear", "output_audio_buffer.clear",
        )
    ),
}  # fmt: skip


def event_of(content: bytes) -> dict[str, Any]:
    """A message as an object; empty when it is none."""
    return as_dict(read_document(content))


def kind_of(event: dict[str, Any]) -> str:
    """The event's name."""
    return as_text(event.get("type")) or ""


def model_in_query(path: str) -> str | None:
    """The model (Azure: the deployment) a socket is opened for, where its URL says so."""
    query = parse_qs(urlsplit(path).query)
    named = query.get("model") or query.get("deployment")
    return named[0] if named else None


def model_in_event(event: dict[str, Any]) -> str | None:
    """The model an event names: its own, its session's or its response's."""
    for holder in (event, event.get("session"), event.get("response")):
        model = as_text(as_dict(holder).get("model"))
        if model:
            return model
    return None


def answer_id(event: dict[str, Any]) -> str | None:
    """The id of the response an event belongs to, where it says one."""
    named = as_text(event.get("response_id"))
    return named or as_text(as_dict(event.get("response")).get("id"))


def refusal_messages(family: Family, exchange: Exchange, refusal: Refusal) -> list[bytes]:
    """A refusal as messages to the client; the error carries the status it would have had."""
    said = []
    for event in SseParser().feed(family.stream_refusal(exchange, refusal)):
        if event.data is None or event.data == b"[DONE]":
            continue
        document = event_of(event.data)
        if kind_of(document) == "error":
            document["status"] = refusal.status
            said.append(orjson.dumps(document))
        else:
            said.append(event.data)
    return said


def cancel_message(api: str, response_id: str | None) -> bytes | None:
    """What ends a running answer at the provider; Responses has no such message."""
    if api != REALTIME:
        return None
    named = {"response_id": response_id} if response_id else {}
    return orjson.dumps({"type": "response.cancel", **named})
