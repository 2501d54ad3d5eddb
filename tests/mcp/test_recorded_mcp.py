"""Recorded MCP and A2A exchanges are read as their expectations say."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

from penstock.destinations import identify
from penstock.exchange import Exchange, HttpAnswer, HttpRequest
from penstock.wire.framing.sse import SseParser
from penstock.wire.jsonrpc.calls import A2A, MCP, JsonRpc


def content(side: dict[str, Any]) -> bytes:
    body = side["body"] or ""
    return base64.b64decode(body) if side["encoding"] == "base64" else body.encode()


def request_of(line: dict[str, Any]) -> HttpRequest:
    url = urlsplit(line["request"]["url"])
    path = url.path + (f"?{url.query}" if url.query else "")
    headers = line["request"]["headers"]
    body = content(line["request"])
    return HttpRequest(
        line["request"]["method"],
        url.scheme,
        url.hostname or "",
        url.port or 443,
        path,
        headers,
        body,
    )


def read(line: dict[str, Any], family: JsonRpc) -> Exchange:
    """The exchange of a recorded line, request and answer."""
    request = request_of(line)
    exchange = family.read_request(request, identify(request.host, request.port, request.path))
    recorded = line["response"]
    body = content(recorded)
    answer = HttpAnswer(recorded["status"], recorded["headers"], body)
    if family.framing(exchange, answer, body[:100]) == "sse":
        reader, parser = family.answer_reader(exchange), SseParser()
        for event in [*parser.feed(body), *parser.end()]:
            if event.data:
                reader.event(event.name, json.loads(event.data))
        reader.end()
    else:
        family.read_answer(exchange, answer)
    return exchange


def test_every_recorded_call_agrees_with_its_expectation(recordings: list[dict[str, Any]]) -> None:
    """At least 99.5 % of the expected MCP fields, and no wrong family."""
    fields = wrong = 0
    differences = []
    for line in recordings:
        family = {"mcp.streamable_http": MCP, "a2a.jsonrpc": A2A}.get(line["api"])
        if family is None:
            continue
        exchange = read(line, family)
        assert exchange.mcp is not None
        assert (exchange.answer is not None and exchange.answer.error is not None) == bool(
            line["expect"]["error"]
        )
        for name, expected in line["expect"]["mcp"].items():
            fields += 1
            if getattr(exchange.mcp, name) != expected:
                wrong += 1
                differences.append((line["id"], name, expected, getattr(exchange.mcp, name)))
    assert fields > 300
    assert wrong / fields <= 0.005, differences


def test_only_recorded_mcp_calls_are_taken_for_mcp(recordings: list[dict[str, Any]]) -> None:
    """No model call is mistaken for MCP, no MCP call is missed."""
    for line in recordings:
        request = request_of(line)
        destination = identify(request.host, request.port, request.path)
        assert MCP.recognise(request, destination) == (line["api"] == MCP.api), line["id"]
        assert A2A.recognise(request, destination) == (line["api"] == A2A.api), line["id"]


def test_nothing_recorded_is_called_ambiguous(recordings: list[dict[str, Any]]) -> None:
    """The strict reading refuses none of the calls real clients make (but the broken one)."""
    for line in recordings:
        if line["api"] == MCP.api and not line["request"]["body"].startswith("{bad"):
            assert read(line, MCP).problem is None
