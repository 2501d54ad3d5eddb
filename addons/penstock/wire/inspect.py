"""What Penstock understood of one recorded exchange, as plain values.

Takes a line in the recording schema (request, response; bodies as text or base64) and answers
the fields of its ``expect``. It goes the proxy's own way through the families, so what it
says is what a running proxy knows. Pure; never raises on hostile bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from penstock.exchange import (
    Answer,
    Destination,
    Exchange,
    HttpAnswer,
    HttpRequest,
    McpCall,
    Message,
    Part,
)
from penstock.wire import content_coding, family_of, read_request
from penstock.wire.loose import as_dict, as_text
from penstock.wire.stream import AnswerStream

# Texts are compared and shown by their beginning.
SHOWN_CHARACTERS = 200
# A recorded body decoded; larger ones are reported as undecodable.
MAX_BODY_BYTES = 64 * 1024 * 1024

Identify = Callable[[str, int, str], Destination]


def inspect(line: dict[str, Any], identify: Identify | None = None) -> dict[str, Any]:
    """The fields of ``expect`` for one recorded exchange, plus ``id``, ``api`` and ``problem``."""
    request = recorded_request(as_dict(line.get("request")))
    if identify is None:
        destination = Destination(request.host, request.port)
    else:
        destination = identify(request.host, request.port, request.path)
    exchange = read_request(request, destination)
    if isinstance(line.get("response"), dict):
        read_recorded_answer(exchange, recorded_answer(line["response"]))
    return {"id": line.get("id"), **summary(exchange)}


def recorded_request(recorded: dict[str, Any]) -> HttpRequest:
    """The request of a line, its content coding taken off."""
    url, port = _address(as_text(recorded.get("url")) or "")
    headers = _headers(recorded)
    path = url.path + (f"?{url.query}" if url.query else "")
    method = as_text(recorded.get("method")) or "GET"
    body = _decoded(_body(recorded), headers)
    return HttpRequest(method, url.scheme or "https", url.hostname or "", port, path, headers, body)


def recorded_answer(recorded: dict[str, Any]) -> HttpAnswer:
    """The answer of a line, its content coding taken off."""
    headers = _headers(recorded)
    status = recorded.get("status")
    body = _decoded(_body(recorded), headers)
    return HttpAnswer(status if isinstance(status, int) else 0, headers, body)


def read_recorded_answer(exchange: Exchange, answer: HttpAnswer) -> None:
    """Read a whole recorded answer into ``exchange.answer``, streamed or plain."""
    family = family_of(exchange.api)
    framing = family.framing(exchange, answer, answer.body[:1024])
    if framing == "none":
        family.read_answer(exchange, answer)
        return
    exchange.answer = Answer(answer.status)
    stream = AnswerStream(exchange, family, framing)
    stream.feed(answer.body)
    stream.end()
    exchange.problem = exchange.problem or stream.problem


def summary(exchange: Exchange) -> dict[str, Any]:
    """An exchange as the fields of ``expect``; None where the wire carried nothing."""
    answer = exchange.answer or Answer()
    usage = answer.usage
    calls = _parts(answer.messages, "tool_call")
    if exchange.mcp is not None and exchange.mcp.tool is not None:
        calls = [Part("tool_call", name=exchange.mcp.tool, arguments=exchange.mcp.arguments)]
    first = answer.messages[0] if answer.messages else Message("assistant")
    failed = answer.status >= 400 or answer.error is not None
    return {
        "api": exchange.api,
        "provider": exchange.provider,
        "problem": exchange.problem,
        "request_model": exchange.model,
        "response_model": answer.model or None,
        "response_id": answer.id or None,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "input_tokens_total": usage.input_total,
        "output_tokens_total": usage.output_total,
        "counted_tokens": usage.counted_tokens,
        "finish_reasons": [m.finish_reason for m in answer.messages if m.finish_reason] or None,
        "tool_calls": [part.name for part in calls],
        "tool_calls_full": [{"name": p.name, "arguments": p.arguments} for p in calls] or None,
        "server_tool_calls": [p.name for p in _parts(answer.messages, "server_tool_call")] or None,
        # An MCP server the provider is to call is no tool by itself.
        "tools_declared": [t.name for t in exchange.tools if not t.name.startswith("mcp:")] or None,
        "error": failed,
        "error_type": answer.error.type if answer.error else None,
        "prompt_text_contains": _prompt_texts(exchange),
        "tool_result_text_contains": _result_texts(exchange),
        "input_modalities": _modalities(exchange),
        "stream_requested": exchange.stream or _mentions_stream(exchange),
        "include_usage": exchange.include_usage,
        "n_events": answer.events or None,
        "completion_text": first.text() or None,
        "reasoning_text_present": bool(_parts(answer.messages, "reasoning")) or None,
        "refusal": "".join(p.text or "" for p in _parts([first], "refusal")) or None,
        "embedding_count": answer.embedding_count,
        "mcp": None if exchange.mcp is None else _mcp(exchange.mcp),
    }


def _mentions_stream(exchange: Exchange) -> bool | None:
    """False only where the request says so; None where it is silent."""
    return False if as_dict(exchange.document).get("stream") is False else None


def _prompt_texts(exchange: Exchange) -> list[str] | None:
    texts = [
        part.text[:SHOWN_CHARACTERS]
        for message in exchange.messages
        if message.role in ("user", "system")
        for part in message.parts
        if part.kind == "text" and part.text
    ]
    return list(dict.fromkeys(texts)) or None


def _result_texts(exchange: Exchange) -> list[str] | None:
    results = _parts(exchange.messages, "tool_result")
    return [part.text[:SHOWN_CHARACTERS] for part in results if part.text] or None


def _modalities(exchange: Exchange) -> list[str] | None:
    found: set[str] = set()
    for message in exchange.messages:
        for part in message.parts:
            if part.kind in ("blob", "uri"):
                medium = (part.mime_type or "").partition("/")[0]
                found.add(medium if medium in ("image", "audio", "video") else "file")
    return sorted(found) or None


def _parts(messages: list[Message], kind: str) -> list[Part]:
    return [part for message in messages for part in message.parts if part.kind == kind]


def _mcp(call: McpCall) -> dict[str, Any]:
    return {
        "methods": call.methods,
        "tool": call.tool,
        "tools_listed": call.tools_listed,
        "resource_uri": call.resource_uri,
        "prompt": call.prompt,
        "protocol_version": call.protocol_version,
        "session_id": call.session_id,
        "client": call.client,
        "server": call.server,
        "server_messages": call.server_messages,
        "rpc_error_code": call.rpc_error_code,
        "is_error": call.is_error,
        "result_text": call.result_text,
    }


def _address(text: str) -> tuple[SplitResult, int]:
    """A URL and its port; what is no URL has no host and the usual port."""
    try:
        url = urlsplit(text)
        return url, url.port or (80 if url.scheme == "http" else 443)
    except ValueError:
        return SplitResult("https", "", text.partition("?")[0], "", ""), 443


def _headers(recorded: dict[str, Any]) -> dict[str, str]:
    return {
        str(name).lower(): value
        for name, value in as_dict(recorded.get("headers")).items()
        if isinstance(value, str)
    }


def _body(recorded: dict[str, Any]) -> bytes:
    body = as_text(recorded.get("body")) or ""
    if recorded.get("encoding") != "base64":
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body)
    except (binascii.Error, ValueError):
        return b""


def _decoded(body: bytes, headers: dict[str, str]) -> bytes:
    coding = headers.get("content-encoding", "")
    try:
        return content_coding.decode(body, coding, MAX_BODY_BYTES)
    except content_coding.ContentCodingError:
        return body
